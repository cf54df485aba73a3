#pragma once
// GPTQ checkpoints: a Hugging Face folder whose projections are packed integers, as AutoGPTQ, GPTQModel and transformers
// write and read them. Per projection X with C inputs, R outputs, b ∈ {2, 3, 4, 8} bits and n groups of inputs:
//
//   X.qweight  (C·b/32, R)  int32    codes, packed along the inputs: column o is a stream of C codes of b bits, lowest
//                                    bit first, cut into words; a 3-bit code may straddle two words
//   X.qzeros   (n, R·b/32)  int32    zeros, packed the same way along the outputs; version 1 stores zero − 1
//   X.scales   (n, R)       float16
//   X.g_idx    (C)          int32    the group of each input; input / group_size when there is no act-order
//   X.bias     (R)          float    only where the model has one
//
//   weight[o, i] = scales[g, o] · (code[i, o] − zero[g, o]),   g = g_idx[i]
//
// Version 1 ("checkpoint_format": "gptq") cannot say zero = 0: it becomes −1, which AutoGPTQ's packer smears over the
// neighbours, some kernels read as 0 and others as 2^b. Version 2 ("gptq_v2") stores zeros as they are.
// Sizes are those of the words: C·b and R·b must be multiples of 32. (AutoGPTQ's own layers also ask C and R to be.)

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/io/dtype.h"
#include "models/io/safetensors.h"
#include "models/io/weights.h"

namespace chalk {

// What stands in config.json under "quantization_config" (transformers) and in quantize_config.json (AutoGPTQ).
struct GptqConfig {
  int bits = 4;             // 2, 3, 4 or 8
  int64_t group_size = -1;  // inputs that share a scale; −1: all inputs of an output
  bool desc_act = false;    // act-order; with dynamic groups g_idx is then not sorted
  bool sym = true;          // every zero is 2^(bits−1)
  bool static_groups = false;
  bool true_sequential = true;
  double damp_percent = 0.01;
  int version = 1;  // of the zeros: 1 or 2
};

// One projection's tensors as they are in the file.
struct GptqTensors {
  std::vector<uint32_t> qweight;  // (C·b/32, R)
  std::vector<uint32_t> qzeros;   // (n, R·b/32)
  std::vector<float> scales;      // (n, R)
  std::vector<int32_t> g_idx;     // (C)
};

// Can these sizes be packed? bits ∈ {2, 3, 4, 8}, rows·bits and columns·bits multiples of 32.
bool fits_gptq(int64_t rows, int64_t columns, int bits);
// Does some group have zero = 0, which version 1 cannot say?
bool has_zero_of_0(const QuantizedMatrix& matrix);

// Throws Error when the sizes do not fit. Version 1 stores a zero of 0 as 2^b − 1, whose successor modulo 2^b is 0 again.
GptqTensors pack_gptq(const QuantizedMatrix& matrix, int version);
// The inverse. Throws Error when a size, a scale or a group does not fit `rows`, `columns` and `config`.
QuantizedMatrix unpack_gptq(const GptqTensors& tensors, int64_t rows, int64_t columns,
                            const GptqConfig& config);

// The quantization of a folder whose config.json is `config`: from its "quantization_config", else from a
// quantize_config.json beside it; nothing when the method is not GPTQ. Throws FileError on values that are not read here.
std::optional<GptqConfig> find_gptq_config(const nlohmann::json& config, const std::string& folder);
GptqConfig gptq_config_from_json(const nlohmann::json& config, const std::string& path);
nlohmann::ordered_json to_json(const GptqConfig& config);

// model.safetensors, its shards, or AutoGPTQ's gptq_model-4bit-128g.safetensors.
Safetensors read_gptq_safetensors(const std::string& folder);
// Every X.qweight of the file with its companions. `checkpoint` says which projections there are, and their sizes.
// Throws FileError naming tensor and reason.
std::vector<QuantizedWeight> read_gptq_layers(const Safetensors& file, const GptqConfig& config,
                                              const Checkpoint& checkpoint);

// Writes `checkpoint` with its `quantized` layers packed; they win over float arrays of the same name. A layer whose sizes
// do not fit is written dequantized, and the configuration names the modules that are packed. Everything else has type
// `dtype`. Throws UsageError for version 1 when a zero is 0, and when a module is packed in some blocks only.
void write_gptq_folder(const std::string& folder, const Checkpoint& checkpoint, const GptqConfig& config,
                       DType dtype = DType::F16);

}  // namespace chalk
