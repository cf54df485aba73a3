// The configuration, reading and writing of AWQ folders.

#include "models/io/awq_folder.h"

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/check.h"
#include "models/io/awq_format.h"
#include "models/io/file.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/io/packed_layers.h"

namespace chalk {

// ---- configuration ----

std::optional<AwqConfig> find_awq_config(const nlohmann::json& config, const std::string& folder) {
  const auto place = config.find("quantization_config");
  if (place == config.end() || place->is_null()) return {};
  const std::string path = join_path(folder, "config.json");
  check_object(*place, path, "quantization_config");
  if (get_string(*place, path, "quant_method", "") != "awq") return {};
  if (get_int(*place, path, "bits", 1, 64) != 4) throw FileError(path, "bits", "AWQ files have 4");
  std::string version = get_string(*place, path, "version", get_string(*place, path, "format", "gemm"));
  for (char& c : version) c = char(std::tolower(static_cast<unsigned char>(c)));
  if (version != "gemm")
    throw FileError(path, "version", printable(version) + ": only AutoAWQ's gemm layout is read");
  if (!get_bool(*place, path, "zero_point", true))
    throw FileError(path, "zero_point", "is false: symmetric AWQ weights are not read");
  AwqConfig awq{.group_size = get_int(*place, path, "group_size", -1, int64_t{1} << 31, 128)};
  if (awq.group_size == 0) throw FileError(path, "group_size", "is 0; -1 means whole rows");
  return awq;
}

nlohmann::ordered_json to_json(const AwqConfig& config) {
  nlohmann::ordered_json json = {{"quant_method", "awq"},
                                 {"zero_point", true},
                                 {"group_size", config.group_size},
                                 {"bits", 4},
                                 {"version", "gemm"},
                                 {"modules_to_not_convert", nullptr}};
  if (!config.modules_to_not_convert.empty()) json["modules_to_not_convert"] = config.modules_to_not_convert;
  return json;
}

// ---- reading ----

namespace {

// GPT-2's c_proj reads what the activation gave: "h.3.mlp.act.scales" belongs to slot "h.3.mlp.c_proj".
const std::string activation_scales = ".mlp.act.scales", scaled_slot = ".mlp.c_proj";

QuantizedMatrix read_layer(const Safetensors& file, const AwqConfig& config, const std::string& stored,
                           const std::vector<int64_t>& shape) {
  AwqGemm packed{.rows = shape[0],
                 .columns = shape[1],
                 .group_size = config.group_size < 0 ? shape[1] : config.group_size,
                 .qweight = {},
                 .qzeros = {},
                 .scales = {}};
  check(packed.columns % packed.group_size == 0, "groups of {} do not divide {} inputs", packed.group_size,
        packed.columns);
  check(packed.rows % 8 == 0, "{} outputs are no multiple of 8", packed.rows);
  const int64_t groups = packed.columns / packed.group_size, words = packed.rows / 8;
  packed.qweight = words_of<int32_t>(int32_tensor(file, stored + ".qweight", {packed.columns, words}));
  packed.qzeros = words_of<int32_t>(int32_tensor(file, stored + ".qzeros", {groups, words}));
  const ArrayView& scales = float_tensor(file, stored + ".scales", {groups, packed.rows});
  if (scales.dtype == DType::F16) {
    packed.scales = words_of<uint16_t>(scales);
  } else {  // some writers keep the model's own type
    for (float scale : to_floats(scales)) packed.scales.push_back(float_to_half(scale));
  }
  return unpack_awq_gemm(packed);
}

void read_activation_scales(const Safetensors& file, Checkpoint& checkpoint) {
  if (checkpoint.architecture != "gpt2") return;
  const std::string prefix = hf_prefix(checkpoint.architecture);
  for (int64_t i = 0; i < checkpoint.gpt2.n_layer; ++i) {
    const std::string block = "h." + std::to_string(i), name = prefix + block + activation_scales;
    if (!file.tensors.contains(name)) continue;
    std::vector<float> scales = to_floats(float_tensor(file, name, {checkpoint.gpt2.mlp_width()}));
    for (float s : scales) {
      if (!(s > 0 && std::isfinite(s) && std::isfinite(1 / s)))
        throw FileError(file.path, "tensor " + name,
                        fmt::format("holds {}, which nothing can be divided by", s));
    }
    checkpoint.input_scales[block + scaled_slot] = std::move(scales);
  }
}

}  // namespace

void read_awq_layers(const Safetensors& file, const AwqConfig& config, Checkpoint& checkpoint) {
  checkpoint.quantized =
      read_packed_layers(file, checkpoint, [&](const std::string& stored, const std::vector<int64_t>& shape) {
        return read_layer(file, config, stored, shape);
      });
  read_activation_scales(file, checkpoint);
}

// ---- writing ----

namespace {

void add_packed(std::vector<HfTensor>& tensors, const QuantizedMatrix& q, const std::string& stored) {
  const auto packed = std::make_shared<const AwqGemm>(pack_awq_gemm(q));
  const int64_t groups = q.groups(), words = q.rows / 8;
  tensors.push_back(
      {{stored + ".qweight", DType::I32, {q.columns, words}}, [=] { return bytes_of(packed->qweight); }});
  tensors.push_back(
      {{stored + ".qzeros", DType::I32, {groups, words}}, [=] { return bytes_of(packed->qzeros); }});
  tensors.push_back(
      {{stored + ".scales", DType::F16, {groups, q.rows}}, [=] { return bytes_of(packed->scales); }});
}

// One number for all layers that will be packed: a file has no room for more.
int64_t shared_group_size(const std::vector<QuantizedWeight>& layers) {
  std::set<int64_t> sizes;
  bool whole_rows = true;
  for (const QuantizedWeight& layer : layers) {
    if (!awq_gemm_obstacle(layer.matrix).empty()) continue;
    sizes.insert(layer.matrix.group_size);
    whole_rows = whole_rows && layer.matrix.group_size == layer.matrix.columns;
  }
  if (sizes.empty()) {
    throw UsageError("AWQ folder: no layer fits the layout; the first, " +
                     (layers.empty() ? std::string("of none")
                                     : layers[0].slot + ": " + awq_gemm_obstacle(layers[0].matrix)));
  }
  if (sizes.size() == 1) return *sizes.begin();
  if (whole_rows) return -1;
  throw UsageError(
      fmt::format("AWQ folder: the layers have groups of {} inputs, the file has room for one size",
                  fmt::join(sizes, ", ")));
}

std::string stored_name(const std::string& slot, const std::string& architecture) {
  return slot == "lm_head" ? slot : hf_prefix(architecture) + slot;
}

}  // namespace

void write_awq_folder(const std::string& folder, const Checkpoint& checkpoint, DType dtype) {
  std::map<std::string, const QuantizedMatrix*> layers;  // by the name of the array that they stand for
  for (const QuantizedWeight& layer : checkpoint.quantized) layers[layer.slot + ".weight"] = &layer.matrix;
  std::map<std::string, const NamedArray*> arrays;
  for (const NamedArray& weight : checkpoint.weights) arrays[weight.name] = &weight;
  AwqConfig config{.group_size = shared_group_size(checkpoint.quantized)};

  std::vector<std::unique_ptr<NamedArray>> made_here;  // the tensors refer to them
  std::vector<HfTensor> tensors;
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    const auto layer = layers.find(parameter.name);
    const auto array = arrays.find(parameter.name);
    if (layer == layers.end()) {
      check(array != arrays.end(), "AWQ folder: no array named {}", parameter.name);
      tensors.push_back(hf_tensor(*array->second, checkpoint.architecture, dtype));
      continue;
    }
    const QuantizedMatrix& q = *layer->second;
    check(parameter.shape == std::vector<int64_t>{q.rows, q.columns},
          "AWQ folder: {} is ({}, {}), expected ({})", parameter.name, q.rows, q.columns,
          fmt::join(parameter.shape, ", "));
    const std::string stored =
        stored_name(parameter.name.substr(0, parameter.name.rfind('.')), checkpoint.architecture);
    if (awq_gemm_obstacle(q).empty()) {
      add_packed(tensors, q, stored);
      continue;
    }
    config.modules_to_not_convert.push_back(stored);
    made_here.push_back(
        std::make_unique<NamedArray>(NamedArray{parameter.name, parameter.shape, dequantize(q)}));
    tensors.push_back(hf_tensor(*made_here.back(), checkpoint.architecture, dtype));
  }
  for (const auto& [slot, scales] : checkpoint.input_scales) {
    check(slot.ends_with(scaled_slot), "AWQ folder: there is no name for the input scales of {}", slot);
    const std::string name = slot.substr(0, slot.size() - scaled_slot.size()) + activation_scales;
    made_here.push_back(std::make_unique<NamedArray>(NamedArray{name, {int64_t(scales.size())}, scales}));
    tensors.push_back(hf_tensor(*made_here.back(), checkpoint.architecture, DType::F32));
  }
  nlohmann::ordered_json model_config = hf_config(checkpoint, dtype);
  model_config["quantization_config"] = to_json(config);
  write_hf_tensors(folder, tensors, model_config, HfWriteOptions{}.max_shard_bytes);
}

}  // namespace chalk
