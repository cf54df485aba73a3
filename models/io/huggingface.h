#pragma once
// A Hugging Face folder: config.json and model.safetensors (or shards and their index), exactly as
// transformers writes and reads them. Tokenizer files in the same folder are the business of models/text.
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "models/io/dtype.h"
#include "models/io/safetensors.h"
#include "models/io/weights.h"

namespace chalk {

// Accepts names with or without the leading "transformer." or "model."; ignores mask and rotary buffers;
// drops a stored lm_head when the configuration ties it; transposes GPT-2's four Conv1D matrices. F16, BF16
// and F64 become float. GPTQ and AWQ folders (models/io/gptq_format.h,
// models/io/awq_folder.h) keep their codes: Checkpoint::quantized.
Checkpoint read_hf_folder(const std::string& folder);

struct HfWriteOptions {
  DType dtype = DType::F32;  // F32, F16 or BF16
  int64_t max_shard_bytes =
      int64_t{5} * 1000000000;  // of tensor data in one file; transformers' default is 5 GB
};

// Creates the folder if needed. Every file appears complete or not at all, the weights before config.json;
// files of an earlier checkpoint that the new one replaces (an index and its shards, or the single file) are
// removed at the end.
void write_hf_folder(const std::string& folder, const Checkpoint& checkpoint,
                     const HfWriteOptions& options = {});

// One tensor of such a folder. Its bytes are asked for when it is written, so that a whole model need not be converted
// at once; what `bytes` refers to must live that long.
struct HfTensor {
  TensorInfo info;
  std::function<std::vector<uint8_t>()> bytes;
};
// A weight as transformers stores it: prefix added, Conv1D transposed.
HfTensor hf_tensor(const NamedArray& weight, const std::string& architecture, DType dtype);
// config.json of the checkpoint's model with `dtype` as its torch_dtype.
nlohmann::ordered_json hf_config(const Checkpoint& checkpoint, DType dtype);
// The folder itself, for formats that store more than weights: the tensors in shards, then config.json.
void write_hf_tensors(const std::string& folder, const std::vector<HfTensor>& tensors,
                      const nlohmann::ordered_json& config, int64_t max_shard_bytes);

// "model." or "transformer.": what transformers puts in front of all names but lm_head's.
std::string hf_prefix(const std::string& architecture);

// Name and shape under which transformers stores a parameter: prefix added, Conv1D shapes reversed.
ParameterShape hf_parameter(const ParameterShape& parameter, const std::string& architecture);

}  // namespace chalk
