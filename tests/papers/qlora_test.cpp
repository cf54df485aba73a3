// QLoRA: the equations written out against the layers, who gets gradients, memory against the allocator, and training through
// a frozen 4-bit base. The code book's own tests are tests/nn/nf4_test.cpp; LoRA's and paging's stand beside it.
#include "papers/finetuning/qlora.h"

#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

TEST(Qlora, AbsmaxInt8) {
  const std::vector<float> x = {0.5f, -2.0f, 1.0f, 0.0f, 1.99f};
  const AbsmaxInt8 q = quantize_int8(x);
  EXPECT_EQ(q.codes, (std::vector<int>{32, -127, 64, 0, 126}));  // 63.5 · x, half to even
  const std::vector<float> back = dequantize_int8(q);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_LE(std::abs(back[i] - x[i]), 0.5 / q.c + 1e-6);
  EXPECT_EQ(back[1], -2.0f);
  EXPECT_EQ(dequantize_int8(quantize_int8({0, 0})), (std::vector<float>{0, 0}));
}

// Eq. (4) as printed gives 15 numbers, symmetric about 0; the table that was shipped has 16 and is not symmetric.
TEST(Qlora, PrintedCodeBook) {
  EXPECT_NEAR(normal_quantile(0.975), 1.959964, 1e-6);
  const std::vector<double> printed = printed_code_book(4);
  ASSERT_EQ(printed.size(), 15u);
  for (size_t i = 0; i < 15; ++i) EXPECT_NEAR(printed[i], -printed[14 - i], 1e-12);
  EXPECT_EQ(printed[14], 1);
  const auto& table = code_book(FourBit::NF4);
  double worst = 0;
  for (size_t i = 0; i < 15; ++i) {
    worst = std::max(worst, std::abs(printed[i] - double(table[i < 7 ? i : i + 1])));
  }
  EXPECT_GT(worst, 0.01);
}

std::unique_ptr<LoraLinear> qlora_layer(int64_t in, int64_t out, Device device) {
  auto dense = std::make_unique<Linear>(in, out, false, device);
  dense->weight.copy_from(random_tensor({out, in}, 1, device));
  auto packed = std::make_unique<NF4Linear>(*dense, NF4Options{.block = 8, .absmax_block = 4});
  auto lora =
      std::make_unique<LoraLinear>(std::move(packed), LoraOptions{.rank = 3, .alpha = 2}, 5, "slot", nullptr);
  lora->B.copy_from(random_tensor({out, 3}, 6, device));
  return lora;
}

TEST(Qlora, DoubleDequantByHand) {
  const auto lora = qlora_layer(19, 7, Device::CPU);
  const NF4Matrix& matrix = static_cast<NF4Linear&>(*lora->base).weight;
  EXPECT_EQ(double_dequant(matrix), dequantize(matrix));
}

TEST(Qlora, TwoPathsByHand) {
  for (Device device : {Device::Plain, Device::CPU}) {
    const auto lora = qlora_layer(19, 7, device);
    const Tensor x = random_tensor({6, 19}, 3, device);
    const std::vector<float> by_hand =
        qlora_by_hand(x.to_vector(), static_cast<NF4Linear&>(*lora->base).weight, *lora);
    // 19 + 3 products of numbers below 1, in float against double.
    EXPECT_TRUE(all_near(lora->forward(x).to_vector(), by_hand, 1e-5));
  }
}

QloraOptions small_options() {
  QloraOptions options;
  options.quantization = {.block = 16, .absmax_block = 8};
  options.lora = {.rank = 2, .alpha = 4};
  options.adamw.lr = 0.01f;
  options.steps = 12;
  return options;
}

Batch some_batch(int64_t) {
  const IntTensor ids = some_ids(4, 8);
  Batch batch{
      .B = 4, .T = 8, .ids = ids.values, .targets = ids.values, .weights = std::vector<float>(32, 1.0f)};
  std::rotate(batch.targets.begin(), batch.targets.begin() + 1, batch.targets.end());
  return batch;
}

class QloraModelTest : public testing::TestWithParam<ModelCase> {};
INSTANTIATE_TEST_SUITE_P(Models, QloraModelTest, testing::ValuesIn(kModelCases), model_test_name);

TEST_P(QloraModelTest, PreparedModelIsItsQuantizedBase) {
  const IntTensor ids = some_ids(2, 7);
  NoGrad no_grad;
  auto quantized = GetParam().make(), prepared = GetParam().make();
  quantize_projections(*quantized, small_options().quantization);
  prepare_qlora(*prepared, small_options());
  EXPECT_EQ(prepared->forward(ids).to_vector(), quantized->forward(ids).to_vector());
  EXPECT_NE(prepared->forward(ids).to_vector(), GetParam().make()->forward(ids).to_vector());
}

