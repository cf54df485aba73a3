// Decoding with a cache gives what the whole forward gives; prefixes pass gradients; windows; what does not fit.
#include "nn/kv_cache.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

// Two blocks of products of up to 32 terms with numbers of order 1, logits of order 5, in another order of rows:
// about ten roundings of eps · √32 · 5 each.
constexpr double kTolerance = 2e-5;

IntTensor columns(const IntTensor& ids, int64_t first, int64_t count) {
  IntTensor part{{ids.shape[0], count}, {}};
  for (int64_t b = 0; b < ids.shape[0]; ++b) {
    const auto row = ids.values.begin() + b * ids.shape[1];
    part.values.insert(part.values.end(), row + first, row + first + count);
  }
  return part;
}

class CachedDecoding : public testing::TestWithParam<ModelCase> {
 protected:
  CachedDecoding() : model(GetParam().make()) {}
  NoGrad no_grad;
  std::unique_ptr<LanguageModel> model;
};

TEST_P(CachedDecoding, EqualsTheWholeForwardInAnyChunks) {
  const IntTensor ids = some_ids(2, 12);
  const Tensor whole = model->forward(ids);
  for (const std::vector<int64_t>& chunks : std::vector<std::vector<int64_t>>{
           {12}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {5, 1, 1, 1, 1, 1, 1, 1}, {3, 4, 5}, {11, 1}}) {
    KVCache cache = model->make_cache();
    for (int64_t chunk : chunks) {
      const int64_t first = cache.position;
      const Tensor logits = model->forward(columns(ids, first, chunk), &cache);
      EXPECT_TRUE(all_near(logits, slice(whole, 1, first, chunk), kTolerance)) << "from " << first;
    }
    EXPECT_EQ(cache.position, 12);
  }
}

TEST_P(CachedDecoding, TruncateForgets) {
  const IntTensor ids = some_ids(1, 9), other = some_ids(1, 9, 77);
  KVCache cache = model->make_cache();
  model->forward(columns(other, 0, 9), &cache);
  cache.truncate(0);
  model->forward(columns(ids, 0, 4), &cache);
  model->forward(columns(other, 0, 5), &cache);  // a guess that turns out wrong
  cache.truncate(4);
  EXPECT_EQ(cache.position, 4);
  const Tensor logits = model->forward(columns(ids, 4, 5), &cache);
  EXPECT_TRUE(all_near(logits, slice(model->forward(ids), 1, 4, 5), kTolerance));
}

TEST_P(CachedDecoding, WhatDoesNotFitIsRefusedAndLeavesTheCacheAsItWas) {
  KVCache small = model->make_cache(4);
  model->forward(some_ids(1, 3), &small);
  EXPECT_MENTIONS(error_text([&] { model->forward(some_ids(1, 2), &small); }),
                  "3 tokens and 2 more do not fit a cache of 4");
  EXPECT_EQ(small.position, 3);
  model->forward(some_ids(1, 1), &small);
  EXPECT_MENTIONS(error_text([&] { model->forward(some_ids(2, 1), &small); }), "rows of shape (2, 1, ");

  KVCache cache = model->make_cache();
  model->forward(some_ids(1, 12), &cache);
  EXPECT_THROW(model->forward(some_ids(1, 1), &cache), UsageError);  // past the model's context

  KVCache short_cache = make_kv_cache(1, 4);
  EXPECT_MENTIONS(error_text([&] { model->forward(some_ids(1, 1), &short_cache); }),
                  "1 layers, the model 2 blocks");
  const EnableGrad recording;
  KVCache fresh = model->make_cache();
  EXPECT_MENTIONS(error_text([&] { model->forward(some_ids(1, 1), &fresh); }), "under NoGrad");
}

INSTANTIATE_TEST_SUITE_P(Models, CachedDecoding, testing::ValuesIn(kModelCases), model_test_name);

// ---- prefixes: trained rows before position 0 (prefix tuning) ----

class Prefix : public testing::TestWithParam<ModelCase> {
 protected:
  static constexpr int64_t kRows = 3, kWidth = 8;  // K·D of both small models
  Prefix() : model(GetParam().make()) {
    for (uint64_t i = 0; i < 4; ++i)
      rows.push_back(random_tensor({1, kRows, kWidth}, 40 + i, GetParam().device));
  }
  // Keys and values of two blocks: rows = {k0, v0, k1, v1}.
  static KVCache cache_of(const std::vector<Tensor>& rows) {
    KVCache cache;
    for (size_t i = 0; i < 2; ++i)
      cache.layers.push_back(std::make_unique<PrefixLayerCache>(rows[2 * i], rows[2 * i + 1]));
    return cache;
  }
  std::unique_ptr<LanguageModel> model;
  std::vector<Tensor> rows;
};

