#pragma once
// What a model costs to keep: counted over everything in it, float embeddings, norms and head included.

#include "models/language_model.h"
#include "nn/quantizer.h"

namespace chalk {

// Slots with a compressed weight (nn/quantized_projection.h) by their own account; every other parameter as a float of
// `float_bits`: 32 as they are in memory, 16 as most formats store them. A tied head is counted once.
StorageCost storage_of(LanguageModel& model, int float_bits = 32);

// Bytes of all weights in memory: packed weights as they are, parameters as float32.
int64_t resident_bytes(LanguageModel& model);

}  // namespace chalk
