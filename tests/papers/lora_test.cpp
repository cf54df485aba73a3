// LoRA: the layer and its gradients against the equations written out, counts, and fine-tuning a small model. The layer's
// other invariants are tests/nn/lora_test.cpp, the files' tests/models/io/peft_test.cpp.
#include "papers/finetuning/lora.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "models/lora_adapter.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::unique_ptr<LoraLinear> some_layer(Device device, bool rank_stabilized) {
  auto base = std::make_unique<Linear>(11, 7, false, device);
  base->weight.copy_from(random_tensor({7, 11}, 1, device));
  base->set_requires_grad(false);
  const LoraOptions options{.rank = 3, .alpha = 2, .rank_stabilized = rank_stabilized};
  auto layer = std::make_unique<LoraLinear>(std::move(base), options, 5, "slot", nullptr);
  layer->B.copy_from(random_tensor({7, 3}, 6, device));
  return layer;
}

std::vector<double> row(const Tensor& x, int64_t n) {
  const float* begin = x.data() + n * x.dim(-1);
  return {begin, begin + x.dim(-1)};
}

// 11 + 3 products of numbers below 1, in float against double.
constexpr double kTolerance = 5e-6;

TEST(LoraPaper, ForwardByHand) {
  for (Device device : {Device::Plain, Device::CPU}) {
    for (bool rank_stabilized : {false, true}) {
      const auto layer = some_layer(device, rank_stabilized);
      const Tensor x = random_tensor({4, 11}, 3, device), y = layer->forward(x);
      for (int64_t n = 0; n < 4; ++n) {
        const std::vector<double> by_hand = LoraByHand(*layer).forward(row(x, n));
        for (int64_t o = 0; o < 7; ++o) EXPECT_NEAR(row(y, n)[size_t(o)], by_hand[size_t(o)], kTolerance);
      }
    }
  }
}

TEST(LoraPaper, GradientsByHand) {
  for (Device device : {Device::Plain, Device::CPU}) {
    const auto layer = some_layer(device, false);
    Tensor x = random_tensor({1, 11}, 3, device);
    x.set_requires_grad();
    const Tensor g = random_tensor({1, 7}, 4, device);
    run_backward(layer->forward(x), g);
    const LoraByHand::Gradients d = LoraByHand(*layer).backward(row(x, 0), row(g, 0));
    const auto floats = [](const std::vector<double>& v) { return std::vector<float>(v.begin(), v.end()); };
    EXPECT_TRUE(all_near(x.grad().to_vector(), floats(d.dx), kTolerance));
    EXPECT_TRUE(all_near(layer->A.grad().to_vector(), floats(d.dA), kTolerance));
    EXPECT_TRUE(all_near(layer->B.grad().to_vector(), floats(d.dB), kTolerance));
  }
}

TEST(LoraPaper, CountsWhatLearns) {
  auto model = small_llama(Device::CPU);
  std::vector<Projection*> adapted;
  for (LoraLinear* layer : attach_lora(*model, {.rank = 5}, {"q_proj", "v_proj"}, 1, nullptr))
    adapted.push_back(layer);
  int64_t learning = 0;
  for (const NamedTensor& p : trainable_parameters(*model)) learning += p.tensor.numel();
  // Two blocks, q 8 -> 16 and v 8 -> 8.
  EXPECT_EQ(learning, 2 * 5 * ((8 + 16) + (8 + 8)));
  EXPECT_EQ(lora_parameter_count(adapted, 5), learning);
}

// The paper's own setting on GPT-2, whose q, k and v are one matrix: k is the base's, bit for bit, and 2·r·(C + C) numbers
// learn in each block. Merged, and as a whole adapter that PEFT can read, it is the same function.
TEST(LoraPaper, QueryAndValueOfAFusedProjection) {
  const auto model = small_gpt2(Device::CPU);
  const int64_t C = model->width();
  const auto base = std::make_unique<Linear>(C, 3 * C, true, Device::CPU);
  const auto& original = static_cast<Linear&>(find_slot(*model, "h.0.attn.c_attn").projection());
  base->weight.copy_from(original.weight), base->bias.copy_from(original.bias);
  const auto layers = attach_lora(*model, {.rank = 3, .alpha = 2}, {"c_attn.v", "c_attn.q"}, 1, nullptr);
  ASSERT_EQ(layers.size(), model->blocks().size());
  int64_t learning = 0;
  for (const NamedTensor& p : trainable_parameters(*model)) learning += p.tensor.numel();
  EXPECT_EQ(learning, int64_t(layers.size()) * 2 * 3 * (C + C));

  for (LoraLinear* layer : layers) layer->B.copy_from(random_tensor(layer->B.shape, 6, Device::CPU));
  Tensor x = random_tensor({2, 5, C}, 3, Device::CPU);
  const std::vector<float> y = layers[0]->forward(x).to_vector(), plain = base->forward(x).to_vector();
  double moved[3] = {0, 0, 0};
  for (size_t i = 0; i < y.size(); ++i) moved[i / size_t(C) % 3] += std::abs(double(y[i]) - double(plain[i]));
  EXPECT_GT(moved[0], 0.1);
  EXPECT_EQ(moved[1], 0);
  EXPECT_GT(moved[2], 0.1);

  // y = x · (W + ΔW)ᵀ + b, and ΔW has no rows for k.
  std::vector<float> weight = base->weight.to_vector();
  const std::vector<float> delta = layers[0]->delta();
  for (size_t i = 0; i < weight.size(); ++i) weight[i] += delta[i];
  base->weight.copy_from(Tensor::from({3 * C, C}, weight));
  EXPECT_TRUE(all_near(base->forward(x).to_vector(), y, kTolerance));
  EXPECT_TRUE(std::all_of(delta.begin() + C * C, delta.begin() + 2 * C * C, [](float d) { return d == 0; }));

  const TemporaryFolder folder;
  const IntTensor ids = some_ids(2, 7);
  save_adapter(*model, folder.file("adapter"));
  const auto other = small_gpt2(Device::CPU);
  load_adapter(*other, folder.file("adapter"));
  EXPECT_EQ(lora_layers(*other)[0]->options.rank, 6);
  EXPECT_EQ(lora_layers(*other)[0]->options.scaling(), layers[0]->options.scaling());
  const Tensor logits = model->forward(ids).clone();
  EXPECT_TRUE(all_near(other->forward(ids), logits, 2e-4));  // logits of order 10 through two blocks
  merge_lora(*model);
  EXPECT_TRUE(all_near(model->forward(ids), logits, 2e-4));
}

