// Copying adapters between LoraLinear slots and plain data.

#include "models/lora_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/check.h"

namespace chalk {
namespace {

// As a whole projection's adapter would be described: PEFT knows no other.
LoraOptions whole_options(const LoraLinear& lora) {
  LoraOptions options = lora.options;
  options.rank = lora.A.dim(0);
  // s = alpha / r = alpha' / (P·r); rsLoRA: alpha / √r = alpha' / √(P·r)
  if (!lora.parts.empty()) {
    const double P = double(lora.parts.size());
    options.alpha *= options.rank_stabilized ? std::sqrt(P) : P;
  }
  return options;
}

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
    const LoraOptions options = whole_options(*lora);
    if (adapter.modules.empty()) adapter.options = options;
    check(same_shape(adapter.options, options),
          "adapter_of: the adapter of {} has rank {} and alpha {} (parts of c_attn counted together), that "
          "of {} has {} "
          "and {}; PEFT's rank patterns are not written",
          name, options.rank, options.alpha, adapter.modules.empty() ? name : adapter.modules[0].slot,
          adapter.options.rank, adapter.options.alpha);
    adapter.modules.push_back(
        {name,
         {name + ".lora_A.weight", lora->A.shape, lora->A.to_vector()},
         {name + ".lora_B.weight", {lora->out_features(), options.rank}, lora->wide_B()}});
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
