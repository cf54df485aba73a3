// config.json both ways, the published parameter counts, and values that must be refused.
#include "models/io/config.h"

#include <nlohmann/json.hpp>

#include "models/io/json.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

using nlohmann::json;

// Counts of the fact sheets, computed there from the shapes.
TEST(GPT2Presets, ParameterCountsAreThePublishedOnes) {
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2")), 124439808);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-medium")), 354823168);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-large")), 774030080);
  EXPECT_EQ(parameter_count(gpt2_preset("gpt2-xl")), 1557611200);
  GPT2Config untied = gpt2_preset("gpt2");
  untied.tie_word_embeddings = false;
  EXPECT_EQ(parameter_count(untied), 124439808 + 50257 * 768);
  EXPECT_THROW(gpt2_preset("gpt3"), UsageError);
}

TEST(LlamaPresets, ParameterCountsAreThePublishedOnes) {
  const std::map<std::string, int64_t> expected = {
      {"llama-7b", 6738415616},         {"llama-13b", 13015864320},      {"llama-33b", 32528943616},
      {"llama-65b", 65285660672},       {"llama-2-7b", 6738415616},      {"llama-2-13b", 13015864320},
      {"llama-2-70b", 68976648192},     {"code-llama-34b", 33743970304}, {"llama-3-8b", 8030261248},
      {"llama-3-70b", 70553706496},     {"llama-3.1-8b", 8030261248},    {"llama-3.1-70b", 70553706496},
      {"llama-3.1-405b", 405853388800}, {"llama-3.2-1b", 1235814400},    {"llama-3.2-3b", 3212749824},
      {"mistral-7b", 7241732096},       {"stories260k", 260032},         {"stories15m", 15191712},
      {"stories42m", 41689600},         {"stories110m", 109529856}};
  EXPECT_EQ(llama_presets().size(), expected.size());
  for (const LlamaPreset& preset : llama_presets()) {
    EXPECT_NO_THROW(validate(preset.config)) << preset.name;
    EXPECT_EQ(parameter_count(preset.config), expected.at(preset.name)) << preset.name;
  }
  EXPECT_EQ(llama_preset("llama-3.2-1b").head_size(), 64);
  EXPECT_THROW(llama_preset("llama-9"), UsageError);
}

TEST(LlamaPresets, FfnWidthRule) {
  EXPECT_EQ(llama_ffn_width(4096, 256), 11008);
  EXPECT_EQ(llama_ffn_width(5120, 256), 13824);
  EXPECT_EQ(llama_ffn_width(6656, 256), 17920);
  EXPECT_EQ(llama_ffn_width(8192, 256), 22016);
  EXPECT_EQ(llama_ffn_width(8192, 4096, 1.3), 28672);
  EXPECT_EQ(llama_ffn_width(4096, 1024, 1.3), 14336);
  EXPECT_EQ(llama_ffn_width(16384, 4096, 1.2), 53248);
  EXPECT_EQ(llama_ffn_width(288, 32), 768);
  EXPECT_EQ(llama_ffn_width(768, 32), 2048);
  EXPECT_EQ(llama_ffn_width(512, 32), 1376);
  EXPECT_EQ(llama_ffn_width(64, 4), 172);
}

json through_text(const nlohmann::ordered_json& written) {
  return parse_json(written.dump(), "config.json");
}

TEST(Config, Gpt2RoundTrip) {
  GPT2Config config = gpt2_preset("gpt2-medium");
  config.n_inner = 300, config.activation = "relu", config.layer_norm_epsilon = 1e-6, config.dropout = 0.25;
  config.tie_word_embeddings = false, config.eos_token_id = {};
  const json written = through_text(to_json(config));
  EXPECT_EQ(architecture_of(written, "f"), "gpt2");
  const GPT2Config read = gpt2_config_from_json(written, "f");
  EXPECT_EQ(to_json(read), to_json(config));
  EXPECT_EQ(read.n_inner, 300);
  EXPECT_EQ(read.layer_norm_epsilon, 1e-6);
  EXPECT_EQ(read.bos_token_id, 50256);
  EXPECT_FALSE(read.eos_token_id.has_value());
}

TEST(Config, LlamaRoundTripOfEveryPreset) {
  for (const LlamaPreset& preset : llama_presets()) {
    const json written = through_text(to_json(preset.config));
    EXPECT_EQ(architecture_of(written, "f"), "llama");
    const LlamaConfig read = llama_config_from_json(written, "f");
    EXPECT_EQ(to_json(read), to_json(preset.config)) << preset.name;
    EXPECT_EQ(read.rope_scaling.type, preset.config.rope_scaling.type) << preset.name;
    EXPECT_EQ(read.sliding_window, preset.config.sliding_window) << preset.name;
    EXPECT_EQ(parameter_count(read), parameter_count(preset.config)) << preset.name;
  }
}