TEST(LoraPaper, PartsThatFitNowhere) {
  const auto model = small_gpt2(Device::CPU);
  EXPECT_THROW(attach_lora(*model, {}, {"mlp.c_proj.q"}, 1, nullptr), UsageError);
  EXPECT_THROW(attach_lora(*model, {}, {"c_attn.x"}, 1, nullptr), UsageError);
  // A part of rank 2 and a whole projection of rank 1: PEFT would need a rank for each.
  attach_lora(*model, {.rank = 2}, {"c_attn.q", "c_attn.v", "attn.c_proj"}, 1, nullptr);
  EXPECT_MENTIONS(error_text([&] { adapter_of(*model); }), "rank patterns");
}

// Gradients reach A and B of both parts, and x, through slices and joins.
TEST(LoraPaper, GradientsOfParts) {
  for (Device device : {Device::Plain, Device::CPU}) {
    auto base = std::make_unique<Linear>(4, 12, true, device);
    base->weight.copy_from(random_tensor({12, 4}, 1, device));
    base->set_requires_grad(false);
    LoraLinear layer(std::move(base), {.rank = 2, .alpha = 3}, 5, "attn.c_attn", nullptr, {0, 2});
    layer.B.copy_from(random_tensor({8, 2}, 6, device));
    const auto f = [&](const std::vector<Tensor>& inputs) {
      layer.A = inputs[1], layer.B = inputs[2];
      return layer.forward(inputs[0]);
    };
    const GradcheckResult result = gradcheck(f, {random_tensor({3, 4}, 3, device), layer.A, layer.B});
    EXPECT_LT(result.worst, 1e-3) << result.message();
  }
}

// An optimiser state for frozen weights would cost more than the adapters themselves.
TEST(LoraPaper, TrainerGivesFrozenWeightsNoState) {
  auto model = small_llama(Device::CPU);
  const size_t layers = attach_lora(*model, {.rank = 2}, {}, 1, nullptr).size();
  const Trainer trainer(*model, {});
  EXPECT_EQ(trainer.parameters.size(), 2 * layers);
  size_t states = 0;
  for (const auto& optimizer : trainer.optimizers) {
    optimizer->visit_state([&](const std::string&, const Tensor&) { ++states; });
  }
  EXPECT_EQ(states, 4 * layers);
}

class LoraFinetuneTest : public testing::TestWithParam<ModelCase> {};
INSTANTIATE_TEST_SUITE_P(Models, LoraFinetuneTest, testing::ValuesIn(kModelCases), model_test_name);

// Learns, leaves the base as it was, and the merged model is the adapted one.
TEST_P(LoraFinetuneTest, LearnsAndMerges) {
  auto model = GetParam().make();
  const IntTensor ids = some_ids(4, 8);
  Batch batch{
      .B = 4, .T = 8, .ids = ids.values, .targets = ids.values, .weights = std::vector<float>(32, 1.0f)};
  const std::vector<NamedTensor> base = model->parameters();
  std::vector<std::vector<float>> before;
  for (const NamedTensor& p : base) before.push_back(p.tensor.to_vector());
  const std::vector<double> losses =
      finetune_lora(*model, {.lora = {.rank = 2}, .lr = 0.01, .steps = 15}, [&](int64_t) { return batch; });
  EXPECT_LT(losses.back(), losses.front() - 0.1);
  for (size_t i = 0; i < base.size(); ++i) EXPECT_EQ(base[i].tensor.to_vector(), before[i]) << base[i].name;

  NoGrad no_grad;
  const Tensor adapted = model->forward(ids);
  EXPECT_LT(merge_finetuned(*model).error_rms, 1e-6);
  EXPECT_TRUE(all_near(model->forward(ids), adapted, 2e-4));  // logits of order 10 through two blocks
  EXPECT_EQ(model->parameters().size(), base.size());
}

}  // namespace
}  // namespace chalk
