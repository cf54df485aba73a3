// Packing, the folder's configuration, reading and writing. The words' layout is drawn in gptq_format.h.

#include "models/io/gptq_format.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/io/packed_layers.h"

namespace chalk {
namespace {

// Bits i·b … i·b + b − 1 of a stream of words that lie `stride` apart.
uint32_t read_bits(const uint32_t* words, int64_t stride, int64_t i, int bits) {
  const int64_t first = i * bits / 32;
  const int shift = int(i * bits % 32);
  uint32_t value = words[first * stride] >> shift;
  if (shift + bits > 32) value |= words[(first + 1) * stride] << (32 - shift);
  return value & ((1u << bits) - 1);
}

// The same bits, which are still 0, set to value < 2^bits.
void write_bits(uint32_t* words, int64_t stride, int64_t i, int bits, uint32_t value) {
  const int64_t first = i * bits / 32;
  const int shift = int(i * bits % 32);
  words[first * stride] |= value << shift;
  if (shift + bits > 32) words[(first + 1) * stride] |= value >> (32 - shift);
}

int64_t groups_of(int64_t columns, int64_t group_size) {
  return group_size < 0 ? 1 : (columns + group_size - 1) / group_size;
}

}  // namespace

bool fits_gptq(int64_t rows, int64_t columns, int bits) {
  const bool known = bits == 2 || bits == 3 || bits == 4 || bits == 8;
  return known && rows * bits % 32 == 0 && columns * bits % 32 == 0;
}

bool has_zero_of_0(const QuantizedMatrix& matrix) {
  return std::count(matrix.zeros.begin(), matrix.zeros.end(), 0) > 0;
}

GptqTensors pack_gptq(const QuantizedMatrix& q, int version) {
  check(fits_gptq(q.rows, q.columns, q.bits), "GPTQ: ({}, {}) with {} bits does not fill whole 32-bit words",
        q.rows, q.columns, q.bits);
  const int64_t R = q.rows, C = q.columns, n = q.groups();
  const int64_t zero_words = R * q.bits / 32;
  const uint32_t mask = (1u << q.bits) - 1;
  GptqTensors packed;
  packed.qweight.resize(size_t(C * q.bits / 32 * R));
  for (int64_t o = 0; o < R; ++o) {
    for (int64_t i = 0; i < C; ++i)
      write_bits(packed.qweight.data() + o, R, i, q.bits, q.codes[size_t(o * C + i)]);
  }
  packed.qzeros.resize(size_t(n * zero_words));
  packed.scales.resize(size_t(n * R));
  for (int64_t g = 0; g < n; ++g) {
    for (int64_t o = 0; o < R; ++o) {
      const uint32_t zero = q.zeros[size_t(o * n + g)];
      write_bits(packed.qzeros.data() + g * zero_words, 1, o, q.bits,
                 version == 1 ? (zero - 1) & mask : zero);
      packed.scales[size_t(g * R + o)] = q.scales[size_t(o * n + g)];
    }
  }
  for (int64_t i = 0; i < C; ++i) packed.g_idx.push_back(int32_t(q.group(i)));
  return packed;
}

QuantizedMatrix unpack_gptq(const GptqTensors& packed, int64_t R, int64_t C, const GptqConfig& config) {
  const int bits = config.bits;
  check(fits_gptq(R, C, bits), "({}, {}) with {} bits does not fill whole 32-bit words", R, C, bits);
  const int64_t n = groups_of(C, config.group_size), zero_words = R * bits / 32;
  check(int64_t(packed.qweight.size()) == C * bits / 32 * R &&
            int64_t(packed.qzeros.size()) == n * zero_words && int64_t(packed.scales.size()) == n * R &&
            (packed.g_idx.empty() || int64_t(packed.g_idx.size()) == C),
        "sizes of the packed tensors do not belong to ({}, {}) in {} groups", R, C, n);
  QuantizedMatrix q;
  q.bits = bits, q.rows = R, q.columns = C;
  q.group_size = config.group_size < 0 ? C : std::min(config.group_size, C);
  q.codes.resize(size_t(R * C));
  q.scales.resize(size_t(R * n));
  q.zeros.resize(size_t(R * n));
  const uint32_t mask = (1u << bits) - 1;
  for (int64_t o = 0; o < R; ++o) {
    for (int64_t i = 0; i < C; ++i) {
      q.codes[size_t(o * C + i)] = uint8_t(read_bits(packed.qweight.data() + o, R, i, bits));
    }
    for (int64_t g = 0; g < n; ++g) {
      const uint32_t stored = read_bits(packed.qzeros.data() + g * zero_words, 1, o, bits);
      q.zeros[size_t(o * n + g)] = uint8_t(config.version == 1 ? (stored + 1) & mask : stored);
      q.scales[size_t(o * n + g)] = packed.scales[size_t(g * R + o)];
    }
  }
  bool in_order = true;
  for (int64_t i = 0; i < int64_t(packed.g_idx.size()); ++i) {
    in_order = in_order && packed.g_idx[size_t(i)] == i / q.group_size;
  }
  if (!in_order) q.group_of = packed.g_idx;
  validate(q);
  return q;
}

// ---- configuration ----

GptqConfig gptq_config_from_json(const nlohmann::json& json, const std::string& path) {
  check_object(json, path, "quantization_config");
  GptqConfig config;
  config.bits = int(get_int(json, path, "bits", 2, 8));
  if (!fits_gptq(32, 32, config.bits)) {
    throw FileError(path, "bits", fmt::format("{}: GPTQ files have 2, 3, 4 or 8", config.bits));
  }
  config.group_size = get_int(json, path, "group_size", -1, int64_t{1} << 31, -1);
  if (config.group_size == 0) throw FileError(path, "group_size", "is 0; -1 means one group");
  config.desc_act = get_bool(json, path, "desc_act", false);
  config.sym = get_bool(json, path, "sym", true);
  config.static_groups = get_bool(json, path, "static_groups", false);
  config.true_sequential = get_bool(json, path, "true_sequential", true);
  config.damp_percent = get_number(json, path, "damp_percent", 0, 1e9, 0.01);
  const std::string format = get_string(json, path, "checkpoint_format", "gptq");
  if (format != "gptq" && format != "gptq_v2") {
    throw FileError(path, "checkpoint_format", printable(format) + ": only gptq and gptq_v2 are read");
  }
  config.version = format == "gptq" ? 1 : 2;
  const std::string words = get_string(json, path, "pack_dtype", "int32");
  if (words != "int32") throw FileError(path, "pack_dtype", printable(words) + ": only int32 is read");
  return config;
}

std::optional<GptqConfig> find_gptq_config(const nlohmann::json& config, const std::string& folder) {
  const auto place = config.find("quantization_config");
  if (place != config.end() && !place->is_null()) {
    const std::string path = join_path(folder, "config.json");
    check_object(*place, path, "quantization_config");
    if (get_string(*place, path, "quant_method", "gptq") != "gptq") return {};
    return gptq_config_from_json(*place, path);
  }
  const std::string beside = join_path(folder, "quantize_config.json");
  if (!file_exists(beside)) return {};
  return gptq_config_from_json(read_json(beside), beside);
}

nlohmann::ordered_json to_json(const GptqConfig& config) {
  return {{"bits", config.bits},
          {"group_size", config.group_size},
          {"desc_act", config.desc_act},
          {"sym", config.sym},
          {"static_groups", config.static_groups},
          {"true_sequential", config.true_sequential},
          {"damp_percent", config.damp_percent},
          {"lm_head", false},
          {"quant_method", "gptq"},
          {"checkpoint_format", config.version == 1 ? "gptq" : "gptq_v2"},
          {"pack_dtype", "int32"}};
}

// ---- reading ----

namespace {

// The tensors stored under `stored` (a prefix), as a matrix of `shape` (out, in).
QuantizedMatrix read_layer(const Safetensors& file, const GptqConfig& config, const std::string& stored,
                           const std::vector<int64_t>& shape) {
  const int64_t R = shape[0], C = shape[1], n = groups_of(C, config.group_size);
  check(fits_gptq(R, C, config.bits), "a projection of shape ({}, {}) cannot be packed in {} bits", R, C,
        config.bits);
  GptqTensors packed;
  packed.qweight = words_of<uint32_t>(int32_tensor(file, stored + ".qweight", {C * config.bits / 32, R}));
  packed.qzeros = words_of<uint32_t>(int32_tensor(file, stored + ".qzeros", {n, R * config.bits / 32}));
  packed.scales = to_floats(float_tensor(file, stored + ".scales", {n, R}));
  if (file.tensors.contains(stored + ".g_idx"))
    packed.g_idx = words_of<int32_t>(int32_tensor(file, stored + ".g_idx", {C}));
  return unpack_gptq(packed, R, C, config);
}

}  // namespace

Safetensors read_gptq_safetensors(const std::string& folder) {
  const bool usual = file_exists(join_path(folder, "model.safetensors")) ||
                     file_exists(join_path(folder, "model.safetensors.index.json"));
  std::vector<std::string> named;  // as AutoGPTQ names them
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("gptq_model-") && name.ends_with(".safetensors"))
      named.push_back(entry.path().string());
  }
  return usual || named.size() != 1 ? read_safetensors_folder(folder) : read_safetensors(named[0]);
}