TEST_P(Prefix, GradientsReachEveryRow) {
  model->set_requires_grad(false);
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Tensor>& inputs) {
        KVCache cache = cache_of(inputs);
        return model->forward(some_ids(2, 2), &cache);
      },
      rows);
  // Rounding, as in gradcheck_test.cpp: eps/h · Σ |c y| ≤ 7.6e-6 · 116 outputs · 5/4; truncation is below it. Four times:
  EXPECT_LE(result.worst, 5e-3) << result.message();

  for (Tensor& x : rows) x.set_requires_grad();
  KVCache cache = cache_of(rows);
  mean(model->forward(some_ids(2, 2), &cache)).backward();
  for (const Tensor& x : rows) {
    for (float g : x.grad().to_vector()) EXPECT_NE(g, 0);
  }
}

TEST_P(Prefix, ServesEverySequenceOfABatchAndChangesTheResult) {
  const NoGrad no_grad;
  KVCache one = cache_of(rows), two = cache_of(rows);
  const IntTensor ids = some_ids(2, 4);
  const Tensor batch = model->forward(ids, &one),
               first = model->forward(columns({{1, 8}, ids.values}, 0, 4), &two);
  EXPECT_TRUE(all_near(reshape(slice(batch, 0, 0, 1), first.shape), first, kTolerance));
  EXPECT_NE(model->forward(ids).to_vector(), batch.to_vector());
}

// In generation the same rows lie at the front of an ordinary cache.
TEST_P(Prefix, EqualsRowsPutIntoAFloatCache) {
  const NoGrad no_grad;
  const IntTensor ids = some_ids(1, 6);
  KVCache trained = cache_of(rows), decoding = model->make_cache(kRows + 12);
  const Tensor whole = model->forward(ids, &trained);
  for (size_t i = 0; i < 2; ++i) decoding.layers[i]->extend(rows[2 * i], rows[2 * i + 1]);
  EXPECT_EQ(decoding.position, 0);
  for (int repeat = 0; repeat < 2; ++repeat) {
    model->forward(columns(ids, 0, 5), &decoding);
    const Tensor last = model->forward(columns(ids, 5, 1), &decoding);
    EXPECT_TRUE(all_near(last, slice(whole, 1, 5, 1), kTolerance));
    decoding.truncate(0, kRows);  // back to the prefix alone
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Prefix, testing::ValuesIn(kModelCases), model_test_name);

// ---- windows and shared heads: LLaMA's options ----

class LlamaAttention : public testing::TestWithParam<Device> {
 protected:
  NoGrad no_grad;
  std::unique_ptr<LanguageModel> with_window(int64_t window) {
    LlamaConfig config = small_llama_config();
    config.sliding_window = window;
    return small_llama(GetParam(), config);
  }
};

TEST_P(LlamaAttention, AWindowAsLongAsTheTextIsFullAttention) {
  const IntTensor ids = some_ids(2, 10);
  const std::vector<float> full = with_window(0)->forward(ids).to_vector();
  EXPECT_EQ(with_window(10)->forward(ids).to_vector(), full);
  EXPECT_EQ(with_window(1000)->forward(ids).to_vector(), full);
  EXPECT_NE(with_window(9)->forward(ids).to_vector(), full);
}

TEST_P(LlamaAttention, ACachedDecodeSeesTheSameWindow) {
  const auto model = with_window(3);
  const IntTensor ids = some_ids(1, 10);
  const Tensor whole = model->forward(ids);
  KVCache cache = model->make_cache();
  model->forward(columns(ids, 0, 6), &cache);
  for (int64_t t = 6; t < 10; ++t) {
    EXPECT_TRUE(all_near(model->forward(columns(ids, t, 1), &cache), slice(whole, 1, t, 1), kTolerance)) << t;
  }
}

// Each key/value head serves H/K query heads; giving each query head its own copy changes nothing.
TEST_P(LlamaAttention, GroupedHeadsEqualRepeatedHeads) {
  LlamaConfig config = small_llama_config();
  const auto grouped = small_llama(GetParam(), config);
  config.num_key_value_heads = config.num_attention_heads;
  const auto repeated = small_llama(GetParam(), config);
  const int64_t copies = 2, head_numbers = config.head_dim * config.hidden_size;

  std::map<std::string, Tensor> from;
  for (const NamedTensor& p : grouped->parameters()) from[p.name] = p.tensor;
  for (const NamedTensor& p : repeated->parameters()) {
    const Tensor source = from.at(p.name);
    if (source.shape == p.tensor.shape) {
      p.tensor.copy_from(source);
      continue;
    }
    for (int64_t h = 0; h < config.num_attention_heads; ++h)
      std::copy_n(source.data() + h / copies * head_numbers, head_numbers,
                  p.tensor.data() + h * head_numbers);
  }
  const IntTensor ids = some_ids(2, 8);
  EXPECT_TRUE(all_near(repeated->forward(ids), grouped->forward(ids), kTolerance));
}

INSTANTIATE_TEST_SUITE_P(Devices, LlamaAttention, testing::Values(Device::Plain, Device::CPU),
                         device_test_name);

}  // namespace
}  // namespace chalk
