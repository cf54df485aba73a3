#pragma once
// AWQ checkpoints: a Hugging Face folder whose projections are packed in AutoAWQ's gemm layout (models/io/awq_format.h), with
//
//   "quantization_config": {"quant_method": "awq", "zero_point": true, "group_size": 128, "bits": 4, "version": "gemm",
//                           "modules_to_not_convert": null}
//
// in config.json, as AutoAWQ writes it and transformers reads it. All else is stored as fp16. Where a scale could not hide in
// an earlier layer (GPT-2's mlp.c_proj, behind a GELU), it is X.mlp.act.scales: the name that AutoAWQ gives it in models
// built alike. Neither AutoAWQ nor transformers has GPT-2 itself among its AWQ models: such a folder is Chalk's only.

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "models/io/dtype.h"
#include "models/io/safetensors.h"
#include "models/io/weights.h"

namespace chalk {

struct AwqConfig {
  int64_t group_size = 128;  // −1: whole rows
  std::vector<std::string> modules_to_not_convert =
      {};  // projections that stayed float, by full name; readers ask the tensors
};

// The quantization of a folder whose config.json is `config`; nothing when the method is not AWQ. Throws FileError on another
// number of bits, another layout than gemm, or symmetric weights.
std::optional<AwqConfig> find_awq_config(const nlohmann::json& config, const std::string& folder);
nlohmann::ordered_json to_json(const AwqConfig& config);

// Puts every X.qweight of the file into checkpoint.quantized and every act.scales into checkpoint.input_scales. The
// checkpoint says which projections there are, and their sizes. Throws FileError naming tensor and reason.
void read_awq_layers(const Safetensors& file, const AwqConfig& config, Checkpoint& checkpoint);

// Writes `checkpoint` with its `quantized` layers packed; they win over float arrays of the same name. A layer whose sizes do
// not fit the layout is written dequantized and listed as not converted. Everything else has type `dtype`.
// Throws UsageError when the layers do not share one group size (or all have whole rows), or none fits.
void write_awq_folder(const std::string& folder, const Checkpoint& checkpoint, DType dtype = DType::F16);

}  // namespace chalk