// Fine-tuning lowers the loss; the packed base, embeddings and norms stay as they were, bit for bit.
TEST_P(QloraModelTest, TrainsThroughTheFrozenBase) {
  auto model = GetParam().make();
  const QloraOptions options = small_options();
  const std::vector<LoraLinear*> layers = prepare_qlora(*model, options);
  std::vector<std::vector<float>> bases;
  for (LoraLinear* layer : layers) bases.push_back(dense_weight(*layer->base));
  std::vector<std::pair<NamedTensor, std::vector<float>>> frozen;
  for (const NamedTensor& p : model->parameters()) {
    if (!p.tensor.requires_grad()) frozen.push_back({p, p.tensor.to_vector()});
  }
  const QloraRun run = train_adapters(*model, options, some_batch);
  ASSERT_EQ(run.losses.size(), 12u);
  EXPECT_LT(run.losses.back(), run.losses.front() - 0.1);
  for (size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(dense_weight(*layers[i]->base), bases[i]);
  for (const auto& [p, before] : frozen) EXPECT_EQ(p.tensor.to_vector(), before) << p.name;
}

// A device budget that holds a fraction of the moments changes nothing but the number of moves.
TEST_P(QloraModelTest, PagingChangesNoBit) {
  std::vector<std::vector<float>> adapters[2];
  for (int paged : {0, 1}) {
    auto model = GetParam().make();
    QloraOptions options = small_options();
    options.paging.page_size = 64;
    if (paged) options.paging.budget_bytes = 3 * 64 * 4;
    prepare_qlora(*model, options);
    const QloraRun run = train_adapters(*model, options, some_batch);
    EXPECT_EQ(run.pages.evictions > 0, paged == 1);
    for (const NamedTensor& p : trainable_parameters(*model)) adapters[paged].push_back(p.tensor.to_vector());
  }
  EXPECT_EQ(adapters[0], adapters[1]);
}

TEST(Qlora, SixteenBitBaseIsRounded) {
  auto model = small_llama(Device::CPU);
  QloraOptions options = small_options();
  options.storage = BaseStorage::BFloat16;
  for (LoraLinear* layer : prepare_qlora(*model, options)) {
    for (float w : dense_weight(*layer->base)) ASSERT_EQ(w, bf16_to_float(float_to_bf16(w)));
  }
}

// The arithmetic against the allocator's live bytes, stage by stage. The allocator rounds each of the small arrays of this
// model up to a size class (a multiple of 64 bytes here): that much more may be held, and no byte less.
TEST(Qlora, MemoryAgainstTheAllocator) {
  LlamaConfig config = small_llama_config();
  config.hidden_size = 64, config.intermediate_size = 192, config.head_dim = 16;
  auto model = small_llama(Device::CPU, config);
  QloraOptions options;
  options.lora.rank = 16;
  options.paging = {.page_size = 1024, .budget_bytes = 8 * 4096};
  const QloraMemory predicted = predict_memory(*model, options);
  model->forward(some_ids(4, 8));  // the model keeps a table of rotations from here on
  const auto live = [] { return memory_counters().live_bytes; };

  const int64_t at_start = live();
  quantize_projections(*model, options.quantization);
  const int64_t packed = live() - at_start + 4 * predicted.weights;  // the float matrices have gone
  const int64_t matrices = 14, classes = 3 * 64 * matrices;
  EXPECT_GE(packed, predicted.packed_bytes - 4 * matrices);  // the means are members, not arrays
  EXPECT_LE(packed, predicted.packed_bytes + predicted.packed_bytes / 8 + classes);

  const int64_t before_adapters = live();
  attach_lora(*model, options.lora, {}, 1, nullptr);
  EXPECT_EQ(live() - before_adapters, predicted.adapter_bytes);  // sizes that are classes of their own

  const int64_t before_step = live();
  PagedAdamW optimizer(trainable_parameters(*model), options.adamw, options.paging);
  batch_loss(*model, some_batch(0), 32).backward();
  optimizer.step(1);
  EXPECT_EQ(live() - before_step, predicted.gradient_bytes + predicted.moment_bytes);
  EXPECT_EQ(predicted.moment_bytes, options.paging.budget_bytes);
  EXPECT_EQ(full_finetuning_bytes(65'000'000'000), 780'000'000'000);  // the paper's "more than 780 GB"
}

}  // namespace
}  // namespace chalk
