#pragma once
// Slots: the seam where papers change a model without touching its code (DESIGN section 4).
//
// Every product with a weight sits in a named slot (`h.3.attn.c_attn`, `layers.0.mlp.up_proj`, `lm_head`); so do norms
// (`h.3.ln_1`) and whole MLPs (`h.3.mlp`). A paper walks the slots by name and puts something else in:
//
//   model.visit_slots([&](Slot& slot) {
//     if (slot.kind == Slot::Kind::Projection) slot.layer = std::make_unique<LoraLinear>(std::move(slot.layer), rank);
//   });
//
// A slot's name is its parameters' Hugging Face prefix without the leading `transformer.` or `model.`.

#include <memory>
#include <string>
#include <vector>

#include "nn/module.h"

namespace chalk {

// One tensor in, one tensor out: what can sit in a slot.
struct Layer : Module {
  virtual Tensor forward(const Tensor& x) = 0;
};

// A layer that multiplies by a (possibly quantised, adapted, factored, ...) weight: x (..., in) -> y (..., out).
struct Projection : Layer {
  virtual int64_t in_features() const = 0;
  virtual int64_t out_features() const = 0;
};

struct Slot {
  enum class Kind { Projection, Norm, MLP };

  std::string name;
  Kind kind = Kind::Projection;
  std::unique_ptr<Layer> layer;

  Tensor forward(const Tensor& x) { return layer->forward(x); }
  // What sits here as a Projection. Throws Error when it is not one.
  Projection& projection() const;
  // Parameters appear under the slot's last name component: prefix "h.3.attn." + "c_attn." + "weight".
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor);
  // This slot, then the slots inside its layer.
  void visit(const SlotVisitor& visitor);
};

// All slots of one kind below a module, in order. The pointers stay valid as long as no enclosing slot is swapped.
std::vector<Slot*> slots_of(Module& module, Slot::Kind kind);
// The slot of that name; throws Error naming the nearest names when there is none.
Slot& find_slot(Module& module, const std::string& name);

}  // namespace chalk