json small_llama() {
  return {{"model_type", "llama"},   {"vocab_size", 10},       {"hidden_size", 8},
          {"intermediate_size", 16}, {"num_hidden_layers", 2}, {"num_attention_heads", 2}};
}

TEST(Config, LlamaDefaultsAreTransformers) {
  const LlamaConfig config = llama_config_from_json(small_llama(), "f");
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.head_size(), 4);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.rope_theta, 10000.0);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_EQ(config.rope_scaling.type, "none");
}

TEST(Config, RopeScalingInAllSpellings) {
  json config = small_llama();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
  EXPECT_EQ(llama_config_from_json(config, "f").rope_scaling.factor, 2.0);
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(llama_config_from_json(config, "f").rope_scaling.original_max_position_embeddings, 8192);
  config.erase("rope_scaling");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  EXPECT_EQ(llama_config_from_json(config, "f").rope_theta, 5e5);
  EXPECT_EQ(llama_config_from_json(config, "f").rope_scaling.type, "none");
  config["rope_parameters"] = {{"rope_type", "yarn"}, {"factor", 4}};
  EXPECT_TEXT_IN("yarn", file_error([&] { llama_config_from_json(config, "f"); }));
}

TEST(Config, WindowsAndBiasesFollowTheModelType) {
  json config = small_llama();
  config["sliding_window"] = 4;
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 0);  // transformers' LLaMA has none
  config["model_type"] = "mistral";
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 4);
  config["sliding_window"] = nullptr;
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 0);
  config.erase("sliding_window");
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 4096);
  config["model_type"] = "qwen2";
  config["sliding_window"] = 4;
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 0);  // switched off unless asked for
  EXPECT_TRUE(llama_config_from_json(config, "f").attention_bias);
  config["use_sliding_window"] = true;
  config["max_window_layers"] = 0;
  EXPECT_EQ(llama_config_from_json(config, "f").sliding_window, 4);
  config["max_window_layers"] = 1;
  EXPECT_TEXT_IN("max_window_layers", file_error([&] { llama_config_from_json(config, "f"); }));
}

TEST(Config, NonsenseIsRefused) {
  const auto llama_with = [](const char* key, const json& value) {
    json config = small_llama();
    config[key] = value;
    return file_error([&] { llama_config_from_json(config, "f"); });
  };
  EXPECT_TEXT_IN("hidden_size", llama_with("hidden_size", 0));
  EXPECT_TEXT_IN("hidden_size", llama_with("hidden_size", "8"));
  EXPECT_TEXT_IN("hidden_size", llama_with("hidden_size", int64_t{1} << 30));
  EXPECT_TEXT_IN("does not divide", llama_with("num_attention_heads", 3));
  EXPECT_TEXT_IN("num_key_value_heads", llama_with("num_key_value_heads", 4));
  EXPECT_TEXT_IN("head_dim", llama_with("head_dim", 3));
  EXPECT_TEXT_IN("hidden_act", llama_with("hidden_act", "gelu"));
  EXPECT_TEXT_IN("rms_norm_eps", llama_with("rms_norm_eps", 0));
  EXPECT_TEXT_IN("attention_bias", llama_with("attention_bias", true));
  EXPECT_TEXT_IN("mlp_bias", llama_with("mlp_bias", true));
  EXPECT_TEXT_IN("rope_scaling", llama_with("rope_scaling", 7));
  EXPECT_TEXT_IN("eos_token_id", llama_with("eos_token_id", -1));
  EXPECT_TEXT_IN("\"bert\"", file_error([] { architecture_of({{"model_type", "bert"}}, "f"); }));
  EXPECT_TEXT_IN("object", file_error([] { architecture_of(json::array(), "f"); }));
  const auto gpt2_with = [](const char* key, const json& value) {
    return file_error([&] { gpt2_config_from_json({{"model_type", "gpt2"}, {key, value}}, "f"); });
  };
  EXPECT_TEXT_IN("n_head", gpt2_with("n_head", 7));
  EXPECT_TEXT_IN("swish", gpt2_with("activation_function", "swish"));
  EXPECT_TEXT_IN("scale_attn_weights", gpt2_with("scale_attn_weights", false));
  EXPECT_TEXT_IN("dropout", gpt2_with("resid_pdrop", 1.0));
}

TEST(Config, WhatHuggingFaceCannotExpressIsRefused) {
  LlamaConfig config = llama_config_from_json(small_llama(), "f");
  config.sliding_window = 4;
  EXPECT_THROW(to_json(config), Error);
  config.model_type = "mistral";
  EXPECT_NO_THROW(to_json(config));
  config.attention_bias = true;
  EXPECT_THROW(to_json(config), Error);
}

}  // namespace
}  // namespace chalk
