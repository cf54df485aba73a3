// Switchable precision, beside the method: which widths train in a step, the trainer's optimisers; per-layer configuration,
// saving and loading.

#include "papers/qat/switchable_precision.h"

#include <nlohmann/json.hpp>

#include "models/gpt2.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/io/safetensors.h"
#include "models/llama.h"
#include "models/load.h"

namespace chalk {

int64_t layer_of_slot(const std::string& slot) {
  const size_t begin = slot.find_first_of("0123456789");
  return begin == std::string::npos ? -1 : std::stoll(slot.substr(begin));
}

bool slot_in_mlp(const std::string& slot) {
  return slot.find(".mlp") != std::string::npos || slot.ends_with("ln_2") ||
         slot.ends_with("post_attention_layernorm");
}

std::vector<PrecisionPlan> plans_of_step(const SwitchableTraining& t, std::vector<int> widths, int64_t layers,
                                         int64_t step) {
  std::sort(widths.rbegin(), widths.rend());
  const int64_t K = int64_t(widths.size()), block = step / std::max<int64_t>(1, t.interval);
  const auto draw = [&](int64_t i, int64_t n) {
    return random_word(derive_seed(t.seed, uint64_t(i)), uint64_t(n));
  };
  const auto plan = [&](int64_t k) { return uniform_plan(layers, widths[size_t(k)]); };
  std::vector<PrecisionPlan> plans;
  switch (t.strategy) {
    case SwitchStrategy::Joint:
      for (int64_t k = 0; k < K; ++k) plans.push_back(plan(k));
      break;
    case SwitchStrategy::Sandwich: {
      std::vector<int64_t> chosen = {0, K - 1};
      for (uint64_t n = 0; n < 2 && K > 2; ++n)
        chosen.push_back(1 + int64_t(draw(step, int64_t(n)) % uint64_t(K - 2)));
      std::sort(chosen.begin(), chosen.end());
      chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
      for (int64_t k : chosen) plans.push_back(plan(k));
      break;
    }
    case SwitchStrategy::Cyclic:
      plans.push_back(plan(K - 1 - block % K));  // b = S[⌊i / I⌋ mod K], S from the lowest
      break;
    case SwitchStrategy::Random:
      plans.push_back(plan(int64_t(draw(block, 0) % uint64_t(K))));
      break;
    case SwitchStrategy::RandomPerLayer:
      plans.push_back(uniform_plan(layers, 16));
      for (int64_t l = 0; l < layers; ++l) {
        plans[0][size_t(l)] = {widths[draw(block, 2 * l) % uint64_t(K)],
                               widths[draw(block, 2 * l + 1) % uint64_t(K)]};
      }
      break;
    case SwitchStrategy::Progressive:
      // segment ⌊i K / total⌋
      plans.push_back(plan(std::min(K - 1, step * K / std::max<int64_t>(1, t.steps))));
      break;
    case SwitchStrategy::Scheduled:
      check(!t.schedule.empty(), "switchable precision: the scheduled strategy needs a schedule of widths");
      plans.push_back(uniform_plan(layers, t.schedule[size_t(block) % t.schedule.size()]));
      break;
  }
  return plans;
}

SwitchableTrainer::SwitchableTrainer(SwitchableModel& model, const SwitchableTraining& training,
                                     LanguageModel* teacher)
    : switchable(model),
      training(training),
      teacher(teacher),
      schedule{.warmup = training.warmup, .total = training.steps, .floor = training.lr_floor},
      parameters(model.model.parameters()) {
  std::vector<NamedTensor> learned_steps, rest;
  for (const NamedTensor& p : parameters) {
    (p.name.find(".steps_") != std::string::npos ? learned_steps : rest).push_back(p);
  }
  weights = std::make_unique<AdamW>(
      rest, AdamW::Options{.lr = float(training.lr), .weight_decay = float(training.weight_decay)});
  steps = std::make_unique<AdamW>(learned_steps,
                                  AdamW::Options{.lr = float(training.step_lr), .weight_decay = 0});
}

// ---- files ----

namespace {

// A configuration or options file has a few kilobytes.
constexpr size_t largest_json = size_t{1} << 20;

void check_keys(const nlohmann::json& object, const std::string& path, const std::string& field,
                const std::vector<std::string>& known) {
  check_object(object, path, field);
  for (const auto& [key, value] : object.items()) {
    if (std::count(known.begin(), known.end(), key) > 0) continue;
    throw FileError(path, field.empty() ? printable(key) : field + "." + printable(key),
                    fmt::format("is not known here; known are {}", fmt::join(known, ", ")));
  }
}

int bits_in(const nlohmann::json& object, const std::string& path, const std::string& field, const char* key,
            const std::vector<int>& widths, int fallback) {
  const auto place = object.find(key);
  if (place == object.end()) return fallback;
  const bool whole = place->is_number_integer() && *place >= 0 && *place <= 64;
  const int bits = whole ? place->get<int>() : -1;
  if (bits != 16 && std::count(widths.begin(), widths.end(), bits) == 0) {
    throw FileError(
        path, field + "." + key,
        fmt::format("is {}, but must be one of {} or 16", printable(place->dump()), fmt::join(widths, ", ")));
  }
  return bits;
}

LayerPrecision layer_in(const nlohmann::json& object, const std::string& path, const std::string& field,
                        const std::vector<int>& widths, LayerPrecision fallback) {
  check_keys(object, path, field, {"attn_bits", "mlp_bits"});
  return {bits_in(object, path, field, "attn_bits", widths, fallback.attn_bits),
          bits_in(object, path, field, "mlp_bits", widths, fallback.mlp_bits)};
}

// The layer number that a key spells; throws when it spells none.
int64_t layer_number(const std::string& key, const std::string& path, int64_t layers) {
  const bool digits =
      !key.empty() && key.size() < 6 && key.find_first_not_of("0123456789") == std::string::npos;
  const int64_t layer = digits ? std::stoll(key) : -1;
  if (layer < 0 || layer >= layers) {
    throw FileError(path, "layers." + printable(key),
                    fmt::format("is no layer of this model: 0 to {}", layers - 1));
  }
  return layer;
}

}  // namespace

PrecisionPlan read_precision_plan(const std::string& path, int64_t layers, const std::vector<int>& widths) {
  const nlohmann::json file = read_json(path, largest_json);
  check_keys(file, path, "", {"default", "layers"});
  LayerPrecision fallback;
  if (file.contains("default")) fallback = layer_in(file["default"], path, "default", widths, fallback);
  PrecisionPlan plan(size_t(layers), fallback);
  if (!file.contains("layers")) return plan;
  check_object(file["layers"], path, "layers");
  for (const auto& [key, value] : file["layers"].items()) {
    const int64_t layer = layer_number(key, path, layers);
    plan[size_t(layer)] = layer_in(value, path, "layers." + key, widths, fallback);
  }
  return plan;
}

// ---- saving ----

namespace {

// The parameters that the float model has under Hugging Face's names; `find` gives the numbers of a name.
template <class Find>
Checkpoint checkpoint_of(LanguageModel& model, Find find) {
  Checkpoint checkpoint;
  checkpoint.architecture = model.architecture();
  if (auto* gpt2 = dynamic_cast<GPT2*>(&model)) checkpoint.gpt2 = gpt2->config;
  if (auto* llama = dynamic_cast<Llama*>(&model)) checkpoint.llama = llama->config;
  for (const ParameterShape& shape : parameter_shapes(checkpoint)) {
    const Tensor tensor = find(shape.name);
    checkpoint.weights.push_back({shape.name, tensor.shape, tensor.to_vector()});
  }
  return checkpoint;
}

std::map<std::string, Tensor> parameters_by_name(Module& module) {
  std::map<std::string, Tensor> tensors;
  for (const NamedTensor& p : module.parameters()) tensors[p.name] = p.tensor;
  return tensors;
}

// Steps and private norms: what a float checkpoint has no place for.
bool is_private(const std::string& name) {
  return name.find(".steps_") != std::string::npos || name.find(".bits_") != std::string::npos;
}

}  // namespace

void save_switchable(SwitchableModel& switchable, const Tokenizer& tokenizer, const std::string& folder) {
  const std::map<std::string, Tensor> tensors = parameters_by_name(switchable.model);
  write_hf_folder(folder,
                  checkpoint_of(switchable.model, [&](const std::string& name) { return tensors.at(name); }));
  tokenizer.save(folder);

  std::vector<std::vector<float>> numbers;  // outlive the views
  std::vector<ArrayView> arrays;
  for (const auto& [name, tensor] : tensors) {
    if (is_private(name)) numbers.push_back(tensor.to_vector());
  }
  size_t next = 0;
  for (const auto& [name, tensor] : tensors) {
    if (!is_private(name)) continue;
    const std::vector<float>& values = numbers[next++];
    const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
    arrays.push_back({name, DType::F32, tensor.shape, {bytes, values.size() * sizeof(float)}});
  }
  write_safetensors(join_path(folder, "switchable.safetensors"), arrays);
  const SwitchableOptions& o = switchable.options;
  const nlohmann::ordered_json options = {{"widths", o.widths},
                                          {"activation_bits", o.activation_bits},
                                          {"private_norms", o.private_norms},
                                          {"nested_grid", o.nested_grid},
                                          {"group_size", o.quantizer.group_size},
                                          {"full_range", o.quantizer.full_range}};
  write_text(join_path(folder, "switchable.json"), options.dump(2) + "\n");
}

LoadedSwitchable load_switchable(const std::string& folder, Device device) {
  const std::string path = join_path(folder, "switchable.json");
  const nlohmann::json file = read_json(path, largest_json);
  check_keys(file, path, "",
             {"widths", "activation_bits", "private_norms", "nested_grid", "group_size", "full_range"});
  SwitchableOptions options;
  options.widths.clear();
  const auto widths = file.find("widths");
  if (widths == file.end() || !widths->is_array() || widths->empty() || widths->size() > 16) {
    throw FileError(path, "widths", "must be a list of 1 to 16 whole numbers");
  }
  for (const nlohmann::json& width : *widths) {
    if (!width.is_number_integer() || width < 2 || width > 16) {
      throw FileError(path, "widths", printable(width.dump()) + " is not a width from 2 to 16");
    }
    options.widths.push_back(width.get<int>());
  }
  options.activation_bits = int(get_int(file, path, "activation_bits", 2, 16, 8));
  options.private_norms = get_bool(file, path, "private_norms", true);
  options.nested_grid = get_bool(file, path, "nested_grid", false);
  options.quantizer.group_size = get_int(file, path, "group_size", -1, int64_t{1} << 30, -1);
  options.quantizer.full_range = get_bool(file, path, "full_range", false);

  LoadedSwitchable loaded;
  LoadedModel base = load_model(folder, "", device);
  loaded.model = std::move(base.model), loaded.tokenizer = std::move(base.tokenizer);
  loaded.switchable = std::make_unique<SwitchableModel>(make_switchable(*loaded.model, options));
  const std::string tensor_path = join_path(folder, "switchable.safetensors");
  const Safetensors tensors = read_safetensors(tensor_path);
  for (const NamedTensor& p : loaded.model->parameters()) {
    if (!is_private(p.name)) continue;
    const ArrayView& array = tensors.at(p.name);
    if (array.shape != p.tensor.shape) {
      throw FileError(tensor_path, p.name,
                      "has shape " + to_string(array.shape) + ", expected " + to_string(p.tensor.shape));
    }
    p.tensor.copy_from(Tensor::from(p.tensor.shape, to_floats(array), device));
  }
  return loaded;
}

void export_at_current_precision(SwitchableModel& switchable, const Tokenizer& tokenizer,
                                 const std::string& folder) {
  NoGrad no_grad;
  std::map<std::string, Tensor> tensors = parameters_by_name(switchable.model);
  for (const SwitchableModel::Part& part : switchable.parts) {
    if (part.linear) tensors[part.slot + ".weight"] = part.linear->quantized_weight();
    if (!part.norm) continue;
    part.norm->norms.at(part.norm->bits)
        ->visit_parameters(part.slot + ".",
                           [&](const std::string& name, Tensor& tensor) { tensors[name] = tensor; });
  }
  write_hf_folder(folder,
                  checkpoint_of(switchable.model, [&](const std::string& name) { return tensors.at(name); }));
  tokenizer.save(folder);
}

}  // namespace chalk
