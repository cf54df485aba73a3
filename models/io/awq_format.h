#pragma once
// Weights of 4 bits as AWQ checkpoints store them: the "gemm" layout of AutoAWQ, which transformers and vLLM read, and the
// layout of llm-awq's second kernel. Both hold the same codes, scales and zeros (nn/quantizer.h) in another order; which
// order, is said once, by the functions that end in _place.
//
// gemm, all little-endian, (in, out) unlike Chalk's (out, in):
//   NAME.qweight  int32 (in, out/8)      eight outputs of one input in a word; output 8c + k sits in nibble
//                                        0 4 1 5 2 6 3 7 [k], nibble 0 in the lowest bits
//   NAME.qzeros   int32 (in/g, out/8)    zeros in the same order, as they are (GPTQ's older files store zero − 1)
//   NAME.scales   fp16  (in/g, out)
// Why that order: a GPU turns nibbles n and n + 4 of a word into two halves with one mask and one "or", and gets
// outputs (0, 1), (2, 3), (4, 5), (6, 7) as neighbours.
//
// llm-awq v2:
//   qweight       int16 (out/4, in)      four nibbles of one output in a word; see awq_v2_place
//   scales        fp16  (padded groups, out)
//   scaled_zeros  fp16  (padded groups, out)   −zero · scale, so that value = code · scale + scaled_zero

#include <cstdint>
#include <string>
#include <vector>

#include "nn/quantizer.h"

namespace chalk {

// Where the 4-bit code of weight (row, column) = (output, input) lives: a word of a row-major array of words.
struct PackedPlace {
  int64_t word_row = 0, word_column = 0;
  int nibble = 0;
  int shift() const { return 4 * nibble; }
};

PackedPlace awq_gemm_place(int64_t row, int64_t column);
// Inside every 32 inputs k = 8a + 2b + c (a, b < 4; c < 2) stands at 8b + 4c + a; then four rows take turns, 64 inputs each:
// the codes lie in the order (out/4, in/64, 4, 64), four to a word.
PackedPlace awq_v2_place(int64_t row, int64_t column);

// What does not fit a layout, in words: "out = 172 is no multiple of 8"; empty when the matrix fits.
std::string awq_gemm_obstacle(const QuantizedMatrix& matrix);
std::string awq_v2_obstacle(const QuantizedMatrix& matrix);

struct AwqGemm {
  int64_t rows = 0, columns = 0, group_size = 0;  // (out, in)
  std::vector<int32_t> qweight;                   // (columns, rows/8)
  std::vector<int32_t> qzeros;                    // (groups, rows/8)
  std::vector<uint16_t> scales;                   // (groups, rows), fp16
};

struct AwqV2 {
  int64_t rows = 0, columns = 0, group_size = 0;
  std::vector<int16_t> qweight;        // (rows/4, columns)
  std::vector<uint16_t> scales;        // (padded groups, rows), fp16
  std::vector<uint16_t> scaled_zeros;  // (padded groups, rows), fp16

  int64_t padded_groups() const;  // what the kernel's loads need: a multiple of 8, 16 (g = 64) or 32 (g = 32)
};

// Throw UsageError saying why when the matrix does not fit. Scales are rounded to fp16; round_scales_to_half() makes that
// exact beforehand.
AwqGemm pack_awq_gemm(const QuantizedMatrix& matrix);
AwqV2 pack_awq_v2(const QuantizedMatrix& matrix);
// Throw Error when array sizes do not belong together or a scale is not finite: the arrays may come from a file.
QuantizedMatrix unpack_awq_gemm(const AwqGemm& packed);
QuantizedMatrix unpack_awq_v2(const AwqV2& packed);

// The scales that a file will hold, and for each weight the nearest code on that grid. weight (rows, columns).
void round_scales_to_half(QuantizedMatrix& matrix, const std::vector<float>& weight);

// A few lines: array, word, nibble and shift of weight (row, column) of a (rows, columns) matrix in AutoAWQ's, llm-awq's and
// GPTQ's packing, and of its scale and zero. Throws UsageError when it is outside, or the group does not divide `columns`.
std::string explain_packing(int64_t row, int64_t column, int64_t rows, int64_t columns, int64_t group_size);

}  // namespace chalk
