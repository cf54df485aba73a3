#include "models/io/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

#include "autograd/check.h"
#include "models/io/gguf_names.h"
#include "models/io/gguf_rope.h"

namespace chalk {
namespace {

constexpr int64_t kLargest = (int64_t{1} << 31) - 1;

std::optional<int64_t> token_id(const GgufMetadata& metadata, const std::string& key) {
  if (metadata.find(key) == nullptr) return {};
  return metadata.get_int(key, 0, kLargest);
}

// Each block has several tensors, so a claim of more blocks than tensors is a lie that would cost time to
// disprove.
int64_t most_blocks(const Gguf& file) {
  return static_cast<int64_t>(file.tensors.size());
}

// Rows of the token embedding: the vocabulary size, which not every file repeats in its metadata.
int64_t vocabulary_of(const Gguf& file) {
  const GgufTensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    throw FileError(file.path, "token_embd.weight",
                    "is missing or no matrix; a vocabulary-only GGUF is no model");
  return embedding->shape[0];
}

// No output.weight, or a second copy of the embedding under that name, as converters write it for GPT-2 and
// some others.
bool has_tied_head(const Gguf& file) {
  const GgufTensor* embedding = file.find("token_embd.weight");
  const GgufTensor* output = file.find("output.weight");
  return output == nullptr ||
         (output->type == embedding->type && output->shape == embedding->shape &&
          std::equal(output->bytes.begin(), output->bytes.end(), embedding->bytes.begin()));
}

GPT2Config read_gpt2_config(const Gguf& file) {
  const GgufMetadata& metadata = file.metadata;
  GPT2Config config;
  config.vocab_size = vocabulary_of(file);
  config.n_positions = metadata.get_int("gpt2.context_length", 1, kLargest);
  config.n_embd = metadata.get_int("gpt2.embedding_length", 1, kLargest);
  config.n_layer = metadata.get_int("gpt2.block_count", 1, most_blocks(file));
  config.n_head = metadata.get_int("gpt2.attention.head_count", 1, kLargest);
  const int64_t inner = metadata.get_int("gpt2.feed_forward_length", 1, kLargest, 4 * config.n_embd);
  config.n_inner = inner == 4 * config.n_embd ? 0 : inner;
  config.layer_norm_epsilon = metadata.get_number("gpt2.attention.layer_norm_epsilon", 0, 1);
  config.tie_word_embeddings = has_tied_head(file);
  return config;
}

void read_llama_rope(const Gguf& file, const std::string& prefix, LlamaConfig& config) {
  const GgufMetadata& metadata = file.metadata;
  config.rope_theta = metadata.get_number(prefix + "rope.freq_base", 1, 1e15, 10000.0);
  const int64_t rotated = metadata.get_int(prefix + "rope.dimension_count", 1, kLargest, config.head_size());
  if (rotated != config.head_size())
    throw FileError(file.path, prefix + "rope.dimension_count",
                    fmt::format("is {}, expected the whole head of {}", rotated, config.head_size()));
  const std::string type = metadata.get_string(prefix + "rope.scaling.type", "none");
  if (type == "linear")
    config.rope_scaling = {"linear", metadata.get_number(prefix + "rope.scaling.factor", 1, 1e6)};
  else if (type != "none")
    throw FileError(file.path, prefix + "rope.scaling.type",
                    "\"" + printable(type) + "\" is not implemented, expected linear");
  const GgufTensor* divisors = file.find("rope_freqs.weight");
  if (divisors != nullptr) config.rope_scaling = llama3_scaling(*divisors, config, file.path);
}

LlamaConfig read_llama_config(const Gguf& file, const std::string& architecture) {
  const GgufMetadata& metadata = file.metadata;
  const std::string prefix = architecture + ".";
  LlamaConfig config;
  config.vocab_size = vocabulary_of(file);
  config.max_position_embeddings = metadata.get_int(prefix + "context_length", 1, kLargest);
  config.hidden_size = metadata.get_int(prefix + "embedding_length", 1, kLargest);
  config.num_hidden_layers = metadata.get_int(prefix + "block_count", 1, most_blocks(file));
  config.intermediate_size = metadata.get_int(prefix + "feed_forward_length", 1, kLargest);
  config.num_attention_heads = metadata.get_int(prefix + "attention.head_count", 1, kLargest);
  config.num_key_value_heads =
      metadata.get_int(prefix + "attention.head_count_kv", 1, kLargest, config.num_attention_heads);
  config.head_dim = metadata.get_int(prefix + "attention.key_length", 1, kLargest, 0);
  if (config.head_dim != metadata.get_int(prefix + "attention.value_length", 1, kLargest, config.head_dim))
    throw FileError(file.path, prefix + "attention.value_length", "differs from the key length");
  config.rms_norm_eps = metadata.get_number(prefix + "attention.layer_norm_rms_epsilon", 0, 1);
  config.sliding_window = metadata.get_int(prefix + "attention.sliding_window", 0, kLargest, 0);
  config.tie_word_embeddings = has_tied_head(file);
  config.attention_bias = architecture == "qwen2";
  config.model_type = architecture == "qwen2" ? "qwen2" : config.sliding_window > 0 ? "mistral" : "llama";
  read_llama_rope(file, prefix, config);
  return config;
}

// Rows per rotary head where the order differs from Hugging Face's; 0 elsewhere. Only the llama architecture
// interleaves; qwen2 and its kin keep the half-split order.
int64_t interleaved_heads(const std::string& name, const LlamaConfig& config) {
  if (config.model_type == "qwen2") return 0;
  if (name.ends_with("q_proj.weight")) return config.num_attention_heads;
  if (name.ends_with("k_proj.weight")) return config.num_key_value_heads;
  return 0;
}

// Tensors that carry no parameter: Llama-3's rotary divisors, and the second copy of a tied embedding.
bool is_extra(const std::string& name, const Checkpoint& checkpoint) {
  const bool gpt2 = checkpoint.architecture == "gpt2";
  const bool tied = gpt2 ? checkpoint.gpt2.tie_word_embeddings : checkpoint.llama.tie_word_embeddings;
  return (name == "output.weight" && tied) || (name == "rope_freqs.weight" && !gpt2);
}

void read_weights(const Gguf& file, Checkpoint& checkpoint) {
  std::vector<ParameterShape> expected, found;
  const std::vector<ParameterShape> wanted = parameter_shapes(checkpoint);
  for (const ParameterShape& parameter : wanted)
    expected.push_back({gguf_name(parameter.name), parameter.shape});
  std::map<std::string, const GgufTensor*> tensors;
  for (const GgufTensor& tensor : file.tensors) {
    if (is_extra(tensor.name, checkpoint)) continue;
    found.push_back({tensor.name, tensor.shape});
    tensors[tensor.name] = &tensor;
  }
  check_parameters(expected, found, file.path);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const GgufTensor& tensor = *tensors.at(expected[i].name);
    if (tensor.type >= GgmlType::I8 && tensor.type <= GgmlType::F64)
      throw FileError(file.path, tensor.name,
                      fmt::format("has type {}, expected floats", ggml_type_info(tensor.type).name));
    NamedArray weight{wanted[i].name, wanted[i].shape, to_floats(tensor)};
    const bool llama = checkpoint.architecture == "llama";
    if (const int64_t heads = llama ? interleaved_heads(weight.name, checkpoint.llama) : 0; heads > 0)
      weight.data =
          interleaved_to_half_split(weight.data, heads, checkpoint.llama.head_size(), weight.shape[1]);
    checkpoint.weights.push_back(std::move(weight));
  }
}

}  // namespace

