// Copying weights in and out of models, finding tokenizers, committing checkpoints.

#include "models/load.h"

#include <filesystem>
#include <map>

#include "autograd/check.h"
#include "models/gpt2.h"
#include "models/io/awq_folder.h"
#include "models/io/file.h"
#include "models/io/gguf_tokenizer.h"
#include "models/io/gptq_format.h"
#include "models/io/huggingface.h"
#include "models/llama.h"
#include "nn/group_quant_linear.h"
#include "nn/input_scale.h"

namespace chalk {

namespace fs = std::filesystem;

namespace {

// Codes go into their slots as they are.
void put_packed_layers(LanguageModel& model, Checkpoint& checkpoint) {
  std::map<std::string, Slot*> slots;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) slots[slot->name] = slot;
  for (QuantizedWeight& layer : checkpoint.quantized) {
    const auto slot = slots.find(layer.slot);
    if (slot == slots.end())
      throw FileError(checkpoint.path, printable(layer.slot), "is packed but is no projection");
    put_quantized(*slot->second, layer.matrix);
    layer.matrix = {};  // one copy in memory at a time
  }
}

void put_input_scales(LanguageModel& model, const Checkpoint& checkpoint) {
  for (const auto& [name, s] : checkpoint.input_scales) {
    Slot& slot = find_slot(model, name);
    slot.layer = std::make_unique<InputScaledProjection>(std::move(slot.layer), s, model.device());
  }
}

}  // namespace

std::unique_ptr<LanguageModel> make_model(Checkpoint checkpoint, Device device) {
  std::unique_ptr<LanguageModel> model;
  if (checkpoint.architecture == "gpt2") {
    model = std::make_unique<GPT2>(checkpoint.gpt2, device);
  } else {
    model = std::make_unique<Llama>(checkpoint.llama, device);
  }
  put_packed_layers(*model, checkpoint);
  std::map<std::string, NamedArray*> arrays;
  for (NamedArray& array : checkpoint.weights) arrays[array.name] = &array;
  for (const NamedTensor& p : model->parameters()) {
    const auto place = arrays.find(p.name);
    if (place == arrays.end()) throw FileError(checkpoint.path, p.name, "the tensor is missing");
    NamedArray& array = *place->second;
    if (array.shape != p.tensor.shape) {
      throw FileError(checkpoint.path, p.name,
                      "has shape " + to_string(array.shape) + ", expected " + to_string(p.tensor.shape));
    }
    p.tensor.copy_from(Tensor::from(array.shape, array.data, device));
    array.data = {};  // one copy in memory at a time
  }
  put_input_scales(*model, checkpoint);
  return model;
}

Checkpoint to_checkpoint(LanguageModel& model) {
  Checkpoint checkpoint;
  checkpoint.architecture = model.architecture();
  if (auto* gpt2 = dynamic_cast<GPT2*>(&model)) checkpoint.gpt2 = gpt2->config;
  if (auto* llama = dynamic_cast<Llama*>(&model)) checkpoint.llama = llama->config;

  std::map<std::string, Tensor> tensors;
  const std::string scales = ".input_scales";
  for (const NamedTensor& p : model.parameters()) {
    if (p.name.ends_with(scales)) {
      checkpoint.input_scales[p.name.substr(0, p.name.size() - scales.size())] = p.tensor.to_vector();
    } else {
      tensors[p.name] = p.tensor;
    }
  }
  const std::vector<ParameterShape> expected = parameter_shapes(checkpoint);
  check(tensors.size() == expected.size(),
        "the model holds {} parameters but its architecture has {}: a slot was swapped", tensors.size(),
        expected.size());
  for (const ParameterShape& shape : expected) {
    const auto place = tensors.find(shape.name);
    check(place != tensors.end(), "the model has no parameter {}: a slot was swapped", shape.name);
    checkpoint.weights.push_back({shape.name, place->second.shape, place->second.to_vector()});
  }
  return checkpoint;
}

