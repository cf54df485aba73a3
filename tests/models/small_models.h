#pragma once
// Two tiny models in which every parameter counts: biases and gains are random too, no two sizes are equal.
#include <gtest/gtest.h>

#include <memory>
#include <ostream>

#include "models/gpt2.h"
#include "models/llama.h"
#include "nn/init.h"
#include "tests/autograd/random_tensor.h"

namespace chalk {

inline GPT2Config small_gpt2_config() {
  return {.vocab_size = 29, .n_positions = 12, .n_embd = 8, .n_layer = 2, .n_head = 2};
}

inline LlamaConfig small_llama_config() {
  LlamaConfig config;
  config.vocab_size = 29;
  config.hidden_size = 8;
  config.intermediate_size = 20;
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 4;  // not C / H
  config.max_position_embeddings = 12;
  return config;
}

// N(0, 0.3²) everywhere; gains around 1.
inline void randomize(LanguageModel& model, uint64_t seed = 1) {
  for (const NamedTensor& p : model.parameters()) {
    init_normal(p.tensor, 0.3f, seed, p.name);
    const bool gain = p.name.ends_with("weight") && p.tensor.rank() == 1;
    std::vector<float> values = p.tensor.to_vector();
    for (float& v : values) v += gain ? 1.0f : 0.0f;
    p.tensor.copy_from(Tensor::from(p.tensor.shape, values, p.tensor.device()));
  }
}

inline std::unique_ptr<LanguageModel> small_gpt2(Device device,
                                                 const GPT2Config& config = small_gpt2_config()) {
  auto model = std::make_unique<GPT2>(config, device);
  randomize(*model);
  return model;
}

inline std::unique_ptr<LanguageModel> small_llama(Device device,
                                                  const LlamaConfig& config = small_llama_config()) {
  auto model = std::make_unique<Llama>(config, device);
  randomize(*model);
  return model;
}

// "gpt2" or "llama" on a device: what most tests of models run over.
struct ModelCase {
  const char* architecture;
  Device device;

  std::unique_ptr<LanguageModel> make() const {
    return std::string(architecture) == "gpt2" ? small_gpt2(device) : small_llama(device);
  }
};

inline void PrintTo(const ModelCase& c, std::ostream* out) {
  *out << c.architecture << " on " << device_name(c.device);
}

inline const std::vector<ModelCase> kModelCases = {
    {"gpt2", Device::Plain}, {"gpt2", Device::CPU}, {"llama", Device::Plain}, {"llama", Device::CPU}};

inline std::string model_test_name(const testing::TestParamInfo<ModelCase>& info) {
  return std::string(info.param.architecture) + "_" + device_name(info.param.device);
}

// B rows of T ids below 29.
inline IntTensor some_ids(int64_t B, int64_t T, uint64_t seed = 5) {
  IntTensor ids{{B, T}, {}};
  for (int64_t i = 0; i < B * T; ++i) ids.values.push_back(int32_t(random_word(seed, uint64_t(i)) % 29));
  return ids;
}

}  // namespace chalk