Checkpoint gguf_to_checkpoint(const Gguf& file) {
  Checkpoint checkpoint;
  checkpoint.path = file.path;
  const std::string architecture = file.metadata.get_string("general.architecture");
  const auto bos = token_id(file.metadata, "tokenizer.ggml.bos_token_id");
  const auto eos = token_id(file.metadata, "tokenizer.ggml.eos_token_id");
  try {
    if (architecture == "gpt2") {
      checkpoint.architecture = "gpt2";
      checkpoint.gpt2 = read_gpt2_config(file);
      checkpoint.gpt2.bos_token_id = bos, checkpoint.gpt2.eos_token_id = eos;
      validate(checkpoint.gpt2);
    } else if (architecture == "llama" || architecture == "qwen2") {
      checkpoint.architecture = "llama";
      checkpoint.llama = read_llama_config(file, architecture);
      checkpoint.llama.bos_token_id = bos, checkpoint.llama.eos_token_id = eos;
      validate(checkpoint.llama);
    } else {
      throw FileError(file.path, "general.architecture",
                      "is \"" + printable(architecture) + "\", expected llama, qwen2 or gpt2");
    }
  } catch (const FileError&) {
    throw;
  } catch (const Error& problem) {
    throw FileError(file.path, "metadata", problem.what());
  }
  read_weights(file, checkpoint);
  checkpoint.gguf_metadata = file.metadata;
  return checkpoint;
}

