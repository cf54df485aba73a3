#pragma once
// How ggml stores numbers in GGUF files: plain floats, and blocks of quantised weights with their own scales.
// Source: ggml's block definitions and reference quantizers (ggml-common.h, ggml-quants.c).
//
//   type  weights  bytes  layout                                                     value
//   Q8_0       32     34  half d; int8 q[32]                                         d·q
//   Q4_0       32     18  half d; 32 nibbles                                         d·(q − 8)
//   Q4_1       32     20  half d, m; 32 nibbles                                      d·q + m
//   Q5_0       32     22  half d; 32 high bits; 32 nibbles                           d·(q − 16)
//   Q5_1       32     24  half d, m; 32 high bits; 32 nibbles                        d·q + m
//   Q2_K      256     84  16 x (4-bit scale, 4-bit min); 2-bit q; half d, dmin       d·scale·q − dmin·min
//   Q3_K      256    110  high bits; 2-bit q; 16 x 6-bit scale; half d               d·(scale − 32)·(q − 4)
//   Q4_K      256    144  half d, dmin; 8 x (6-bit scale, 6-bit min); nibbles        d·scale·q − dmin·min
//   Q5_K      256    176  as Q4_K, with 256 high bits before the nibbles             d·scale·q − dmin·min
//   Q6_K      256    210  nibbles; 2 high bits each; 16 x int8 scale; half d         d·scale·(q − 32)
#include <cstdint>
#include <span>

namespace chalk {

// The numbers are those stored in the file.
enum class GgmlType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q5_0 = 6,
  Q5_1 = 7,
  Q8_0 = 8,
  Q2_K = 10,
  Q3_K = 11,
  Q4_K = 12,
  Q5_K = 13,
  Q6_K = 14,
  I8 = 24,
  I16 = 25,
  I32 = 26,
  I64 = 27,
  F64 = 28,
  BF16 = 30
};

struct GgmlTypeInfo {
  GgmlType type;
  const char* name;
  int64_t block_size;  // weights in one block; 1 for plain numbers
  int64_t block_bytes;
};

// Null for a number that is none of the above.
const GgmlTypeInfo* find_ggml_type(uint32_t number);
const GgmlTypeInfo& ggml_type_info(GgmlType type);

// Decodes whole blocks: weights.size() is a multiple of the block size and bytes holds exactly that many
// blocks. Throws Error for the integer types and F64.
void decode_blocks(GgmlType type, std::span<const uint8_t> bytes, std::span<float> weights);

// Encodes whole blocks as F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0 or Q5_1 with ggml's rounding. Throws Error
// for other types. The weights must be finite for the quantised types.
void encode_blocks(GgmlType type, std::span<const float> weights, std::span<uint8_t> bytes);

}  // namespace chalk
