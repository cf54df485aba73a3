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

}  // namespace chalk
