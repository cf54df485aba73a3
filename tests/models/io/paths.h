#pragma once
// Where tests find data, a folder to write in, and small hand-made checkpoints.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "models/io/weights.h"

namespace chalk {

inline std::string data_folder() {
  const char* folder = std::getenv("CHALK_DATA");
  return folder != nullptr ? folder : "data";
}

inline std::string golden_folder() {
  const char* folder = std::getenv("CHALK_GOLDEN");
  return folder != nullptr ? folder : data_folder() + "/golden";
}

#define SKIP_WITHOUT(path)            \
  if (!std::filesystem::exists(path)) \
  GTEST_SKIP() << "no file " << (path) << " (set CHALK_DATA, or run make data)"

// A fresh folder that disappears with the test.
struct TemporaryFolder {
  TemporaryFolder() {
    static int counter = 0;
    path = (std::filesystem::temp_directory_path() / fmt::format("chalk_io_{}_{}", ::getpid(), counter++))
               .string();
    std::filesystem::create_directories(path);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

inline std::vector<uint8_t> file_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(stream), {});
}

// The message of the FileError that `action` must throw; fails the test if it does not.
template <class Action>
std::string file_error(Action action) {
  try {
    action();
  } catch (const FileError& error) {
    EXPECT_EQ(error.exit_code, 3);
    return error.what();
  } catch (const std::exception& other) {
    ADD_FAILURE() << "threw something else than FileError: " << other.what();
    return "";
  }
  ADD_FAILURE() << "accepted what it should refuse";
  return "";
}

#define EXPECT_TEXT_IN(part, text) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

// Random weights for every parameter of the configuration.
inline void fill_weights(Checkpoint& checkpoint, uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 0.1f);
  checkpoint.weights.clear();
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    NamedArray weight{parameter.name, parameter.shape, std::vector<float>(parameter_count({parameter}))};
    for (float& x : weight.data) x = normal(random);
    checkpoint.weights.push_back(std::move(weight));
  }
}

inline Checkpoint tiny_gpt2(bool tied = true) {
  Checkpoint checkpoint;
  checkpoint.architecture = "gpt2";
  checkpoint.gpt2 = {.vocab_size = 11, .n_positions = 8, .n_embd = 8, .n_layer = 2, .n_head = 2};
  checkpoint.gpt2.tie_word_embeddings = tied;
  fill_weights(checkpoint);
  return checkpoint;
}

// Sizes chosen so that no two matrices of a layer have the same shape by accident.
inline Checkpoint tiny_llama(bool tied = false, const std::string& model_type = "llama") {
  Checkpoint checkpoint;
  checkpoint.architecture = "llama";
  LlamaConfig& config = checkpoint.llama;
  config.model_type = model_type, config.attention_bias = model_type == "qwen2";
  config.vocab_size = 13, config.hidden_size = 32, config.intermediate_size = 20,
  config.num_hidden_layers = 2;
  config.num_attention_heads = 4, config.num_key_value_heads = 2, config.max_position_embeddings = 16;
  config.tie_word_embeddings = tied;
  fill_weights(checkpoint);
  return checkpoint;
}

inline void expect_same_weights(const Checkpoint& got, const Checkpoint& expected) {
  ASSERT_EQ(got.weights.size(), expected.weights.size());
  for (size_t i = 0; i < got.weights.size(); ++i) {
    EXPECT_EQ(got.weights[i].name, expected.weights[i].name);
    EXPECT_EQ(got.weights[i].shape, expected.weights[i].shape) << got.weights[i].name;
    EXPECT_EQ(got.weights[i].data, expected.weights[i].data) << got.weights[i].name;
  }
}

}  // namespace chalk
