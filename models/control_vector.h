#pragma once
// Control vectors: one vector per block, added to the residual stream that leaves it, at every token. What the steering
// papers export and `generate --control-vector` takes; also llama.cpp's and repeng's format, in GGUF.
//
//   GGUF:         general.architecture = "controlvector", controlvector.model_hint, controlvector.layer_count;
//                 tensor direction.K (F32, C) is added to what leaves block K, K ≥ 1: llama.cpp has none for block 0
//   safetensors:  tensor direction.K (F32, C), K ≥ 0; metadata "model_hint" and "site" = "resid_post"

#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/language_model.h"
#include "nn/interventions.h"

namespace chalk {

struct ControlVector {
  std::map<int64_t, std::vector<float>> directions;  // block (from 0) -> (C)
  std::string model_hint;                            // architecture it was made for: "llama", "gpt2"
};

// By the name's end: .gguf or .safetensors. write throws UsageError on another ending, an empty vector, or (GGUF)
// a direction for block 0; read throws FileError when the file does not hold what it should.
void write_control_vector(const std::string& path, const ControlVector& vector);
ControlVector read_control_vector(const std::string& path);
ControlVector parse_control_vector(std::span<const uint8_t> bytes,
                                   const std::string& path);  // the file's contents

// x ← x + strength · direction at every token of every named block, for as long as `edits` lives.
// Throws UsageError when the vector has a width or a block that the model has not, or was made for another architecture.
void add_control_vector(Edits& edits, LanguageModel& model, const ControlVector& vector, double strength);

}  // namespace chalk