std::vector<QuantizedWeight> read_gptq_layers(const Safetensors& file, const GptqConfig& config,
                                              const Checkpoint& checkpoint) {
  return read_packed_layers(file, checkpoint,
                            [&](const std::string& stored, const std::vector<int64_t>& shape) {
                              return read_layer(file, config, stored, shape);
                            });
}

// ---- writing ----

namespace {

// The four tensors of one layer under the name `stored`.
void add_packed(std::vector<HfTensor>& tensors, const QuantizedMatrix& q, const std::string& stored,
                int version) {
  const int64_t R = q.rows, C = q.columns, n = q.groups();
  const auto packed = std::make_shared<const GptqTensors>(pack_gptq(q, version));
  tensors.push_back(
      {{stored + ".qweight", DType::I32, {C * q.bits / 32, R}}, [=] { return bytes_of(packed->qweight); }});
  tensors.push_back(
      {{stored + ".qzeros", DType::I32, {n, R * q.bits / 32}}, [=] { return bytes_of(packed->qzeros); }});
  tensors.push_back({{stored + ".scales", DType::F16, {n, R}},
                     [=] { return floats_to_bytes(packed->scales, DType::F16); }});
  tensors.push_back({{stored + ".g_idx", DType::I32, {C}}, [=] { return bytes_of(packed->g_idx); }});
}

// "layers.3.self_attn.q_proj" -> "self_attn.q_proj"; empty when the slot is in no block.
std::string module_in_block(const std::string& slot) {
  const size_t number = slot.find('.') + 1;
  if (number == 0 || number >= slot.size() || !std::isdigit(static_cast<unsigned char>(slot[number])))
    return "";
  return slot.substr(slot.find('.', number) + 1);
}

// The modules that are packed in every block; empty when all matrices of the blocks are.
std::vector<std::string> packed_modules(const Checkpoint& checkpoint, const std::set<std::string>& packed) {
  std::vector<std::string> in_all, in_none;
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    if (parameter.shape.size() != 2) continue;
    const std::string slot = parameter.name.substr(0, parameter.name.rfind('.')),
                      module = module_in_block(slot);
    if (module.empty()) continue;
    std::vector<std::string>& list = packed.contains(slot) ? in_all : in_none;
    if (std::find(list.begin(), list.end(), module) == list.end()) list.push_back(module);
  }
  for (const std::string& module : in_none) {
    if (std::find(in_all.begin(), in_all.end(), module) != in_all.end()) {
      throw UsageError("GPTQ folder: " + module +
                       " is packed in some blocks and not in others, which no reader expects");
    }
  }
  return in_none.empty() ? std::vector<std::string>{} : in_all;
}

