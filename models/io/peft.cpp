// adapter_config.json and adapter_model.safetensors, both ways.
#include "models/io/peft.h"

#include <map>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/io/safetensors.h"

namespace chalk {
namespace {

const std::string kNamePrefix = "base_model.model.";

// Keys of adapter_config.json that change what the adapter computes when they are anything but "off".
const char* const kUnsupported[] = {
    "use_dora",      "lora_bias",         "modules_to_save",   "rank_pattern",
    "alpha_pattern", "target_parameters", "layer_replication", "trainable_token_indices",
    "use_qalora",    "use_bdlora",        "velora_config",     "alora_invocation_tokens",
    "arrow_config",  "kasa_config",       "monteclora_config"};

bool is_off(const nlohmann::json& value) {
  return value.is_null() || value == false || ((value.is_object() || value.is_array()) && value.empty());
}

LoraOptions options_from_json(const nlohmann::json& config, const std::string& path,
                              std::string& base_model) {
  check_object(config, path, "");
  const std::string type = get_string(config, path, "peft_type");
  if (type != "LORA") throw FileError(path, "peft_type", "is " + printable(type) + "; only LORA is read");
  for (const char* key : kUnsupported) {
    const auto place = config.find(key);
    if (place != config.end() && !is_off(*place))
      throw FileError(path, key, "is set; only plain LoRA is read");
  }
  const std::string bias = get_string(config, path, "bias", "none");
  if (bias != "none")
    throw FileError(path, "bias", "is " + printable(bias) + "; trained biases are not read");
  base_model = get_string(config, path, "base_model_name_or_path", "");
  LoraOptions options;
  options.rank = get_int(config, path, "r", 1, 1 << 20);
  options.alpha = get_number(config, path, "lora_alpha", 0, 1e9);
  options.dropout = get_number(config, path, "lora_dropout", 0, 0.999999, 0.0);
  options.rank_stabilized = get_bool(config, path, "use_rslora", false);
  return options;
}

// "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight" -> slot "layers.0.mlp.up_proj", 'A'.
std::pair<std::string, char> parse_name(const std::string& name, const std::string& path) {
  const std::string a = ".lora_A.weight", b = ".lora_B.weight";
  if (!name.starts_with(kNamePrefix) || !(name.ends_with(a) || name.ends_with(b)) ||
      name.size() <= kNamePrefix.size() + a.size()) {
    throw FileError(path, printable(name),
                    "expected base_model.model.MODULE.lora_A.weight or ...lora_B.weight");
  }
  std::string module = name.substr(kNamePrefix.size(), name.size() - kNamePrefix.size() - a.size());
  for (const char* prefix : {"model.", "transformer."}) {
    if (module.starts_with(prefix)) {
      module = module.substr(std::string(prefix).size());
      break;
    }
  }
  return {module, name.ends_with(a) ? 'A' : 'B'};
}

void check_module(const PeftModule& module, int64_t rank, const std::string& path) {
  if (module.A.shape.empty() || module.B.shape.empty()) {
    throw FileError(path, printable(module.slot), "has only one of lora_A and lora_B");
  }
  const auto bad = [&](const NamedArray& array, const std::string& expected) {
    throw FileError(path, printable(array.name),
                    "has shape " + to_string(array.shape) + ", expected " + expected);
  };
  if (module.A.shape.size() != 2 || module.A.shape[0] != rank) bad(module.A, fmt::format("({}, in)", rank));
  if (module.B.shape.size() != 2 || module.B.shape[1] != rank) bad(module.B, fmt::format("(out, {})", rank));
}

nlohmann::ordered_json config_to_json(const PeftAdapter& adapter, const std::vector<std::string>& modules,
                                      const std::string& architecture) {
  const LoraOptions& o = adapter.options;
  nlohmann::ordered_json config = {
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", adapter.base_model},
      {"r", o.rank},
      {"lora_alpha", o.alpha},
      {"lora_dropout", o.dropout},
      {"use_rslora", o.rank_stabilized},
      {"use_dora", false},
      {"bias", "none"},
      {"fan_in_fan_out", architecture == "gpt2"},  // its matrices are stored transposed
      {"init_lora_weights", true},
      {"inference_mode", true},
      {"modules_to_save", nullptr},
      {"target_modules", modules}};
  // PEFT declares alpha as a whole number.
  if (o.alpha == double(int64_t(o.alpha))) config["lora_alpha"] = int64_t(o.alpha);
  return config;
}

}  // namespace

PeftAdapter parse_peft(const nlohmann::json& config, const std::string& config_path,
                       const Safetensors& file) {
  PeftAdapter adapter;
  adapter.options = options_from_json(config, config_path, adapter.base_model);
  const std::string& path = file.path;
  std::map<std::string, PeftModule> modules;
  for (const auto& [name, view] : file.tensors) {
    const auto [slot, which] = parse_name(name, path);
    if (!is_float_dtype(view.dtype)) {
      throw FileError(path, printable(name),
                      std::string("has type ") + dtype_name(view.dtype) + ", expected floats");
    }
    PeftModule& module = modules[slot];
    module.slot = slot;
    NamedArray& array = which == 'A' ? module.A : module.B;
    if (!array.name.empty()) throw FileError(path, printable(slot), "appears under two prefixes");
    if (view.shape.empty()) throw FileError(path, printable(name), "is a single number, expected a matrix");
    array = {name, view.shape, to_floats(view)};
  }
  if (modules.empty()) throw FileError(path, "", "holds no adapter");
  for (auto& [slot, module] : modules) {
    check_module(module, adapter.options.rank, path);
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

PeftAdapter read_peft(const std::string& folder) {
  const std::string config_path = join_path(folder, "adapter_config.json");
  const nlohmann::json config = read_json(config_path);
  return parse_peft(config, config_path, read_safetensors(join_path(folder, "adapter_model.safetensors")));
}

void write_peft(const std::string& folder, const PeftAdapter& adapter, const std::string& architecture) {
  check(!adapter.modules.empty(), "write_peft: the adapter has no modules");
  make_folders(folder);
  std::vector<ArrayView> arrays;
  std::vector<std::string> modules;
  for (const PeftModule& module : adapter.modules) {
    const std::string weight = hf_parameter({module.slot + ".weight", {1, 1}}, architecture).name;
    const std::string name = weight.substr(0, weight.size() - std::string(".weight").size());
    modules.push_back(name);
    for (const auto& [array, end] :
         {std::pair(&module.A, ".lora_A.weight"), std::pair(&module.B, ".lora_B.weight")}) {
      const auto* bytes = reinterpret_cast<const uint8_t*>(array->data.data());
      arrays.push_back(
          {kNamePrefix + name + end, DType::F32, array->shape, {bytes, array->data.size() * sizeof(float)}});
    }
  }
  write_safetensors(join_path(folder, "adapter_model.safetensors"), arrays, {{"format", "pt"}});
  write_text(join_path(folder, "adapter_config.json"),
             config_to_json(adapter, modules, architecture).dump(2) + "\n");
}

}  // namespace chalk
