// Walking and finding slots.

#include "nn/slots.h"

#include "autograd/check.h"

namespace chalk {

Projection& Slot::projection() const {
  auto* found = dynamic_cast<Projection*>(layer.get());
  check(found != nullptr, "slot {} does not hold a projection", name);
  return *found;
}

void Slot::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  layer->visit_parameters(prefix + name.substr(name.rfind('.') + 1) + ".", visitor);
}

void Slot::visit(const SlotVisitor& visitor) {
  visitor(*this);
  layer->visit_slots(visitor);  // asked after the visit: the visitor may have put another layer in
}

std::vector<Slot*> slots_of(Module& module, Slot::Kind kind) {
  std::vector<Slot*> found;
  module.visit_slots([&](Slot& slot) {
    if (slot.kind == kind) found.push_back(&slot);
  });
  return found;
}

Slot& find_slot(Module& module, const std::string& name) {
  Slot* found = nullptr;
  std::string names;
  module.visit_slots([&](Slot& slot) {
    if (slot.name == name) found = &slot;
    if (names.size() < 400) names += " " + slot.name;
  });
  check(found != nullptr, "there is no slot {}; the first slots are{}", name, names);
  return *found;
}

}  // namespace chalk
