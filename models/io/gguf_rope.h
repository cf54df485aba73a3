#pragma once
// Llama-3.1's rotary scaling in GGUF: the file holds a divisor for each frequency, not the rule that made
// them.
#include <string>
#include <vector>

#include "models/io/gguf.h"
#include "models/llama_config.h"

namespace chalk {

// head_size/2 divisors: 1 for short wavelengths, `factor` for long ones, between them 1 / ((1 − s)/factor +
// s) with s = (original/wavelength − low) / (high − low). config.rope_scaling is of type llama3.
std::vector<float> llama3_divisors(const LlamaConfig& config);

// The scaling that gives the divisors in `stored` for the head size and theta of `config`. Every published
// model uses low 1, high 4 and an original context of 8192, and the factor is the largest divisor; whatever
// this does not reproduce is refused with a FileError.
RopeScaling llama3_scaling(const GgufTensor& stored, LlamaConfig config, const std::string& path);

// Throws Error if llama3_scaling would not find `scaling` again.
void check_llama3_scaling(const RopeScaling& scaling);

}  // namespace chalk
