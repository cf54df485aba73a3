#pragma once
// Matrix product with a weight of small integers:  y (M, N)  [+]=  x (M, K) · Ŵᵀ + bias (N),   Ŵ (N, K)
//
//   ŵ_nk = unit · scale_ng · (code_nk − zero_ng)       g = the group of input k
//
// Only the weight is quantized; x and the arithmetic are float. Decoding one token reads every weight once, so it is as
// fast as memory: 4 bits instead of 32 are read 8 times as fast, and unpacked in registers on the way.
//
//   y  [+]= x · Ŵᵀ + bias                              dx += dy · Ŵ
//
// Layout. A row of codes is a row of *positions*. Group g owns positions g · stride … (g + 1) · stride − 1; those that no
// input fills are padding. Which input sits at a position is said by input_of; null means input p at position p.
//
//   A block of 16 bytes holds 8/bits slices of 16 positions. Slice s lies in bits bits·s … bits·(s + 1) − 1 of the bytes:
//
//            byte 0              byte 1                     byte 15
//      ┌─────────┬─────────┬─────────┬─────────┐     ┌─────────┬─────────┐
//      │ pos 16  │ pos 0   │ pos 17  │ pos 1   │  …  │ pos 31  │ pos 15  │     4 bits (high nibble left)
//      └─────────┴─────────┴─────────┴─────────┘     └─────────┴─────────┘
//
// so one shift and one mask turn 16 bytes into 16 neighbouring codes, whatever the vector's width. (4 bits: the order of
// GGUF's Q4_0.) Widths are 1, 2, 4 and 8 bits. Any other is a sum of *planes*: 3-bit codes are a plane of 2 bits plus a
// plane of 1 bit whose unit is 4; the caller runs one product per plane. Padding has code 0 and meets x = 0.
//
// workspace holds group_quant_matmul_workspace(w, M) bytes on that backend (64-byte aligned); null when that is 0.

#include <cstdint>

#include "kernels/half.h"

namespace chalk {

// A view: nn/group_quant_linear.h owns the numbers. (constexpr also lets a GPU kernel call its functions.)
struct GroupQuantWeight {
  int64_t N = 0, K = 0;              // (out, in)
  int bits = 4;                      // 1, 2, 4 or 8
  int64_t groups = 1;                // of a row
  int64_t stride = 16;               // positions of a group: see group_positions()
  const uint8_t* codes = nullptr;    // (N, row_bytes)
  const uint16_t* scales = nullptr;  // (N, groups), half precision
  const uint8_t* zeros = nullptr;    // (N, groups); null: every zero is `zero`
  int32_t zero = 8;                  // used when zeros is null
  float unit = 1;                    // a power of two: 2^(bits of the planes below this one)
  const int32_t* input_of =
      nullptr;  // (positions) input at each position, −1 for padding; null: position p is input p

  constexpr int64_t block() const { return 16 * (8 / bits); }  // positions in 16 bytes
  constexpr int64_t positions() const { return (groups * stride + block() - 1) / block() * block(); }
  constexpr int64_t row_bytes() const { return positions() * bits / 8; }
  constexpr int64_t input_at(int64_t position) const {  // −1: padding
    if (input_of) return input_of[position];
    return position < K ? position : -1;
  }
  // Positions of the last group that lie behind the others' stride are padding too.
  int64_t group_at(int64_t position) const {
    return position / stride < groups ? position / stride : groups - 1;
  }
  constexpr int32_t code(int64_t n, int64_t position) const {
    const int64_t in_block = position % block();
    const uint8_t byte = codes[n * row_bytes() + position / block() * 16 + in_block % 16];
    return byte >> (bits * (in_block / 16)) & ((1 << bits) - 1);
  }
  // Exact in float: the scale has 11 significant bits, code − zero at most 9, and unit is a power of two.
  float value(int64_t n, int64_t position) const {
    const int64_t at = n * groups + group_at(position);
    return unit * half_to_float(scales[at]) * float(code(n, position) - (zeros ? zeros[at] : zero));
  }
};

// The stride of a group of `size` inputs: whole slices, and either whole blocks or a share of one that divides it, so
// that a group never straddles two blocks. Nothing is wasted for 4 bits and groups of 16, 32, 64, 128, …
inline int64_t group_positions(int64_t size, int bits) {
  const int64_t slices = (size + 15) / 16, slices_of_block = 8 / bits;
  if (slices >= slices_of_block)
    return (slices + slices_of_block - 1) / slices_of_block * slices_of_block * 16;
  int64_t share = 1;
  while (share < slices) share *= 2;
  return share * 16;
}

// Puts `code` (below 2^bits) at a position of a row of zeroed codes.
inline void put_code(uint8_t* row, int bits, int64_t position, int32_t code) {
  const int64_t block = 16 * (8 / bits), in_block = position % block;
  row[position / block * 16 + in_block % 16] |= uint8_t(code << (bits * (in_block / 16)));
}

namespace plain {
template <class T>
void group_quant_matmul(T* y, const T* x, const GroupQuantWeight& w, const T* bias, int64_t M,
                        bool accumulate, T* workspace);
// dx (M, K) += dy (M, N) · Ŵ
template <class T>
void group_quant_matmul_dx(T* dx, const T* dy, const GroupQuantWeight& w, int64_t M, T* workspace);
inline int64_t group_quant_matmul_workspace(const GroupQuantWeight&, int64_t) {
  return 0;
}
}  // namespace plain

namespace cpu {
void group_quant_matmul(float* y, const float* x, const GroupQuantWeight& w, const float* bias, int64_t M,
                        bool accumulate, float* workspace);
void group_quant_matmul_dx(float* dx, const float* dy, const GroupQuantWeight& w, int64_t M,
                           float* workspace);
int64_t group_quant_matmul_workspace(const GroupQuantWeight& w, int64_t M);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers, the view's too; its codes begin on a multiple of 4 bytes
void group_quant_matmul(float* y, const float* x, const GroupQuantWeight& w, const float* bias, int64_t M,
                        bool accumulate, float* workspace);
void group_quant_matmul_dx(float* dx, const float* dy, const GroupQuantWeight& w, int64_t M,
                           float* workspace);
int64_t group_quant_matmul_workspace(const GroupQuantWeight& w, int64_t M);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/group_quant_matmul.h"
