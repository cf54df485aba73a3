// tokenizer.ggml.* keys to the plain vectors that models/text works on.

#include "models/io/gguf_tokenizer.h"

#include <limits>

#include "models/text/gguf_tokenizer.h"

namespace chalk {
namespace {

std::optional<int64_t> optional_id(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.find(key)) return {};
  return metadata.get_int(key, 0, std::numeric_limits<int32_t>::max());
}

std::optional<bool> optional_flag(const GgufMetadata& metadata, const std::string& key) {
  if (!metadata.find(key)) return {};
  return metadata.get_bool(key, false);
}

}  // namespace

std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufMetadata& metadata) {
  const std::string prefix = "tokenizer.ggml.";
  GgufTokenizerData data;
  data.model = metadata.get_string(prefix + "model");
  data.pre = metadata.get_string(prefix + "pre", "");
  data.tokens = metadata.get_strings(prefix + "tokens");
  if (metadata.find(prefix + "scores")) {
    for (double score : metadata.get_numbers(prefix + "scores")) data.scores.push_back(float(score));
  }
  if (metadata.find(prefix + "token_type")) {
    for (int64_t type : metadata.get_ints(prefix + "token_type")) data.token_types.push_back(int32_t(type));
  }
  if (metadata.find(prefix + "merges")) data.merges = metadata.get_strings(prefix + "merges");
  data.bos_token_id = optional_id(metadata, prefix + "bos_token_id");
  data.eos_token_id = optional_id(metadata, prefix + "eos_token_id");
  data.padding_token_id = optional_id(metadata, prefix + "padding_token_id");
  data.unknown_token_id = optional_id(metadata, prefix + "unknown_token_id");
  data.add_bos_token = optional_flag(metadata, prefix + "add_bos_token");
  data.add_space_prefix = optional_flag(metadata, prefix + "add_space_prefix");
  return make_gguf_tokenizer(data, metadata.path);
}

GgufMetadata tokenizer_to_gguf(const Tokenizer& tokenizer) {
  const GgufTokenizerData data = gguf_tokenizer_data(tokenizer);
  const std::string prefix = "tokenizer.ggml.";
  GgufMetadata metadata;
  const auto set_id = [&](const char* key, const std::optional<int64_t>& id) {
    if (id) metadata.set(prefix + key, GgufValue::u32(uint32_t(*id)));
  };
  metadata.set(prefix + "model", GgufValue::text(data.model));
  // llama.cpp warns when a file does not say how words are cut; "default" is its word for SentencePiece.
  metadata.set(prefix + "pre", GgufValue::text(data.pre.empty() ? "default" : data.pre));
  metadata.set(prefix + "tokens", GgufValue::texts(data.tokens));
  if (!data.scores.empty())
    metadata.set(prefix + "scores", GgufValue::f32s({data.scores.begin(), data.scores.end()}));
  metadata.set(prefix + "token_type", GgufValue::i32s({data.token_types.begin(), data.token_types.end()}));
  if (data.model == "gpt2") metadata.set(prefix + "merges", GgufValue::texts(data.merges));
  set_id("bos_token_id", data.bos_token_id);
  set_id("eos_token_id", data.eos_token_id);
  set_id("padding_token_id", data.padding_token_id);
  if (data.add_bos_token) metadata.set(prefix + "add_bos_token", GgufValue::boolean(*data.add_bos_token));
  if (data.add_space_prefix) metadata.set(prefix + "add_space_prefix", GgufValue::boolean(*data.add_space_prefix));
  return metadata;
}

}  // namespace chalk
