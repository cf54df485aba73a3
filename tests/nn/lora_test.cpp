// LoRA: the start, the gradients, merging into float and 4-bit bases, counts, freezing, which slots are taken.
#include "nn/lora.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "autograd/random.h"
#include "nn/adamw.h"
#include "tests/eigen.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::unique_ptr<Linear> random_linear(int64_t in, int64_t out, Device device) {
  auto linear = std::make_unique<Linear>(in, out, true, device);
  linear->weight.copy_from(random_tensor({out, in}, 1, device));
  linear->bias.copy_from(random_tensor({out}, 2, device));
  linear->set_requires_grad(false);
  return linear;
}

std::unique_ptr<Layer> random_base(bool packed, int64_t in, int64_t out, Device device) {
  std::unique_ptr<Linear> linear = random_linear(in, out, device);
  if (!packed) return linear;
  return std::make_unique<NF4Linear>(*linear, NF4Options{.block = 16});
}

// An adapter that does something: B is not zero.
std::unique_ptr<LoraLinear> trained_lora(bool packed, int64_t in, int64_t out, const LoraOptions& options,
                                         Device device) {
  auto lora = std::make_unique<LoraLinear>(random_base(packed, in, out, device), options, 3, "slot", nullptr);
  lora->B.copy_from(random_tensor({out, options.rank}, 4, device));
  return lora;
}

struct Case {
  bool packed;
  Device device;
};
void PrintTo(const Case& c, std::ostream* out) {
  *out << (c.packed ? "NF4 base on " : "float base on ") << device_name(c.device);
}

class LoraTest : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Bases, LoraTest,
                         testing::Values(Case{false, Device::Plain}, Case{true, Device::Plain},
                                         Case{false, Device::CPU}, Case{true, Device::CPU}));

TEST_P(LoraTest, StartsAsTheBaseBitForBit) {
  auto [packed, device] = GetParam();
  const Tensor x = random_tensor({5, 24}, 9, device);
  LoraLinear lora(random_base(packed, 24, 10, device), {.rank = 4}, 3, "slot", nullptr);
  EXPECT_EQ(lora.forward(x).to_vector(), lora.base->forward(x).to_vector());
  // A is uniform in ±1/√in: inside, and not all on one side.
  const std::vector<float> a = lora.A.to_vector();
  const float bound = 1 / std::sqrt(24.0f);
  EXPECT_LE(*std::max_element(a.begin(), a.end()), bound);
  EXPECT_GE(*std::min_element(a.begin(), a.end()), -bound);
  EXPECT_GT(*std::max_element(a.begin(), a.end()), 0.8f * bound);
  EXPECT_LT(*std::min_element(a.begin(), a.end()), -0.8f * bound);
}

// Finite differences in x, A and B, with the base's weight (widened, if packed) held fixed.
TEST_P(LoraTest, GradientsOfXAndAdapter) {
  auto [packed, device] = GetParam();
  auto lora = trained_lora(packed, 9, 5, {.rank = 3, .alpha = 6}, device);
  const auto f = [&](const std::vector<Tensor>& in) {
    lora->A = in[1], lora->B = in[2];
    return lora->forward(in[0]);
  };
  const GradcheckResult result = gradcheck(
      f,
      {random_tensor({4, 9}, 5, device), random_tensor({3, 9}, 6, device), random_tensor({5, 3}, 7, device)});
  EXPECT_LT(result.worst, 1e-3) << result.message();
}

// dB = s · g (A x)ᵀ, dA = s · Bᵀ g xᵀ; with B = 0 A gets nothing: only B moves first.
TEST_P(LoraTest, AtTheStartOnlyBMoves) {
  auto [packed, device] = GetParam();
  LoraLinear lora(random_base(packed, 12, 6, device), {.rank = 2}, 3, "slot", nullptr);
  sum(lora.forward(random_tensor({3, 12}, 5, device))).backward();
  for (float g : lora.A.grad().to_vector()) EXPECT_EQ(g, 0.0f);
  double largest = 0;
  for (float g : lora.B.grad().to_vector()) largest = std::max(largest, std::abs(double(g)));
  EXPECT_GT(largest, 0.01);
}

TEST_P(LoraTest, OnlyTheAdapterGetsGradients) {
  auto [packed, device] = GetParam();
  auto lora = trained_lora(packed, 12, 6, {.rank = 2}, device);
  lora->visit_parameters("", [&](const std::string& name, Tensor& parameter) {
    EXPECT_EQ(parameter.requires_grad(), name.starts_with("lora_")) << name;
  });
}

