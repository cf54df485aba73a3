#pragma once
// A trained model as plain data, whatever file format it came from: configuration plus named float arrays.
//
// Names are Hugging Face's without the leading "transformer." or "model." ("h.0.attn.c_attn.weight",
// "layers.0.self_attn.q_proj.weight", "lm_head.weight"). Every matrix is (out, in), also GPT-2's four that
// Hugging Face stores as (in, out). LLaMA's query and key rows are in the half-split rotary order.
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/gpt2_config.h"
#include "models/io/gguf_metadata.h"
#include "models/llama_config.h"
#include "nn/quantizer.h"

namespace chalk {

struct NamedArray {
  std::string name;
  std::vector<int64_t> shape;  // row-major, slowest first
  std::vector<float> data;     // product(shape) numbers
};

// A projection stored as codes, scales and zeros: what takes the place of the array "<slot>.weight".
struct QuantizedWeight {
  std::string slot;  // "layers.0.self_attn.q_proj"
  QuantizedMatrix matrix;
};

struct Checkpoint {
  std::string architecture;  // "gpt2" or "llama" (also Mistral and Qwen2): which configuration below counts
  GPT2Config gpt2;
  LlamaConfig llama;
  std::vector<NamedArray> weights;  // exactly parameter_shapes(config), in that order, but for:
  std::vector<QuantizedWeight> quantized;  // of a GPTQ or AWQ folder: their arrays are not in `weights`
  std::map<std::string, std::vector<float>> input_scales;  // slot -> what its input is divided by first (AWQ, GPT-2)
  GgufMetadata gguf_metadata;       // of a .gguf file: holds its tokenizer; otherwise empty
  std::string path;                 // where it was read from

  // Throws Error naming the missing array.
  const NamedArray& at(const std::string& name) const;
};

// Reads a Hugging Face folder, a llama2.c .bin (version 0) or a GGUF model, told apart by what is there, not
// by name. Throws FileError: every length, name and shape in the file is checked against its configuration
// before it is used.
Checkpoint read_checkpoint(const std::string& path);

// Puts every quantized projection back as a float array, and input scales into the columns they divide: what a writer of
// another format needs.
void dequantize_weights(Checkpoint& checkpoint);

// The parameters that `checkpoint`'s configuration asks for.
std::vector<ParameterShape> parameter_shapes(const Checkpoint& checkpoint);

// Throws FileError(path) unless `found` has exactly the names and shapes of `expected` (in any order); the
// message lists the first missing, unexpected and differently shaped ones.
void check_parameters(const std::vector<ParameterShape>& expected, const std::vector<ParameterShape>& found,
                      const std::string& path);

// The same for a checkpoint about to be written; also the number of floats of every array. Throws Error.
void check_weights(const Checkpoint& checkpoint);

// Rotary pairs of each head's rows: Meta, llama2.c and GGUF store pair i in rows 2i and 2i+1 (interleaved),
// Hugging Face in rows i and i + D/2 (half-split). `rows` is (heads·D, columns); D is head_size. Exact
// inverses of each other.
std::vector<float> interleaved_to_half_split(std::span<const float> rows, int64_t heads, int64_t head_size,
                                             int64_t columns);
std::vector<float> half_split_to_interleaved(std::span<const float> rows, int64_t heads, int64_t head_size,
                                             int64_t columns);

// (rows, columns) -> (columns, rows).
std::vector<float> transposed(std::span<const float> matrix, int64_t rows, int64_t columns);

}  // namespace chalk
