#pragma once
// The llama2.c legacy checkpoint (version 0): seven int32, then float32 tensors grouped by kind, each kind
// for all layers. Source: llama2.c's export.py and run.c. Rotary pairs interleaved, theta 10000, RMSNorm eps
// 1e-5.
#include <cstdint>
#include <span>
#include <string>

#include "models/io/weights.h"

namespace chalk {

// The size of the file must be exactly what its header announces; that is checked before anything is
// allocated. Query and key rows are permuted to the half-split order. The rotary tables in the file are not
// used.
Checkpoint parse_llama2c(std::span<const uint8_t> bytes, const std::string& path);
Checkpoint read_llama2c(const std::string& path);

// Throws Error if the format cannot express the configuration (another theta or eps, biases, a window,
// scaling, a head_dim other than C / H). A tied head is a positive vocab_size, a separate one a negative.
void write_llama2c(const std::string& path, const Checkpoint& checkpoint);

}  // namespace chalk
