#include "models/io/huggingface.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/check.h"
#include "models/io/awq_folder.h"
#include "models/io/config.h"
#include "models/io/gptq_format.h"
#include "models/io/json.h"
#include "models/io/packed_layers.h"
#include "models/io/safetensors.h"

namespace chalk {
namespace {

// GPT-2's Conv1D stores (in, out). attn.c_proj is square, so a forgotten transpose would fail no shape check.
bool is_conv1d(const std::string& name) {
  return name.ends_with(".c_attn.weight") || name.ends_with(".c_proj.weight") ||
         name.ends_with(".c_fc.weight");
}

// Constants that older versions stored with the weights: the causal mask and the rotary frequencies.
bool is_buffer(const std::string& name) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with(".rotary_emb.inv_freq");
}

// "transformer.wte.weight" -> "wte.weight".
std::string in_memory_name(const std::string& name, const std::string& architecture) {
  const std::string prefix = hf_prefix(architecture);
  return name.starts_with(prefix) ? name.substr(prefix.size()) : name;
}

bool is_tied(const Checkpoint& checkpoint) {
  return checkpoint.architecture == "gpt2" ? checkpoint.gpt2.tie_word_embeddings
                                           : checkpoint.llama.tie_word_embeddings;
}

Checkpoint read_config(const nlohmann::json& config, const std::string& folder) {
  const std::string path = join_path(folder, "config.json");
  Checkpoint checkpoint;
  checkpoint.path = folder;
  checkpoint.architecture = architecture_of(config, path);
  if (checkpoint.architecture == "gpt2")
    checkpoint.gpt2 = gpt2_config_from_json(config, path);
  else
    checkpoint.llama = llama_config_from_json(config, path);
  return checkpoint;
}

// The views of all parameters under their in-memory names; buffers, a redundant head, and in a `packed` folder the
// codes and their companions left out.
std::map<std::string, const ArrayView*> parameters_of(const Safetensors& file, const Checkpoint& checkpoint,
                                                      bool packed) {
  std::map<std::string, const ArrayView*> parameters;
  for (const auto& [stored_name, array] : file.tensors) {
    const std::string name = in_memory_name(stored_name, checkpoint.architecture);
    if (is_buffer(name) || (name == "lm_head.weight" && is_tied(checkpoint))) continue;
    if (packed && is_packed_tensor(name)) continue;
    const std::string field = "tensor " + printable(stored_name);
    if (!is_float_dtype(array.dtype))
      throw FileError(file.path, field,
                      fmt::format("has dtype {}, expected F32, F16, BF16 or F64", dtype_name(array.dtype)));
    if (!parameters.emplace(name, &array).second)
      throw FileError(file.path, field, "is stored twice, with and without its prefix");
  }
  return parameters;
}

// The parameters that are not stored as codes.
std::vector<ParameterShape> float_parameters(const Checkpoint& checkpoint) {
  std::set<std::string> coded;
  for (const QuantizedWeight& layer : checkpoint.quantized) coded.insert(layer.slot + ".weight");
  std::vector<ParameterShape> parameters = parameter_shapes(checkpoint);
  std::erase_if(parameters, [&](const ParameterShape& p) { return coded.contains(p.name); });
  return parameters;
}

}  // namespace

std::string hf_prefix(const std::string& architecture) {
  return architecture == "gpt2" ? "transformer." : "model.";
}

ParameterShape hf_parameter(const ParameterShape& parameter, const std::string& architecture) {
  ParameterShape stored = parameter;
  if (architecture == "gpt2" && is_conv1d(parameter.name)) std::swap(stored.shape[0], stored.shape[1]);
  if (parameter.name != "lm_head.weight") stored.name = hf_prefix(architecture) + parameter.name;
  return stored;
}

Checkpoint read_hf_folder(const std::string& folder) {
  const nlohmann::json config = read_json(join_path(folder, "config.json"));
  Checkpoint checkpoint = read_config(config, folder);
  const std::optional<GptqConfig> gptq = find_gptq_config(config, folder);
  const std::optional<AwqConfig> awq = find_awq_config(config, folder);
  const Safetensors file = gptq ? read_gptq_safetensors(folder) : read_safetensors_folder(folder);
  if (gptq) checkpoint.quantized = read_gptq_layers(file, *gptq, checkpoint);
  if (awq) read_awq_layers(file, *awq, checkpoint);
  const std::map<std::string, const ArrayView*> parameters = parameters_of(file, checkpoint, gptq || awq);

  // Names and shapes as stored are compared before a single number is converted.
  const std::vector<ParameterShape> wanted = float_parameters(checkpoint);
  std::vector<ParameterShape> expected, found;
  for (const ParameterShape& parameter : wanted)
    expected.push_back({parameter.name, hf_parameter(parameter, checkpoint.architecture).shape});
  for (const auto& [name, array] : parameters) found.push_back({name, array->shape});
  check_parameters(expected, found, file.path);

  for (const ParameterShape& parameter : wanted) {
    NamedArray weight{parameter.name, parameter.shape, to_floats(*parameters.at(parameter.name))};
    if (checkpoint.architecture == "gpt2" && is_conv1d(parameter.name))
      weight.data = transposed(weight.data, parameter.shape[1], parameter.shape[0]);
    checkpoint.weights.push_back(std::move(weight));
  }
  return checkpoint;
}