Checkpoint read_gguf_model(const std::string& path) {
  return gguf_to_checkpoint(read_gguf(path));
}

namespace {

// general.file_type: what most of the matrices are.
uint32_t file_type(GgmlType type) {
  switch (type) {
    case GgmlType::F32:
      return 0;
    case GgmlType::F16:
      return 1;
    case GgmlType::Q4_0:
      return 2;
    case GgmlType::Q4_1:
      return 3;
    case GgmlType::Q8_0:
      return 7;
    case GgmlType::Q5_0:
      return 8;
    case GgmlType::Q5_1:
      return 9;
    case GgmlType::BF16:
      return 32;
    default:
      throw Error(fmt::format("GGUF: matrices cannot be written as {}", ggml_type_info(type).name));
  }
}

GgufValue u32(int64_t size) {
  return GgufValue::u32(static_cast<uint32_t>(size));
}  // validate() bounds every size
GgufValue f32(double number) {
  return GgufValue::f32(static_cast<float>(number));
}

void set_gpt2(GgufMetadata& metadata, const GPT2Config& config) {
  check(config.activation == "gelu_new", "GGUF: a gpt2 file means the tanh GELU (gelu_new), got {}",
        config.activation);
  metadata.set("gpt2.context_length", u32(config.n_positions));
  metadata.set("gpt2.embedding_length", u32(config.n_embd));
  metadata.set("gpt2.feed_forward_length", u32(config.mlp_width()));
  metadata.set("gpt2.block_count", u32(config.n_layer));
  metadata.set("gpt2.attention.head_count", u32(config.n_head));
  metadata.set("gpt2.attention.layer_norm_epsilon", f32(config.layer_norm_epsilon));
}

void set_llama(GgufMetadata& metadata, const LlamaConfig& config) {
  const std::string prefix = config.model_type == "qwen2" ? "qwen2." : "llama.";
  check(config.attention_bias == (config.model_type == "qwen2"),
        "GGUF: qwen2 means biases on q, k and v, llama none; got {} with {}", config.model_type,
        config.attention_bias);
  check(!config.rope_interleaved,
        "GGUF: weights must be in half-split rotary order here (they are permuted on writing)");
  metadata.set(prefix + "vocab_size", u32(config.vocab_size));
  metadata.set(prefix + "context_length", u32(config.max_position_embeddings));
  metadata.set(prefix + "embedding_length", u32(config.hidden_size));
  metadata.set(prefix + "block_count", u32(config.num_hidden_layers));
  metadata.set(prefix + "feed_forward_length", u32(config.intermediate_size));
  metadata.set(prefix + "attention.head_count", u32(config.num_attention_heads));
  metadata.set(prefix + "attention.head_count_kv", u32(config.num_key_value_heads));
  if (config.head_size() * config.num_attention_heads != config.hidden_size) {
    metadata.set(prefix + "attention.key_length", u32(config.head_size()));
    metadata.set(prefix + "attention.value_length", u32(config.head_size()));
  }
  metadata.set(prefix + "attention.layer_norm_rms_epsilon", f32(config.rms_norm_eps));
  metadata.set(prefix + "rope.dimension_count", u32(config.head_size()));
  metadata.set(prefix + "rope.freq_base", f32(config.rope_theta));
  if (config.sliding_window > 0)
    metadata.set(prefix + "attention.sliding_window", u32(config.sliding_window));
  if (config.rope_scaling.type == "linear") {
    metadata.set(prefix + "rope.scaling.type", GgufValue::text("linear"));
    metadata.set(prefix + "rope.scaling.factor", f32(config.rope_scaling.factor));
  }
}

GgufMetadata metadata_for(const Checkpoint& checkpoint, GgmlType matrix_type, const GgufMetadata& tokenizer) {
  const bool gpt2 = checkpoint.architecture == "gpt2";
  GgufMetadata metadata;
  metadata.set("general.architecture", GgufValue::text(gpt2                                     ? "gpt2"
                                                       : checkpoint.llama.model_type == "qwen2" ? "qwen2"
                                                                                                : "llama"));
  metadata.set("general.file_type", GgufValue::u32(file_type(matrix_type)));
  if (ggml_type_info(matrix_type).block_size > 1)
    metadata.set("general.quantization_version", GgufValue::u32(2));
  if (gpt2)
    set_gpt2(metadata, checkpoint.gpt2);
  else
    set_llama(metadata, checkpoint.llama);
  for (const auto& [key, value] : tokenizer.entries)
    if (key.starts_with("tokenizer.")) metadata.set(key, value);
  const auto& bos = gpt2 ? checkpoint.gpt2.bos_token_id : checkpoint.llama.bos_token_id;
  const auto& eos = gpt2 ? checkpoint.gpt2.eos_token_id : checkpoint.llama.eos_token_id;
  if (bos) metadata.set("tokenizer.ggml.bos_token_id", u32(*bos));
  if (eos) metadata.set("tokenizer.ggml.eos_token_id", u32(*eos));
  return metadata;
}

// Vectors and the position table stay F32, as in llama.cpp's converter; rows that do not fill blocks become
// F16.
GgmlType type_of(const NamedArray& weight, GgmlType matrix_type) {
  if (weight.shape.size() < 2 || weight.name == "wpe.weight") return GgmlType::F32;
  return weight.shape.back() % ggml_type_info(matrix_type).block_size == 0 ? matrix_type : GgmlType::F16;
}

void check_finite(const NamedArray& weight, GgmlType type) {
  if (ggml_type_info(type).block_size == 1) return;
  const bool finite =
      std::all_of(weight.data.begin(), weight.data.end(), [](float x) { return std::isfinite(x); });
  check(finite, "GGUF: {} holds NaN or infinity, which {} cannot store", weight.name,
        ggml_type_info(type).name);
}

}  // namespace

