// Moving a factor from the inputs of products into the layer before changes no output; nor do injected outliers.

#include "models/folding.h"

#include "autograd/check.h"
#include "models/outliers.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::vector<float> some_scales(int64_t count, uint64_t seed) {
  std::vector<float> s;
  for (int64_t c = 0; c < count; ++c)
    s.push_back(std::exp(2 * random_uniform(seed, uint64_t(c)) - 1));  // 1/e … e
  return s;
}

Tensor some_input(const LanguageModel& model, int64_t C) {
  Tensor x({2, 5, C}, model.device());
  init_normal(x, 1, 9, "x");
  return x;
}

double largest(const Tensor& x) {
  double most = 0;
  for (float value : x.to_vector()) most = std::max(most, std::abs(double(value)));
  return most;
}

// Folds random scales into every group that can take them; returns the targets in order.
std::vector<FoldingGroup::Target> fold_block(LanguageModel& model) {
  std::vector<FoldingGroup::Target> targets;
  for (const FoldingGroup& group : folding_groups(model, 1)) {
    targets.push_back(group.target);
    if (group.target != FoldingGroup::Target::None)
      fold_scales(group, some_scales(group.in_features(), targets.size()));
  }
  return targets;
}

// Every number goes through at most 4 products of up to 32 terms with 3 extra roundings each: 32·4·3·2⁻²⁴ ≈ 2e-5 if all
// errors agreed in sign; random signs leave about a tenth. The sheet asks for 1e-5.
void expect_same_output(LanguageModel& model, const std::vector<FoldingGroup::Target>& expected) {
  NoGrad no_grad;
  const Tensor x = some_input(model, model.width()), before = model.block(1).forward(x);
  EXPECT_EQ(fold_block(model), expected);
  EXPECT_TRUE(all_near(model.block(1).forward(x), before, 1e-5 * largest(before)));
}

using Target = FoldingGroup::Target;

TEST(FoldingTest, Gpt2WithGeluKeepsItsOutput) {
  expect_same_output(*small_gpt2(Device::CPU), {Target::Norm, Target::Rows, Target::Norm, Target::Division});
}

TEST(FoldingTest, Gpt2WithReluFoldsIntoTheRowsBefore) {
  GPT2Config config = small_gpt2_config();
  config.activation = "relu";
  expect_same_output(*small_gpt2(Device::CPU, config),
                     {Target::Norm, Target::Rows, Target::Norm, Target::Rows});
}

TEST(FoldingTest, LlamaWithBiasesKeepsItsOutput) {
  LlamaConfig config = small_llama_config();
  config.num_key_value_heads = config.num_attention_heads;
  config.attention_bias = true;
  expect_same_output(*small_llama(Device::CPU, config),
                     {Target::Norm, Target::Rows, Target::Norm, Target::Rows});
}

TEST(FoldingTest, GroupedQueriesLeaveOprojAlone) {
  const auto model = small_llama(Device::Plain);  // 4 heads, 2 for keys and values
  expect_same_output(*model, {Target::Norm, Target::None, Target::Norm, Target::Rows});
  const FoldingGroup out = folding_groups(*model, 0)[1];
  EXPECT_MENTIONS(error_text([&] { fold_scales(out, some_scales(out.in_features(), 1)); }), "o_proj");
}

TEST(FoldingTest, EveryProjectionIsInOneGroup) {
  for (const ModelCase& c : kModelCases) {
    const auto model = c.make();
    std::vector<std::string> in_groups, all;
    for (const FoldingGroup& group : folding_groups(*model, 0))
      for (const Slot* slot : group.readers) in_groups.push_back(slot->name);
    for (const Slot* slot : slots_of(model->block(0), Slot::Kind::Projection)) all.push_back(slot->name);
    EXPECT_EQ(in_groups, all);
  }
}

