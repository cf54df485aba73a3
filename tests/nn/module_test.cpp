// Parameters: names and shapes as the configurations promise, freezing, and one gradient for a tied head.
#include "nn/module.h"

#include <gtest/gtest.h>

#include <map>

#include "nn/adamw.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

std::map<std::string, Shape> shapes_of(Module& module) {
  std::map<std::string, Shape> shapes;
  for (const NamedTensor& p : module.parameters()) {
    EXPECT_TRUE(shapes.emplace(p.name, p.tensor.shape).second) << p.name << " is listed twice";
    EXPECT_TRUE(p.tensor.requires_grad()) << p.name;
  }
  return shapes;
}

std::map<std::string, Shape> promised(const std::vector<ParameterShape>& list) {
  std::map<std::string, Shape> shapes;
  for (const ParameterShape& p : list) shapes[p.name] = p.shape;
  return shapes;
}

TEST(Parameters, GPT2AsItsConfigurationPromises) {
  for (bool tied : {true, false}) {
    for (int64_t n_inner : {0, 12}) {
      GPT2Config config = small_gpt2_config();
      config.tie_word_embeddings = tied, config.n_inner = n_inner;
      GPT2 model(config, Device::Plain);
      EXPECT_EQ(shapes_of(model), promised(parameter_shapes(config)));
      EXPECT_EQ(model.parameter_count(), parameter_count(config));
    }
  }
}

TEST(Parameters, LlamaMistralAndQwen2AsTheirConfigurationsPromise) {
  for (const char* type : {"llama", "mistral", "qwen2"}) {
    for (bool tied : {true, false}) {
      LlamaConfig config = small_llama_config();
      config.model_type = type, config.tie_word_embeddings = tied;
      config.attention_bias = config.model_type == "qwen2";
      config.sliding_window = config.model_type == "mistral" ? 4 : 0;
      Llama model(config, Device::Plain);
      EXPECT_EQ(shapes_of(model), promised(parameter_shapes(config))) << type;
      EXPECT_EQ(model.parameter_count(), parameter_count(config)) << type;
    }
  }
}

TEST(Parameters, ComeInTheOrderOfTheirPromise) {
  for (const ModelCase& c : kModelCases) {
    const std::unique_ptr<LanguageModel> model = c.make();
    const auto list = std::string(c.architecture) == "gpt2" ? parameter_shapes(small_gpt2_config())
                                                            : parameter_shapes(small_llama_config());
    const std::vector<NamedTensor> parameters = model->parameters();
    ASSERT_EQ(parameters.size(), list.size());
    for (size_t i = 0; i < list.size(); ++i) EXPECT_EQ(parameters[i].name, list[i].name);
  }
}

TEST(Parameters, HandlesWriteTheModel) {
  const auto model = small_gpt2(Device::Plain);
  const NoGrad no_grad;
  const std::vector<float> before = model->forward(some_ids(1, 3)).to_vector();
  for (const NamedTensor& p : model->parameters("transformer.")) {
    EXPECT_TRUE(p.name.starts_with("transformer."));
    p.tensor.fill(0);
  }
  EXPECT_NE(model->forward(some_ids(1, 3)).to_vector(), before);
}

class TiedHead : public testing::TestWithParam<ModelCase> {
 protected:
  static std::unique_ptr<LanguageModel> make(bool tied) {
    if (GetParam().architecture == std::string("gpt2")) {
      GPT2Config config = small_gpt2_config();
      config.tie_word_embeddings = tied;
      return small_gpt2(GetParam().device, config);
    }
    LlamaConfig config = small_llama_config();
    config.tie_word_embeddings = tied;
    return small_llama(GetParam().device, config);
  }
  static Tensor parameter(LanguageModel& model, const std::string& name) {
    for (const NamedTensor& p : model.parameters())
      if (p.name == name) return p.tensor;
    ADD_FAILURE() << "no parameter " << name;
    return {};
  }
  static void backward(LanguageModel& model) {
    cross_entropy(model.forward(some_ids(2, 6)), some_ids(2, 6).values).backward();
  }
  static constexpr const char* kTable[] = {"wte.weight", "embed_tokens.weight"};
  static std::string table() { return kTable[GetParam().architecture == std::string("llama")]; }
};

TEST_P(TiedHead, ItsGradientIsTheSumOfBothUses) {
  const auto tied = make(true), apart = make(false);
  for (const NamedTensor& p : tied->parameters()) parameter(*apart, p.name).copy_from(p.tensor);
  parameter(*apart, "lm_head.weight").copy_from(parameter(*tied, table()));
  backward(*tied);
  backward(*apart);
  const Tensor both = add(parameter(*apart, table()).grad(), parameter(*apart, "lm_head.weight").grad());
  // two sums of 12 products in another order: a few eps of numbers of order 1
  EXPECT_TRUE(all_near(parameter(*tied, table()).grad(), both, 2e-6));
}

TEST_P(TiedHead, FreezingAndUnfreezingKeepsItOneParameter) {
  const auto model = make(true);
  backward(*model);
  const std::vector<float> before = parameter(*model, table()).grad().to_vector();

  model->set_requires_grad(false);
  EXPECT_FALSE(parameter(*model, table()).requires_grad());
  EXPECT_FALSE(model->forward(some_ids(1, 2)).requires_grad());
  model->set_requires_grad(true);
  backward(*model);
  EXPECT_EQ(parameter(*model, table()).grad().to_vector(), before);  // not split between two handles

  // Freeze everything, then train one slot's parameters only.
  model->set_requires_grad(false);
  find_slot(*model, model->block_prefix(0) + "mlp").layer->set_requires_grad(true);
  backward(*model);
  int64_t with_gradient = 0;
  for (const NamedTensor& p : model->parameters()) {
    EXPECT_EQ(p.tensor.has_grad(), p.name.starts_with(model->block_prefix(0) + "mlp.")) << p.name;
    with_gradient += p.tensor.has_grad();
  }
  EXPECT_GT(with_gradient, 0);
}

TEST_P(TiedHead, ZeroGradForgetsEverything) {
  const auto model = make(true);
  backward(*model);
  model->zero_grad();
  for (const NamedTensor& p : model->parameters()) EXPECT_FALSE(p.tensor.has_grad()) << p.name;
}

INSTANTIATE_TEST_SUITE_P(Models, TiedHead, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
