// GPTQ on whole models, both architectures: which layers change, in which order, and what the saved folder holds.
#include "papers/quantization/gptq.h"

#include "models/load.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

class GptqModel : public testing::TestWithParam<bool> {
 protected:
  static std::vector<IntTensor> text() { return {some_ids(8, 12, 1), some_ids(8, 12, 2)}; }
  static std::unique_ptr<LanguageModel> model() {
    return GetParam() ? small_llama(Device::CPU) : small_gpt2(Device::CPU);
  }
};

TEST_P(GptqModel, LayerErrorsBelowRounding) {
  const std::unique_ptr<LanguageModel> m = model(), original = model();
  const gptq::Options options{.quantizer = {.bits = 3}};
  const gptq::ModelResult result = gptq::quantize_model(*m, text(), options);
  EXPECT_EQ(result.layers.size(), size_t(GetParam() ? 14 : 8));
  double error = 0, rounding = 0;
  std::map<std::string, Tensor> after;
  for (const NamedTensor& p : m->parameters()) after[p.name] = p.tensor;
  for (size_t i = 0; i < result.layers.size(); ++i) {
    error += result.reports[i].error;
    rounding += result.reports[i].rtn_error;
    EXPECT_EQ(result.reports[i].tokens, 2 * 8 * 12);
    EXPECT_EQ(result.reports[i].slot, result.layers[i].slot);
    EXPECT_EQ(after[result.layers[i].slot + ".weight"].to_vector(), dequantize(result.layers[i].matrix));
    after.erase(result.layers[i].slot + ".weight");
  }
  EXPECT_LT(error, rounding);
  for (const NamedTensor& p : original->parameters()) {  // all else is as it was
    if (after.contains(p.name)) {
      EXPECT_EQ(after[p.name].to_vector(), p.tensor.to_vector()) << p.name;
    }
  }
}

TEST_P(GptqModel, TrueSequentialLooksAgain) {
  const std::unique_ptr<LanguageModel> a = model(), b = model();
  gptq::Options options{.quantizer = {.bits = 3}};
  const gptq::ModelResult once = gptq::quantize_model(*a, text(), options);
  options.true_sequential = true;
  const gptq::ModelResult again = gptq::quantize_model(*b, text(), options);
  const size_t first_set = GetParam() ? 3 : 1;
  for (size_t i = 0; i < once.layers.size(); ++i) {
    EXPECT_EQ(once.layers[i].slot, again.layers[i].slot);
    if (i < first_set) {
      EXPECT_EQ(once.layers[i].matrix.codes, again.layers[i].matrix.codes);
    } else if (i == first_set) {  // its inputs come from rounded weights now
      EXPECT_NE(once.reports[i].error, again.reports[i].error);
    }
  }
}

TEST_P(GptqModel, SavedFolderIsTheModel) {
  GPT2Config gpt2 = small_gpt2_config();
  gpt2.n_embd = 32;
  LlamaConfig llama = small_llama_config();
  llama.hidden_size = 32, llama.head_dim = 8, llama.intermediate_size = 64;
  const std::unique_ptr<LanguageModel> m =
      GetParam() ? small_llama(Device::CPU, llama) : small_gpt2(Device::CPU, gpt2);
  for (const NamedTensor& p : m->parameters()) {  // what the folder can hold: halves
    for (int64_t i = 0; i < p.tensor.numel(); ++i)
      p.tensor.data()[i] = half_to_float(float_to_half(p.tensor.data()[i]));
  }
  const gptq::Options options{
      .quantizer = {.bits = 4, .group_size = 16}, .act_order = true, .half_scales = true};
  gptq::ModelResult result = gptq::quantize_model(*m, text(), options);
  const GptqConfig config{.bits = 4, .group_size = 16, .desc_act = true, .sym = false, .version = 2};
  const TemporaryFolder folder;
  Checkpoint checkpoint = to_checkpoint(*m);
  checkpoint.quantized = result.layers;
  write_gptq_folder(folder.path, checkpoint, config);
  const std::unique_ptr<LanguageModel> loaded = make_model(read_checkpoint(folder.path), Device::CPU);
  const NoGrad no_grad;
  const Tensor want = m->forward(some_ids(2, 12)), got = loaded->forward(some_ids(2, 12));
  // The same numbers; a packed projection may add them up in another order.
  EXPECT_TRUE(all_near(got, want, 1e-4));
}

INSTANTIATE_TEST_SUITE_P(Both, GptqModel, testing::Bool(),
                         [](const auto& info) { return info.param ? "llama" : "gpt2"; });

}  // namespace
}  // namespace chalk
