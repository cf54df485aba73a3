#pragma once
// A GGUF file as a model: its metadata become a configuration, its tensors get Hugging Face names and row
// order. Architectures llama (also Mistral), qwen2 and gpt2, as llama.cpp's converter writes them.
#include <string>

#include "models/io/gguf.h"
#include "models/io/weights.h"

namespace chalk {

// Quantised matrices are decoded to float. checkpoint.gguf_metadata keeps the whole metadata, tokenizer
// included.
Checkpoint read_gguf_model(const std::string& path);
Checkpoint gguf_to_checkpoint(const Gguf& file);

// Writes matrices as `matrix_type` (F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1; rows that are no multiple
// of 32 fall back to F16) and vectors as F32. The entries of `tokenizer` ("tokenizer.ggml...") are copied as
// they are; by default those of the checkpoint's own gguf_metadata.
void write_gguf_model(const std::string& path, const Checkpoint& checkpoint,
                      GgmlType matrix_type = GgmlType::F32);
void write_gguf_model(const std::string& path, const Checkpoint& checkpoint, GgmlType matrix_type,
                      const GgufMetadata& tokenizer);

}  // namespace chalk