void check_layer(const std::string& slot, const QuantizedMatrix& q, const ParameterShape& parameter,
                 const GptqConfig& config) {
  check(parameter.shape == std::vector<int64_t>{q.rows, q.columns} && q.bits == config.bits,
        "GPTQ folder: {} is ({}, {}) in {} bits, expected ({}) in {}", slot, q.rows, q.columns, q.bits,
        fmt::join(parameter.shape, ", "), config.bits);
  if (config.version == 1 && has_zero_of_0(q)) {
    throw UsageError("GPTQ folder: " + slot +
                     " has a zero point of 0, which version 1 cannot store; write version 2");
  }
}

nlohmann::ordered_json quantized_config(const Checkpoint& checkpoint, const GptqConfig& config,
                                        const std::set<std::string>& packed) {
  nlohmann::ordered_json quantization = to_json(config);
  quantization["lm_head"] = packed.contains("lm_head");
  const std::vector<std::string> modules = packed_modules(checkpoint, packed);
  for (const std::string& module : modules) {
    quantization["modules_in_block_to_quantize"].push_back(nlohmann::ordered_json::array({module}));
  }
  return quantization;
}

}  // namespace

void write_gptq_folder(const std::string& folder, const Checkpoint& checkpoint, const GptqConfig& config,
                       DType dtype) {
  std::map<std::string, const QuantizedMatrix*> layers;  // by the name of the array that they stand for
  for (const QuantizedWeight& layer : checkpoint.quantized) layers[layer.slot + ".weight"] = &layer.matrix;
  std::map<std::string, const NamedArray*> arrays;
  for (const NamedArray& weight : checkpoint.weights) arrays[weight.name] = &weight;

  std::vector<std::unique_ptr<NamedArray>> dequantized;  // layers that do not fit; the tensors refer to them
  std::vector<HfTensor> tensors;
  std::set<std::string> packed;  // slots
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    const auto layer = layers.find(parameter.name);
    const auto array = arrays.find(parameter.name);
    if (layer != layers.end()) {
      const QuantizedMatrix& q = *layer->second;
      const std::string slot = parameter.name.substr(0, parameter.name.rfind('.'));
      check_layer(slot, q, parameter, config);
      if (fits_gptq(q.rows, q.columns, q.bits)) {
        add_packed(tensors, q, slot == "lm_head" ? slot : hf_prefix(checkpoint.architecture) + slot,
                   config.version);
        packed.insert(slot);
        continue;
      }
      dequantized.push_back(
          std::make_unique<NamedArray>(NamedArray{parameter.name, parameter.shape, dequantize(q)}));
      tensors.push_back(hf_tensor(*dequantized.back(), checkpoint.architecture, dtype));
      continue;
    }
    check(array != arrays.end(), "GPTQ folder: no array named {}", parameter.name);
    tensors.push_back(hf_tensor(*array->second, checkpoint.architecture, dtype));
  }
  const nlohmann::ordered_json quantization = quantized_config(checkpoint, config, packed);
  nlohmann::ordered_json model_config = hf_config(checkpoint, dtype);
  model_config["quantization_config"] = quantization;
  write_hf_tensors(folder, tensors, model_config, HfWriteOptions{}.max_shard_bytes);
  write_text(join_path(folder, "quantize_config.json"), quantization.dump(2) + "\n");
}

}  // namespace chalk
