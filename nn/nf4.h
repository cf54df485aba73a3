#pragma once
// 4-bit block quantization with a code book (Dettmers et al. 2023, "QLoRA", arXiv 2305.14314): a block of 64 weights keeps
// its largest magnitude a, and each weight w the code of the number in the book that is nearest to w / a.
//
//   NF4   NormalFloat: 16 numbers made from quantiles of the normal distribution, so that weights that look normal
//         use the codes about equally often
//   FP4   a 4-bit float (1 sign, 2 exponent, 1 mantissa bit; the variant of the authors' library)
//   Int4  {−7 … 7} / 7
//
// Double quantization stores the a's themselves in 8 bits: what costs 32/64 = 0.5 bits per weight then costs 0.127.
// The product with such a matrix is kernels/nf4_matmul.h, the layer nn/nf4_linear.h.

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "autograd/tensor.h"
#include "kernels/nf4_matmul.h"

namespace chalk {

// ---- code books ----

enum class FourBit { NF4, FP4, Int4 };
const char* four_bit_name(FourBit type);               // "nf4", "fp4", "int4"
FourBit four_bit_by_name(const std::string& name);     // throws UsageError on an unknown name
const std::array<float, 16>& code_book(FourBit type);  // the number of each code; Int4 never produces code 0

// The code of the number nearest to x, |x| ≤ 1. Exactly between two numbers: the lower code of NF4 and Int4,
// the smaller magnitude of FP4. What is 0 in the book gets a code whose number is exactly 0.
uint8_t nearest_code(float x, FourBit type);

// The 8-bit code book of the second level, ascending: for i = 0 … 6 the midpoints of 2^i equal cells of [0.1, 1] times
// 10^(i−6), both signs; and 0 and 1. Fine near zero, coarse near one: a decimal float with a moving number of digits.
const std::array<float, 256>& dynamic_map();
uint8_t nearest_dynamic_code(float x);  // halfway: the lower code

// ---- the scales, doubly quantized ----

// a_k ≈ map[code_k] · scale_⌊k / block⌋ + mean
struct QuantizedScales {
  std::vector<uint8_t> codes;  // (n)
  std::vector<float> scales;   // (⌈n / block⌉) the largest |a − mean| of each block
  float mean = 0;  // of all a of the matrix, not of a block: they are positive, the map is symmetric
  int64_t block = 256;
};
QuantizedScales quantize_scales(const std::vector<float>& absmax, int64_t block);
std::vector<float> dequantize_scales(const QuantizedScales& scales);

// ---- the matrix ----

struct NF4Options {
  FourBit type = FourBit::NF4;
  int64_t block = 64;           // weights that share a scale; even. Larger: fewer bits, more error
  bool double_quantize = true;  // keep the scales in 8 bits
  int64_t absmax_block = 256;   // scales that share a second-level constant
};

// 4 + 32/64 = 4.5, doubly quantized 4 + 8/64 + 32/(64·256) = 4.127: the limit for large matrices, without the one mean.
double bits_per_weight(const NF4Options& options);

// A packed matrix, row-major (rows, columns). Its memory comes from the caching allocator and is shared by copies.
struct NF4Matrix {
  NF4Options options;
  int64_t rows = 0, columns = 0;
  std::shared_ptr<Storage> codes;          // ⌈n / 2⌉ bytes, two codes each, the even one in the high half
  std::shared_ptr<Storage> absmax;         // one float per block; null when doubly quantized
  std::shared_ptr<Storage> absmax_codes;   // one byte per block
  std::shared_ptr<Storage> absmax_scales;  // one float per absmax_block blocks
  float absmax_mean = 0;
  std::shared_ptr<Storage>
      tables;  // on cuda the book (16) and the dynamic map (256) for its kernels; else null

  NF4Matrix to(Device device) const;  // a copy on another device; *this if it is there already
  int64_t count() const { return rows * columns; }
  int64_t blocks() const { return (count() + options.block - 1) / options.block; }
  int64_t stored_bytes() const;  // exactly: codes and constants, the mean included; no tables
  NF4Weight view() const;        // for the kernels; valid as long as this matrix lives
};

// Blocks run on over the ends of rows; the last may be short. Throws Error on an odd or non-positive block, an empty
// matrix, or a weight that is not finite.
NF4Matrix quantize_nf4(const float* weight, int64_t rows, int64_t columns, const NF4Options& options,
                       Device device);
std::vector<float> dequantize(const NF4Matrix& matrix);  // (rows, columns)

}  // namespace chalk
