// Adding up what a model stores.

#include "models/storage.h"

#include "nn/quantized_projection.h"

namespace chalk {

StorageCost storage_of(LanguageModel& model, int float_bits) {
  StorageCost cost = float_cost(model.parameter_count(), float_bits);
  for (const Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    if (auto* packed = dynamic_cast<QuantizedProjection*>(slot->layer.get())) cost += packed->storage();
  }
  return cost;
}

int64_t resident_bytes(LanguageModel& model) {
  int64_t bytes = model.parameter_count() * int64_t(sizeof(float));
  for (const Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    if (auto* packed = dynamic_cast<QuantizedProjection*>(slot->layer.get()))
      bytes += packed->resident_bytes();
  }
  return bytes;
}

}  // namespace chalk