// One weight instead of two paths. Float base: rounding of 24 products; 4-bit base: whatever merge() says it lost.
TEST_P(LoraTest, MergedEqualsTwoPaths) {
  auto [packed, device] = GetParam();
  const Tensor x = random_tensor({5, 24}, 9, device);
  auto lora = trained_lora(packed, 24, 10, {.rank = 4, .alpha = 2}, device);
  const std::vector<float> base_before = dense_weight(*lora->base);
  const Tensor two_paths = lora->forward(x).clone();
  const MergeLoss loss = lora->merge();
  const Tensor merged = lora->forward(x);
  double worst = 0;
  for (int64_t i = 0; i < merged.numel(); ++i) {
    worst = std::max(worst, std::abs(double(merged.data()[i]) - double(two_paths.data()[i])));
  }
  EXPECT_GT(loss.update_rms, 0.05);  // there is something to merge
  if (packed) {
    EXPECT_GT(loss.error_rms, 1e-3);  // a 4-bit book cannot hold the sum
    EXPECT_GT(worst, 1e-3);
    // |Σ_i x_i e_i| ≤ √24 · |x|_∞ · |e row|; |x| ≤ 1, rms of e times √(24 · 10) bounds any row's norm.
    EXPECT_LT(worst, std::sqrt(24.0) * loss.error_rms * std::sqrt(240.0));
  } else {
    EXPECT_LT(loss.error_rms, 1e-6);
    EXPECT_LT(worst, 1e-5);
  }
  lora->unmerge();
  const std::vector<float> restored = dense_weight(*lora->base);
  if (packed) {
    EXPECT_EQ(restored, base_before);  // the packed matrix comes back as it was
  }
  EXPECT_TRUE(all_near(restored, base_before, 1e-6));
  EXPECT_THROW(lora->unmerge(), Error);
}

// ΔW has rank r at most: its singular values beyond the r-th vanish.
TEST_P(LoraTest, UpdateHasRankR) {
  auto [packed, device] = GetParam();
  auto lora = trained_lora(packed, 24, 10, {.rank = 3}, device);
  const std::vector<float> delta = lora->delta();
  Eigen::MatrixXd matrix(10, 24);
  for (int o = 0; o < 10; ++o) {
    for (int i = 0; i < 24; ++i) matrix(o, i) = double(delta[size_t(o * 24 + i)]);
  }
  const Eigen::VectorXd singular = Eigen::JacobiSVD<Eigen::MatrixXd>(matrix).singularValues();
  EXPECT_GT(singular(2), 0.1);
  EXPECT_LT(singular(3), 1e-5);  // 240 numbers rounded to float: eps · |ΔW|
}

TEST(Lora, RankStabilizedScaleWithRankOneIsLora) {
  LoraOptions plain{.rank = 1, .alpha = 7}, stabilized = plain;
  stabilized.rank_stabilized = true;
  EXPECT_EQ(plain.scaling(), stabilized.scaling());
  plain.rank = stabilized.rank = 16;
  EXPECT_DOUBLE_EQ(plain.scaling(), 7.0 / 16);
  EXPECT_DOUBLE_EQ(stabilized.scaling(), 7.0 / 4);
}

// Dropout touches what enters A, in training only; with B = 0 the base's path must not change at all.
TEST(Lora, DropoutActsOnTheAdapterOnly) {
  bool training = true;
  LoraLinear lora(random_linear(40, 6, Device::CPU), {.rank = 2, .dropout = 0.5}, 3, "slot", &training);
  const Tensor x = random_tensor({3, 40}, 5, Device::CPU);
  EXPECT_EQ(lora.forward(x).to_vector(), lora.base->forward(x).to_vector());
  lora.B.copy_from(random_tensor({6, 2}, 4, Device::CPU));
  dropout_seeds() = {.seed = 5, .calls = 0};
  const std::vector<float> first = lora.forward(x).to_vector(), second = lora.forward(x).to_vector();
  EXPECT_NE(first, second);
  training = false;
  EXPECT_EQ(lora.forward(x).to_vector(), lora.forward(x).to_vector());
}

TEST(Lora, RefusesBadOptionsAndBases) {
  EXPECT_THROW(LoraLinear(random_linear(4, 4, Device::CPU), {.rank = 0}, 1, "slot", nullptr), Error);
  EXPECT_THROW(LoraLinear(random_linear(4, 4, Device::CPU), {.dropout = 1}, 1, "slot", nullptr), Error);
  EXPECT_THROW(LoraLinear(nullptr, {}, 1, "slot", nullptr), Error);
}

// ---- models ----

class LoraModelTest : public testing::TestWithParam<ModelCase> {};
INSTANTIATE_TEST_SUITE_P(Models, LoraModelTest, testing::ValuesIn(kModelCases), model_test_name);

