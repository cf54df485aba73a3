// The differ: silent on backends that agree, and where a fault is planted it names that activation.
#include "models/compare_devices.h"

#include <gtest/gtest.h>

#include <limits>

#include "autograd/ops.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::unique_ptr<LanguageModel> make(const std::string& architecture, Device device) {
  auto model = ModelCase{architecture.c_str(), Device::CPU}.make();
  if (device == Device::CPU) return model;
  std::unique_ptr<LanguageModel> other;
  if (architecture == "gpt2")
    other = std::make_unique<GPT2>(small_gpt2_config(), device);
  else
    other = std::make_unique<Llama>(small_llama_config(), device);
  const std::vector<NamedTensor> from = model->parameters(), to = other->parameters();
  for (size_t i = 0; i < from.size(); ++i) to[i].tensor.copy_from(from[i].tensor.to(device));
  return other;
}

struct DifferTest : testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, DifferTest, testing::Values("gpt2", "llama"));

TEST_P(DifferTest, BackendsThatAgreeAreSilent) {
  auto cpu = make(GetParam(), Device::CPU);
  for (Device device : {Device::Plain, Device::CUDA}) {
    auto other = make(GetParam(), device);
    for (bool gradients : {false, true}) {
      const auto differences = compare_devices(*cpu, *other, some_ids(2, 7), gradients);
      const size_t activations = cpu->hooks.names.size() + 1;
      EXPECT_EQ(differences.size(), gradients ? 2 * activations + cpu->parameters().size() : activations);
      for (const ActivationDifference& d : differences) {
        EXPECT_LE(d.share, 1) << d.name << (d.gradient ? " (gradient) " : " ") << d.a << " and " << d.b;
      }
      EXPECT_EQ(first_disagreement(differences), nullptr);
      if (!gradients) continue;
      // Something was compared: the loss has a gradient at every activation.
      for (size_t i = activations; i < 2 * activations; ++i) {
        EXPECT_TRUE(differences[i].a != 0 || differences[i].b != 0 || differences[i].share == 0)
            << differences[i].name;
      }
    }
  }
}

// A fault at any activation of the second model is named, and nothing before or behind it: what follows is compared from equal
// numbers on. 2 % of every number is a few times the tolerance of sums of 29 terms and far below what a wrong kernel does.
TEST_P(DifferTest, NamesTheActivationOfAPlantedFault) {
  auto cpu = make(GetParam(), Device::CPU), cuda = make(GetParam(), Device::CUDA);
  for (const std::string& name : cpu->hooks.names) {
    const int fault = cuda->hooks.add(name, [](const Tensor& x) { return scale(x, 1.02f); });
    const auto differences = compare_devices(*cpu, *cuda, some_ids(1, 6));
    for (const ActivationDifference& d : differences)
      EXPECT_EQ(d.disagrees(), d.name == name) << d.name << ", fault at " << name;
    cuda->hooks.remove(fault);
  }
  EXPECT_EQ(first_disagreement(compare_devices(*cpu, *cuda, some_ids(1, 6))), nullptr);
}

// One number of one activation, wrong or NaN, and its place.
TEST_P(DifferTest, FindsASingleNumber) {
  auto cpu = make(GetParam(), Device::CPU), cuda = make(GetParam(), Device::CUDA);
  const std::string name = cpu->block_prefix(1) + "mlp.hidden";
  for (float wrong : {100.0f, std::numeric_limits<float>::quiet_NaN()}) {
    const int fault = cuda->hooks.add(name, [&](const Tensor& x) {
      std::vector<float> values = x.to_vector();
      values[17] = wrong;
      return Tensor::from(x.shape, values, x.device());
    });
    const auto differences = compare_devices(*cpu, *cuda, some_ids(1, 6));
    const ActivationDifference* first = first_disagreement(differences);
    ASSERT_NE(first, nullptr);
    EXPECT_EQ(first->name, name);
    EXPECT_EQ(first->index, 17);
    cuda->hooks.remove(fault);
  }
}

// A backward that is wrong while forward is right: y = x, dy/dx = 1.5.
TEST_P(DifferTest, NamesAWrongGradient) {
  auto cpu = make(GetParam(), Device::CPU), plain = make(GetParam(), Device::Plain);
  const std::string at = cpu->block_prefix(1) + "resid_pre";
  plain->hooks.add(at, [](const Tensor& x) { return add(scale(x, 1.5f), scale(x.detach(), -0.5f)); });
  const auto differences = compare_devices(*cpu, *plain, some_ids(1, 6), true);
  const ActivationDifference* first = first_disagreement(differences);
  ASSERT_NE(first, nullptr);
  // The gradient of resid_pre itself arrives right; behind it, in the block below, it is 1.5 times too large.
  EXPECT_EQ(first->name, cpu->block_prefix(0) + "resid_post");
  EXPECT_TRUE(first->gradient);
}

TEST(Differ, RefusesModelsThatAreNotTheSame) {
  auto gpt2 = make("gpt2", Device::CPU), llama = make("llama", Device::CPU);
  EXPECT_THROW(compare_devices(*gpt2, *llama, some_ids(1, 6)), std::exception);
}

}  // namespace
}  // namespace chalk