void write_gguf_model(const std::string& path, const Checkpoint& checkpoint, GgmlType matrix_type,
                      const GgufMetadata& tokenizer) {
  check_weights(checkpoint);
  const GgufMetadata metadata = metadata_for(checkpoint, matrix_type, tokenizer);
  const bool llama = checkpoint.architecture == "llama";
  std::vector<GgufSource> tensors;
  std::vector<std::vector<float>> permuted;  // owns the rows whose order changes
  permuted.reserve(checkpoint.weights.size());
  for (const NamedArray& weight : checkpoint.weights) {
    const GgmlType type = type_of(weight, matrix_type);
    check_finite(weight, type);
    std::span<const float> data = weight.data;
    if (const int64_t heads = llama ? interleaved_heads(weight.name, checkpoint.llama) : 0; heads > 0)
      data = permuted.emplace_back(
          half_split_to_interleaved(weight.data, heads, checkpoint.llama.head_size(), weight.shape[1]));
    tensors.push_back({gguf_name(weight.name), weight.shape, type, data});
    if (!llama && checkpoint.gpt2.tie_word_embeddings && weight.name == "wte.weight")
      tensors.push_back(
          {"output.weight", weight.shape, type, data});  // older llama.cpp has no tied head for gpt2
  }
  std::vector<float> divisors;
  if (llama && checkpoint.llama.rope_scaling.type == "llama3") {
    check_llama3_scaling(checkpoint.llama.rope_scaling);
    divisors = llama3_divisors(checkpoint.llama);
    tensors.push_back(
        {"rope_freqs.weight", {static_cast<int64_t>(divisors.size())}, GgmlType::F32, divisors});
  }
  write_gguf(path, metadata, tensors);
}

void write_gguf_model(const std::string& path, const Checkpoint& checkpoint, GgmlType matrix_type) {
  write_gguf_model(path, checkpoint, matrix_type, checkpoint.gguf_metadata);
}

}  // namespace chalk