namespace {

// Consecutive tensors go into one shard until the next one would not fit (a single larger one gets its own).
std::vector<std::vector<const HfTensor*>> split_into_shards(const std::vector<HfTensor>& tensors,
                                                            int64_t max_bytes) {
  std::vector<std::vector<const HfTensor*>> shards(1);
  int64_t shard_bytes = 0;
  for (const HfTensor& tensor : tensors) {
    const int64_t bytes = tensor_bytes(tensor.info);
    if (!shards.back().empty() && shard_bytes + bytes > max_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(&tensor);
    shard_bytes += bytes;
  }
  return shards;
}

// Writes one file but does not rename it yet: the caller commits all shards together.
std::unique_ptr<SafetensorsWriter> write_shard(const std::string& path,
                                               const std::vector<const HfTensor*>& tensors) {
  std::vector<TensorInfo> infos;
  std::map<std::string, const HfTensor*> by_name;
  for (const HfTensor* tensor : tensors) {
    infos.push_back(tensor->info);
    by_name[tensor->info.name] = tensor;
  }
  // transformers refuses a file whose metadata do not say that it holds PyTorch tensors.
  const std::map<std::string, std::string> metadata = {{"format", "pt"}};
  auto writer = std::make_unique<SafetensorsWriter>(path, std::move(infos), metadata);
  for (const TensorInfo& info : writer->order()) writer->write(by_name.at(info.name)->bytes());
  return writer;
}

void write_index(const std::string& folder, const std::vector<std::vector<const HfTensor*>>& shards,
                 const std::vector<std::string>& names) {
  std::map<std::string, std::string> weight_map;  // sorted by tensor, as transformers does
  int64_t total = 0;
  for (size_t i = 0; i < shards.size(); ++i) {
    for (const HfTensor* tensor : shards[i]) {
      weight_map[tensor->info.name] = names[i];
      total += tensor_bytes(tensor->info);
    }
  }
  nlohmann::ordered_json index;
  index["metadata"]["total_size"] = total;
  index["weight_map"] = weight_map;
  write_text(join_path(folder, "model.safetensors.index.json"), index.dump(2) + "\n");
}

// model.safetensors has precedence over an index when a folder is read, and shards of another count would be
// dead weight.
void remove_other_weights(const std::string& folder, const std::set<std::string>& keep) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool weights = name == "model.safetensors" || name == "model.safetensors.index.json" ||
                         name == "quantize_config.json" ||  // of a GPTQ folder
                         (name.starts_with("model-") && name.ends_with(".safetensors"));
    if (weights && !keep.contains(name)) std::filesystem::remove(entry.path(), ignored);
  }
}

}  // namespace

nlohmann::ordered_json hf_config(const Checkpoint& checkpoint, DType dtype) {
  nlohmann::ordered_json config =
      checkpoint.architecture == "gpt2" ? to_json(checkpoint.gpt2) : to_json(checkpoint.llama);
  config["torch_dtype"] = dtype == DType::F16 ? "float16" : dtype == DType::BF16 ? "bfloat16" : "float32";
  return config;
}

HfTensor hf_tensor(const NamedArray& weight, const std::string& architecture, DType dtype) {
  const ParameterShape parameter = hf_parameter({weight.name, weight.shape}, architecture);
  const bool transpose = architecture == "gpt2" && is_conv1d(weight.name);
  return {{parameter.name, dtype, parameter.shape}, [&weight, transpose, dtype] {
            if (!transpose) return floats_to_bytes(weight.data, dtype);
            return floats_to_bytes(transposed(weight.data, weight.shape[0], weight.shape[1]), dtype);
          }};
}

void write_hf_tensors(const std::string& folder, const std::vector<HfTensor>& tensors,
                      const nlohmann::ordered_json& config, int64_t max_shard_bytes) {
  make_folders(folder);
  const auto shards = split_into_shards(tensors, max_shard_bytes);
  std::vector<std::string> names;
  std::vector<std::unique_ptr<SafetensorsWriter>> writers;
  for (size_t i = 0; i < shards.size(); ++i) {
    names.push_back(shards.size() == 1
                        ? "model.safetensors"
                        : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size()));
    writers.push_back(write_shard(join_path(folder, names[i]), shards[i]));
  }
  for (const auto& writer : writers) writer->commit();
  std::set<std::string> keep(names.begin(), names.end());
  if (shards.size() > 1) {
    write_index(folder, shards, names);
    keep.insert("model.safetensors.index.json");
  }
  write_text(join_path(folder, "config.json"), config.dump(2) + "\n");
  remove_other_weights(folder, keep);
}

void write_hf_folder(const std::string& folder, const Checkpoint& checkpoint, const HfWriteOptions& options) {
  check_weights(checkpoint);
  const nlohmann::ordered_json config =
      hf_config(checkpoint, options.dtype);  // refuses before anything is written
  std::vector<HfTensor> tensors;
  for (const NamedArray& weight : checkpoint.weights) {
    tensors.push_back(hf_tensor(weight, checkpoint.architecture, options.dtype));
  }
  write_hf_tensors(folder, tensors, config, options.max_shard_bytes);
}

}  // namespace chalk
