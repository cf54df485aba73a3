#pragma once
// The shared quantizer: from float weights to small integers and back. Every weight-quantization paper uses it, so
// that methods can be compared in one table on one model.
//
//   code = clamp(round(x / scale) + zero, minimum, maximum)        value = scale · (code − zero)
//
// A code is always unsigned, 0 ≤ code ≤ 2^bits − 1. Rounding is half to even: 0.5 -> 0, 1.5 -> 2, 2.5 -> 2.
// Four rules find scale and zero from the numbers x that share them (b = bits):
//
//   AbsMax          scale = max|x| / (2^(b−1) − 1)                     zero = 2^(b−1)       code 0 is not used
//   GptqSymmetric   scale = 2·max|x| / (2^b − 1)                       zero = 2^(b−1)
//   GptqAsymmetric  scale = (max(x,0) − min(x,0)) / (2^b − 1)          zero = round(−min(x,0) / scale)
//   AwqAsymmetric   scale = max(max x − min x, 1e-5) / (2^b − 1)       zero = clamp(−round(min x / scale), 0, 2^b − 1)
//
// Sources: AbsMax as in SmoothQuant and LLM.int8(); the others as in the GPTQ and AWQ authors' code.

#include <cstdint>
#include <vector>

namespace chalk {

enum class Grid { AbsMax, GptqSymmetric, GptqAsymmetric, AwqAsymmetric };

const char* grid_name(Grid grid);  // "absmax", "gptq-sym", "gptq-asym", "awq"

struct QuantizerOptions {
  int bits = 4;  // 1 … 8 (AbsMax: 2 … 8)
  Grid grid = Grid::GptqAsymmetric;
  // Inputs of one row that share a scale; −1: the whole row; 0: the whole matrix. The last group of a row may be shorter.
  int64_t group_size = -1;
  // Instead of the range of x, take the shrunk range whose Σ |value − x|^mse_norm is smallest (GPTQ's search): ranges
  // 1 − i/mse_steps of the full one for i < mse_max_shrink · mse_steps. The defaults try 1.00, 0.99, …, 0.21.
  bool mse_search = false;
  double mse_norm = 2.4;
  int mse_steps = 100;
  double mse_max_shrink = 0.8;
};

// The grid of one set of values.
struct Scale {
  float scale = 1;
  int32_t zero = 0;
  int32_t maximum = 15;  // 2^bits − 1
  int32_t minimum = 0;   // 1 for AbsMax, whose range is restricted to ±(2^(bits−1) − 1)
};

// The grid for the n values x. Throws Error when one of them is not finite, UsageError on impossible options.
Scale find_scale(const float* x, int64_t n, const QuantizerOptions& options);

int32_t encode(float x, const Scale& scale);  // NaN gives the smallest code
float decode(int32_t code, const Scale& scale);
// decode(encode(x)): x moved to the nearest point of the grid.
float round_to_grid(float x, const Scale& scale);

// A weight matrix as codes, in the readable form: one code a byte. Packing happens in the projections and the files.
struct QuantizedMatrix {
  int bits = 4;
  int64_t rows = 0, columns = 0;  // (out, in)
  int64_t group_size = 0;         // inputs that share a scale; = columns when there is one per row
  std::vector<uint8_t> codes;     // (rows, columns)
  std::vector<float> scales;      // (rows, groups)
  std::vector<uint8_t> zeros;     // (rows, groups)
  std::vector<int32_t>
      group_of;            // (columns) the group of each input; empty: input i is in group i / group_size
  bool one_scale = false;  // the whole matrix shares one scale, which is then repeated in `scales`

  int64_t groups() const { return group_size > 0 ? (columns + group_size - 1) / group_size : 0; }
  int64_t group(int64_t column) const { return group_of.empty() ? column / group_size : group_of[column]; }
  // Every zero is 2^(bits−1), so none needs to be stored.
  bool symmetric() const;
};

// A matrix of that shape with all codes, scales and zeros 0. Throws UsageError on impossible options.
QuantizedMatrix make_quantized_matrix(int64_t rows, int64_t columns, const QuantizerOptions& options);

// Each weight to the nearest grid point, one grid per tensor, row or group. w (rows, columns). Throws Error on a weight
// that is not finite, UsageError on impossible options.
QuantizedMatrix round_to_nearest(const float* w, int64_t rows, int64_t columns,
                                 const QuantizerOptions& options);

// (rows, columns)
std::vector<float> dequantize(const QuantizedMatrix& matrix);

// Throws Error when sizes, codes, zeros or groups do not fit together: for matrices that come from a file.
void validate(const QuantizedMatrix& matrix);

// What weights cost to store, in bits, nothing left out. Costs add up: a model's is the sum over its parameters.
struct StorageCost {
  int64_t weights = 0;  // how many numbers are represented
  double code_bits = 0;
  double scale_bits = 0;
  double zero_bits = 0;
  double float_bits = 0;  // parameters that stay float: embeddings, norms, biases, the head
  double index_bits = 0;  // the group of each input, when act-order shuffles them

  double total_bits() const { return code_bits + scale_bits + zero_bits + float_bits + index_bits; }
  double effective_bits() const { return weights > 0 ? total_bits() / double(weights) : 0; }
  StorageCost& operator+=(const StorageCost& other);
};

// Of one matrix: bits per code, scale_bits per scale, `bits` per zero (none when all are 2^(bits−1)).
StorageCost storage_cost(const QuantizedMatrix& matrix, int scale_bits = 16);
// Of `count` parameters that stay float.
StorageCost float_cost(int64_t count, int bits = 32);

}  // namespace chalk