// What a group's forward gives from the recorded input is what the block computed.
TEST(FoldingTest, InspectedModulesAreTheBlocksOwn) {
  for (const ModelCase& c : kModelCases) {
    NoGrad no_grad;
    const auto model = c.make();
    const std::vector<FoldingGroup> groups = folding_groups(*model, 1);
    const std::string attention = model->block_prefix(1) + "attn.out",
                      mlp = model->block_prefix(1) + "mlp.out";
    Recorder recorder(model->hooks,
                      {attention, mlp, groups[0].input, groups[1].input, groups[2].input, groups[3].input});
    model->block(1).forward(some_input(*model, model->width()));
    const std::map<std::string, Tensor> seen = recorder.last;
    EXPECT_TRUE(all_near(groups[0].forward(seen.at(groups[0].input)), seen.at(attention), 0));
    EXPECT_TRUE(all_near(groups[1].forward(seen.at(groups[1].input)), seen.at(attention), 0));
    EXPECT_TRUE(all_near(groups[3].forward(seen.at(groups[3].input)), seen.at(mlp), 0));
  }
}

TEST(FoldingTest, DividingTwiceMultipliesTheScales) {
  NoGrad no_grad;
  const auto model = small_gpt2(Device::CPU);
  const Tensor x = some_input(*model, model->width()), before = model->block(1).forward(x);
  for (int pass = 0; pass < 2; ++pass) fold_block(*model);
  EXPECT_TRUE(all_near(model->block(1).forward(x), before, 2e-5 * largest(before)));  // twice the roundings
}

TEST(FoldingTest, RefusesScalesThatDoNotFit) {
  const auto model = small_gpt2(Device::CPU);
  const std::vector<FoldingGroup> groups = folding_groups(*model, 0);
  EXPECT_MENTIONS(error_text([&] { fold_scales(groups[0], {1, 2}); }), "2 scales for the 8 inputs");
  EXPECT_MENTIONS(error_text([&] { fold_scales(groups[3], std::vector<float>(32, 0)); }), "scale 0 is 0");
}

// A power of two moves exponents only: no bit of any logit changes.
TEST(OutliersTest, LogitsKeepEveryBit) {
  for (const ModelCase& c : kModelCases) {
    NoGrad no_grad;
    const auto model = c.make();
    const IntTensor ids = some_ids(2, 7);
    const Tensor before = model->forward(ids);
    const InjectedOutliers injected = inject_outliers(*model, {.fraction = 0.25, .factor = 16, .seed = 3});
    EXPECT_TRUE(all_near(model->forward(ids), before, 0)) << c.architecture;
    EXPECT_EQ(injected.channels.size(), 2u);
    EXPECT_EQ(injected.norms.size(), 4u);
    EXPECT_MENTIONS(injected.describe(), "16 times larger");
  }
}

TEST(OutliersTest, OnlyTheChosenChannelsGrow) {
  NoGrad no_grad;
  const auto model = small_llama(Device::CPU);
  const std::string hook = "layers.1.post_attention_layernorm";
  Recorder recorder(model->hooks, {hook});
  model->forward(some_ids(1, 6));
  const std::vector<float> before = recorder.last.at(hook).to_vector();
  const InjectedOutliers injected = inject_outliers(*model, {.fraction = 0.125, .factor = 32});
  model->forward(some_ids(1, 6));
  const std::vector<float> after = recorder.last.at(hook).to_vector();
  for (size_t k = 0; k < after.size(); ++k)
    EXPECT_EQ(after[k], before[k] * (int64_t(k % 8) == injected.channels[0] ? 32 : 1));
}

TEST(OutliersTest, RefusesImpossibleOptions) {
  const auto model = small_gpt2(Device::CPU);
  EXPECT_THROW(inject_outliers(*model, {.fraction = 0}), UsageError);
  EXPECT_THROW(inject_outliers(*model, {.fraction = 1.5}), UsageError);
  EXPECT_THROW(inject_outliers(*model, {.factor = 1}), UsageError);
}

}  // namespace
}  // namespace chalk
