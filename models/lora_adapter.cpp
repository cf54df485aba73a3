// Copying adapters between LoraLinear slots and plain data.

#include "models/lora_adapter.h"

#include <algorithm>
#include <map>

#include "autograd/check.h"

namespace chalk {
namespace {

bool same_shape(const LoraOptions& a, const LoraOptions& b) {
  return a.rank == b.rank && a.alpha == b.alpha && a.rank_stabilized == b.rank_stabilized;
}

std::map<std::string, Slot*> projection_slots(LanguageModel& model) {
  std::map<std::string, Slot*> slots;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) slots[slot->name] = slot;
  return slots;
}

}  // namespace

PeftAdapter adapter_of(LanguageModel& model, const std::string& base_model) {
  PeftAdapter adapter;
  adapter.base_model = base_model;
  for (const auto& [name, slot] : projection_slots(model)) {  // a map: sorted by name
    const auto* lora = dynamic_cast<const LoraLinear*>(slot->layer.get());
    if (!lora) continue;
    if (adapter.modules.empty()) adapter.options = lora->options;
    check(same_shape(adapter.options, lora->options),
          "adapter_of: the adapter of {} has another rank or alpha", name);
    adapter.modules.push_back({name,
                               {name + ".lora_A.weight", lora->A.shape, lora->A.to_vector()},
                               {name + ".lora_B.weight", lora->B.shape, lora->B.to_vector()}});
  }
  check(!adapter.modules.empty(), "adapter_of: the model has no adapter");
  return adapter;
}

void attach_adapter(LanguageModel& model, const PeftAdapter& adapter, const std::string& path) {
  const std::map<std::string, Slot*> slots = projection_slots(model);
  std::vector<std::string> targets;
  for (const PeftModule& module : adapter.modules) {
    const auto place = slots.find(module.slot);
    if (place == slots.end()) throw FileError(path, module.slot, "the model has no such projection");
    const Projection& projection = place->second->projection();
    const Shape a = {adapter.options.rank, projection.in_features()},
                b = {projection.out_features(), adapter.options.rank};
    if (module.A.shape != a || module.B.shape != b) {
      throw FileError(
          path, module.slot,
          fmt::format("A {} and B {} do not fit the model's, {} and {}", to_string(module.A.shape),
                      to_string(module.B.shape), to_string(a), to_string(b)));
    }
    targets.push_back(module.slot);
  }
  attach_lora(model, adapter.options, targets, 0, &model.training);
  for (const PeftModule& module : adapter.modules) {
    auto& lora = static_cast<LoraLinear&>(slots.at(module.slot)->projection());
    lora.A.copy_from(Tensor::from(module.A.shape, module.A.data, lora.A.device()));
    lora.B.copy_from(Tensor::from(module.B.shape, module.B.data, lora.B.device()));
  }
}

void save_adapter(LanguageModel& model, const std::string& folder, const std::string& base_model) {
  write_peft(folder, adapter_of(model, base_model), model.architecture());
}

void load_adapter(LanguageModel& model, const std::string& folder) {
  attach_adapter(model, read_peft(folder), folder);
}

}  // namespace chalk