std::unique_ptr<Tokenizer> find_tokenizer(const Checkpoint& checkpoint, const std::string& tokenizer_path) {
  if (!tokenizer_path.empty()) return load_tokenizer(tokenizer_path);
  if (is_folder(checkpoint.path))
    return has_tokenizer(checkpoint.path) ? load_tokenizer(checkpoint.path) : nullptr;
  const bool in_gguf = checkpoint.gguf_metadata.find("tokenizer.ggml.model") != nullptr;
  return in_gguf ? tokenizer_from_gguf(checkpoint.gguf_metadata) : nullptr;
}

LoadedModel load_model(const std::string& model_path, const std::string& tokenizer_path, Device device) {
  LoadedModel loaded;
  const std::string newest = newest_checkpoint(model_path);
  loaded.path = newest.empty() ? model_path : newest;
  Checkpoint checkpoint = read_checkpoint(loaded.path);
  loaded.tokenizer = find_tokenizer(checkpoint, tokenizer_path);
  if (!loaded.tokenizer) throw UsageError(loaded.path + " holds no tokenizer: give one with --tokenizer");
  loaded.model = make_model(std::move(checkpoint), device);
  if (loaded.tokenizer->vocab_size() > loaded.model->vocab_size()) {
    throw FileError(tokenizer_path.empty() ? loaded.path : tokenizer_path, "vocabulary",
                    fmt::format("has {} tokens, but the model knows only {}: it belongs to another model",
                                loaded.tokenizer->vocab_size(), loaded.model->vocab_size()));
  }
  return loaded;
}

void save_model(LanguageModel& model, const Tokenizer& tokenizer, const std::string& folder) {
  write_hf_folder(folder, to_checkpoint(model));
  tokenizer.save(folder);
}

void save_gptq_model(LanguageModel& model, const Tokenizer& tokenizer, std::vector<QuantizedWeight> layers,
                     const GptqConfig& config, const std::string& folder) {
  Checkpoint checkpoint = to_checkpoint(model);
  checkpoint.quantized = std::move(layers);
  write_gptq_folder(folder, checkpoint, config);
  tokenizer.save(folder);
}

void save_awq_model(LanguageModel& model, const Tokenizer& tokenizer,
                    const std::map<std::string, QuantizedMatrix>& layers, const std::string& folder) {
  Checkpoint checkpoint = to_checkpoint(model);
  for (const auto& [slot, matrix] : layers) checkpoint.quantized.push_back({slot, matrix});
  write_awq_folder(folder, checkpoint);
  tokenizer.save(folder);
}

// ---- checkpoints of a run ----

std::string newest_checkpoint(const std::string& run_folder) {
  std::string newest;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(join_path(run_folder, "checkpoints"), ignored)) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("step_") || name.ends_with(".writing")) continue;
    if (entry.path().string() > newest) newest = entry.path().string();  // zero-padded: the order of steps
  }
  return newest;
}

std::string commit_checkpoint(const std::string& run_folder, int64_t step,
                              const std::function<void(const std::string& folder)>& write) {
  const std::string parent = join_path(run_folder, "checkpoints");
  const std::string final_path = join_path(parent, fmt::format("step_{:08}", step));
  const std::string temporary = final_path + ".writing";
  std::error_code error;
  fs::remove_all(temporary, error);
  make_folders(temporary);
  try {
    write(temporary);
  } catch (...) {
    fs::remove_all(temporary, error);
    throw;
  }
  fs::rename(temporary, final_path, error);
  check(!error, "{}: cannot rename the finished checkpoint: {}", final_path, error.message());

  std::vector<fs::path> older;
  for (const auto& entry : fs::directory_iterator(parent, error)) {
    if (entry.path() != fs::path(final_path)) older.push_back(entry.path());
  }
  for (const fs::path& path : older) fs::remove_all(path, error);
  return final_path;
}

}  // namespace chalk
