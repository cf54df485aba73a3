#include "models/io/llama2c.h"

#include <cmath>
#include <cstring>
#include <map>

#include "autograd/check.h"
#include "models/io/byte_reader.h"
#include "models/io/file.h"

namespace chalk {
namespace {

constexpr int64_t kHeaderBytes = 7 * 4;
constexpr uint32_t kLaterVersionsMagic = 0x616b3432;  // "ak42": versions 1 and 2

// The seven numbers of the header, in file order.
struct Header {
  int32_t dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
};

// One kind of tensor in file order: its layers follow each other.
struct Group {
  const char* name;  // in memory; {} stands for the layer
  int64_t layers;    // 1 for a tensor that is not per layer
  std::vector<int64_t> shape;
};

std::vector<Group> file_order(const LlamaConfig& config) {
  const int64_t C = config.hidden_size, F = config.intermediate_size, L = config.num_hidden_layers;
  const int64_t KD = config.num_key_value_heads * config.head_size();
  return {
      {"embed_tokens.weight", 1, {config.vocab_size, C}},
      {"layers.{}.input_layernorm.weight", L, {C}},
      {"layers.{}.self_attn.q_proj.weight", L, {C, C}},
      {"layers.{}.self_attn.k_proj.weight", L, {KD, C}},
      {"layers.{}.self_attn.v_proj.weight", L, {KD, C}},
      {"layers.{}.self_attn.o_proj.weight", L, {C, C}},
      {"layers.{}.post_attention_layernorm.weight", L, {C}},
      {"layers.{}.mlp.gate_proj.weight", L, {F, C}},
      {"layers.{}.mlp.down_proj.weight", L, {C, F}},
      {"layers.{}.mlp.up_proj.weight", L, {F, C}},
      {"norm.weight", 1, {C}},
  };
}

std::string layer_name(const Group& group, int64_t layer) {
  return fmt::format(fmt::runtime(group.name), layer);
}

int64_t rotary_floats(const LlamaConfig& config) {
  return config.max_position_embeddings * config.head_size();
}

// validate()'s bounds keep this below 2^63.
int64_t file_size(const LlamaConfig& config) {
  return kHeaderBytes + 4 * (parameter_count(config) + rotary_floats(config));
}

// Zero heads would divide by zero below; every other bound is validate()'s.
LlamaConfig config_of(const Header& header, const std::string& path) {
  const int32_t* fields = &header.dim;
  const char* names[7] = {"dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
  for (int i = 0; i < 7; ++i) {
    const bool may_be_negative = i == 5;
    if (fields[i] == INT32_MIN || fields[i] == 0 || (fields[i] < 0 && !may_be_negative))
      throw FileError(path, names[i], fmt::format("is {}, expected a positive number", fields[i]));
  }
  LlamaConfig config;
  config.hidden_size = header.dim, config.intermediate_size = header.hidden_dim;
  config.num_hidden_layers = header.n_layers, config.max_position_embeddings = header.seq_len;
  config.num_attention_heads = header.n_heads, config.num_key_value_heads = header.n_kv_heads;
  config.vocab_size = std::abs(header.vocab_size);
  config.tie_word_embeddings = header.vocab_size > 0;
  config.bos_token_id = 1, config.eos_token_id = 2;  // of every llama2.c tokenizer
  try {
    validate(config);
  } catch (const Error& problem) {
    throw FileError(path, "header", problem.what());
  }
  return config;
}

std::vector<float> take_floats(ByteReader& reader, int64_t count, const std::string& name) {
  const std::span<const uint8_t> bytes = reader.take(4 * static_cast<uint64_t>(count), name);
  std::vector<float> data(static_cast<size_t>(count));
  std::memcpy(data.data(), bytes.data(), bytes.size());
  return data;
}

int64_t heads_of(const std::string& name, const LlamaConfig& config) {
  if (name.ends_with("q_proj.weight")) return config.num_attention_heads;
  if (name.ends_with("k_proj.weight")) return config.num_key_value_heads;
  return 0;  // not rotated: its rows keep their order
}

// Sorts the arrays of the file into the order of parameter_shapes.
std::vector<NamedArray> in_parameter_order(std::map<std::string, NamedArray> arrays,
                                           const LlamaConfig& config) {
  std::vector<NamedArray> ordered;
  for (const ParameterShape& parameter : parameter_shapes(config))
    ordered.push_back(std::move(arrays.at(parameter.name)));
  return ordered;
}

}  // namespace

Checkpoint parse_llama2c(std::span<const uint8_t> bytes, const std::string& path) {
  ByteReader reader{bytes, path};
  Header header;
  std::memcpy(&header, reader.take(kHeaderBytes, "header").data(), kHeaderBytes);
  if (static_cast<uint32_t>(header.dim) == kLaterVersionsMagic)
    throw FileError(path, "header", "is llama2.c version 1 or 2; export the model again with --version 0");
  Checkpoint checkpoint;
  checkpoint.architecture = "llama";
  checkpoint.path = path;
  const LlamaConfig& config = checkpoint.llama = config_of(header, path);
  if (static_cast<int64_t>(bytes.size()) != file_size(config))
    throw FileError(
        path, "",
        fmt::format("has {} bytes, but a llama2.c file with this header has {} (dim {}, {} layers, "
                    "vocabulary {})",
                    bytes.size(), file_size(config), header.dim, header.n_layers, header.vocab_size));

  std::map<std::string, NamedArray> arrays;
  for (const Group& group : file_order(config)) {
    for (int64_t layer = 0; layer < group.layers; ++layer) {
      const std::string name = layer_name(group, layer);
      NamedArray weight{name, group.shape, take_floats(reader, parameter_count({{name, group.shape}}), name)};
      if (const int64_t heads = heads_of(name, config); heads > 0)
        weight.data = interleaved_to_half_split(weight.data, heads, config.head_size(), config.hidden_size);
      arrays[name] = std::move(weight);
    }
  }
  reader.take(4 * static_cast<uint64_t>(rotary_floats(config)), "rotary tables");
  if (!config.tie_word_embeddings) {
    const std::vector<int64_t> shape = {config.vocab_size, config.hidden_size};
    arrays["lm_head.weight"] = {"lm_head.weight", shape,
                                take_floats(reader, shape[0] * shape[1], "classifier")};
  }
  checkpoint.weights = in_parameter_order(std::move(arrays), config);
  return checkpoint;
}

Checkpoint read_llama2c(const std::string& path) {
  const MappedFile file(path);
  return parse_llama2c(file.bytes(), path);
}

namespace {

void check_expressible(const Checkpoint& checkpoint) {
  check(checkpoint.architecture == "llama", "llama2.c: the format holds LLaMA models only, got {}",
        checkpoint.architecture);
  const LlamaConfig& config = checkpoint.llama;
  check(config.rope_theta == 10000.0 && config.rope_scaling.type == "none",
        "llama2.c: the format means rope_theta 10000 without scaling, got {} and {}", config.rope_theta,
        config.rope_scaling.type);
  check(config.rms_norm_eps == 1e-5, "llama2.c: the format means rms_norm_eps 1e-5, got {}",
        config.rms_norm_eps);
  check(!config.attention_bias && config.sliding_window == 0,
        "llama2.c: the format has no biases and no sliding window");
  check(config.head_size() * config.num_attention_heads == config.hidden_size,
        "llama2.c: the format means head_dim = hidden_size / heads, got {} and {} / {}", config.head_size(),
        config.hidden_size, config.num_attention_heads);
  check(!config.rope_interleaved,
        "llama2.c: weights must be in half-split rotary order here (they are permuted on writing)");
}

// cos then sin of position · theta^(−2i/D), each (positions, D/2). Readers ignore them; the layout has room
// for them.
void write_rotary_tables(AtomicFile& file, const LlamaConfig& config) {
  const int64_t half = config.head_size() / 2;
  for (const bool cosine : {true, false}) {
    for (int64_t position = 0; position < config.max_position_embeddings; ++position) {
      for (int64_t i = 0; i < half; ++i) {
        const double angle = position * std::pow(config.rope_theta, -static_cast<double>(i) / half);
        const float value = static_cast<float>(cosine ? std::cos(angle) : std::sin(angle));
        file.write(&value, 4);
      }
    }
  }
}

}  // namespace

void write_llama2c(const std::string& path, const Checkpoint& checkpoint) {
  check_weights(checkpoint);
  check_expressible(checkpoint);
  const LlamaConfig& config = checkpoint.llama;
  const auto narrow = [](int64_t size) {
    return static_cast<int32_t>(size);
  };  // validate() bounds every size
  const int32_t vocabulary = narrow(config.vocab_size);
  const Header header = {narrow(config.hidden_size),
                         narrow(config.intermediate_size),
                         narrow(config.num_hidden_layers),
                         narrow(config.num_attention_heads),
                         narrow(config.num_key_value_heads),
                         config.tie_word_embeddings ? vocabulary : -vocabulary,
                         narrow(config.max_position_embeddings)};
  AtomicFile file(path);
  file.write(&header, kHeaderBytes);
  for (const Group& group : file_order(config)) {
    for (int64_t layer = 0; layer < group.layers; ++layer) {
      const NamedArray& weight = checkpoint.at(layer_name(group, layer));
      const int64_t heads = heads_of(weight.name, config);
      if (heads == 0) {
        file.write(weight.data.data(), 4 * weight.data.size());
        continue;
      }
      const auto rows = half_split_to_interleaved(weight.data, heads, config.head_size(), config.hidden_size);
      file.write(rows.data(), 4 * rows.size());
    }
  }
  write_rotary_tables(file, config);
  if (!config.tie_word_embeddings) {
    const NamedArray& head = checkpoint.at("lm_head.weight");
    file.write(head.data.data(), 4 * head.data.size());
  }
  file.commit();
}

}  // namespace chalk
