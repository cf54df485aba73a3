#pragma once
// A Hugging Face folder: config.json and model.safetensors (or shards and their index), exactly as
// transformers writes and reads them. Tokenizer files in the same folder are the business of models/text.
#include <cstdint>
#include <string>

#include "models/io/dtype.h"
#include "models/io/weights.h"

namespace chalk {

// Accepts names with or without the leading "transformer." or "model."; ignores mask and rotary buffers;
// drops a stored lm_head when the configuration ties it; transposes GPT-2's four Conv1D matrices. F16, BF16
// and F64 become float.
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

// Name and shape under which transformers stores a parameter: prefix added, Conv1D shapes reversed.
ParameterShape hf_parameter(const ParameterShape& parameter, const std::string& architecture);

}  // namespace chalk