TEST_P(LoraModelTest, TakesEveryProjectionButTheHead) {
  auto model = GetParam().make();
  const IntTensor ids = some_ids(2, 7);
  const std::vector<float> before = model->forward(ids).to_vector();
  int64_t expected = 0;
  for (Slot* slot : slots_of(*model, Slot::Kind::Projection)) {
    if (slot->name != "lm_head")
      expected += 3 * (slot->projection().in_features() + slot->projection().out_features());
  }
  const std::vector<LoraLinear*> layers = attach_lora(*model, {.rank = 3}, {}, 1, &model->training);
  EXPECT_EQ(layers.size(), slots_of(*model, Slot::Kind::Projection).size() - 1);
  EXPECT_EQ(model->forward(ids).to_vector(), before);
  // r · (in + out) for each adapted matrix, and nothing else learns.
  int64_t trainable = 0;
  for (const NamedTensor& p : trainable_parameters(*model)) trainable += p.tensor.numel();
  EXPECT_EQ(trainable, expected);
  EXPECT_THROW(attach_lora(*model, {}, {}, 1, nullptr), Error);  // an adapter already
  remove_lora(*model);
  EXPECT_TRUE(lora_layers(*model).empty());
  EXPECT_EQ(model->forward(ids).to_vector(), before);
}

// Training moves the adapters and leaves every other number of the model as it was, bit for bit.
TEST_P(LoraModelTest, TrainingLeavesTheBaseAlone) {
  for (bool packed : {false, true}) {
    auto model = GetParam().make();
    if (packed) quantize_projections(*model, {.block = 16});
    const std::vector<LoraLinear*> layers = attach_lora(*model, {.rank = 2}, {}, 1, &model->training);
    std::vector<std::vector<float>> bases;
    for (LoraLinear* layer : layers) bases.push_back(dense_weight(*layer->base));
    std::vector<std::pair<NamedTensor, std::vector<float>>> frozen;
    for (const NamedTensor& p : model->parameters()) {
      if (!p.tensor.requires_grad()) frozen.push_back({p, p.tensor.to_vector()});
    }
    AdamW optimizer(trainable_parameters(*model), {.lr = 0.01f});
    const IntTensor ids = some_ids(2, 7);
    double first = 0, last = 0;
    for (int step = 0; step < 10; ++step) {
      const Tensor loss = cross_entropy(model->forward(ids), ids.values);
      (step == 0 ? first : last) = double(loss.item());
      loss.backward();
      optimizer.step(1);
      optimizer.zero_grad();
    }
    EXPECT_LT(last, first - 0.1);
    for (const auto& [p, before] : frozen) EXPECT_EQ(p.tensor.to_vector(), before) << p.name;
    for (size_t i = 0; i < layers.size(); ++i) EXPECT_EQ(dense_weight(*layers[i]->base), bases[i]);
  }
}

TEST_P(LoraModelTest, MergedModelGivesTheSameLogits) {
  auto model = GetParam().make();
  for (LoraLinear* layer : attach_lora(*model, {.rank = 2, .alpha = 1}, {}, 1, nullptr)) {
    layer->B.copy_from(random_tensor(layer->B.shape, 8, GetParam().device));
  }
  const IntTensor ids = some_ids(2, 7);
  const Tensor before = model->forward(ids).clone();
  const MergeLoss loss = merge_lora(*model);
  EXPECT_GT(loss.update_rms, 0.05);
  EXPECT_LT(loss.error_rms, 1e-6);
  EXPECT_TRUE(lora_layers(*model).empty());
  // Logits of order 10 through two blocks, each product with 8 to 20 terms rounded anew.
  EXPECT_TRUE(all_near(model->forward(ids), before, 2e-4));
  EXPECT_THROW(merge_lora(*model), Error);
}

TEST(LoraModel, NamedSubsets) {
  auto model = small_llama(Device::CPU);
  const auto layers = attach_lora(*model, {.rank = 2}, {"q_proj", "layers.1.mlp.up_proj"}, 1, nullptr);
  EXPECT_EQ(layers.size(), 3u);  // q_proj of both blocks, one up_proj
  const std::string error = error_text([] {
    auto other = small_llama(Device::CPU);
    attach_lora(*other, {}, {"q_proj", "c_attn"}, 1, nullptr);
  });
  EXPECT_MENTIONS(error, "c_attn");
  EXPECT_MENTIONS(error, "layers.0.self_attn.q_proj");
}

// What the papers count: GPT-2 medium with r = 4 on query and value, GPT-3 (96 layers, width 12288) likewise.
TEST(LoraModel, PublishedCounts) {
  const auto count = [](int64_t layers, int64_t width, int64_t rank) {
    return layers * 2 * rank * (width + width);
  };
  EXPECT_EQ(count(24, 1024, 4), 393216);
  EXPECT_EQ(count(96, 12288, 4), 18874368);
  EXPECT_EQ(count(96, 12288, 8), 37748736);
  EXPECT_EQ(count(96, 12288, 1), 4718592);
}

}  // namespace
}  // namespace chalk
