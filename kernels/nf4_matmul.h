#pragma once
// Products with a frozen weight that is stored in 4 bits per number (Dettmers et al. 2023, "QLoRA", sections 2 and 3).
//
//   forward    y (N, out)   = x (N, in) · weightᵀ + bias (out)
//   backward   dx (N, in)  += dy (N, out) · weight                 the weight itself never gets a gradient
//
//   weight_i = book[code_i] · scale_⌊i / block⌋,   i = row · in + column: blocks run on over the ends of rows
//   scale_k  = absmax_k                                                   float constants, or, doubly quantized:
//   scale_k  = map[absmax_code_k] · absmax_scale_⌊k / absmax_block⌋ + absmax_mean
//
// Two codes to a byte, the even one in the high half. bias may be null. workspace holds nf4_matmul_workspace() bytes
// on that backend (64-byte aligned); null when that is 0. out and in are at least 1, N may be 0.

#include <cstdint>

namespace chalk {

// A view of such a weight: nothing is owned. nn/nf4.h makes and owns it.
struct NF4Weight {
  int64_t out = 0, in = 0;
  int64_t block = 64;                     // numbers that share a scale; even
  const uint8_t* codes = nullptr;         // (⌈out·in / 2⌉)
  const float* book = nullptr;            // (16) the number of each code
  const float* absmax = nullptr;          // (blocks), or null: then the four below hold
  const uint8_t* absmax_codes = nullptr;  // (blocks)
  const float* absmax_scales = nullptr;   // (⌈blocks / absmax_block⌉)
  const float* map = nullptr;             // (256) the dynamic 8-bit map
  int64_t absmax_block = 256;
  float absmax_mean = 0;
};

// scale_k of the formulas above, in float with one rounding per operation on every backend.
inline float nf4_scale(const NF4Weight& w, int64_t k) {
  if (w.absmax) return w.absmax[k];
  const float scaled = w.map[w.absmax_codes[k]] * w.absmax_scales[k / w.absmax_block];
  return scaled + w.absmax_mean;
}

// code_i: the even one of two is in the high half of the byte.
constexpr int nf4_code(const uint8_t* codes, int64_t i) {
  return i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15;
}

namespace plain {
template <class T>
void nf4_matmul_forward(T* y, const T* x, const NF4Weight& weight, const T* bias, int64_t N, T* workspace);
template <class T>
void nf4_matmul_backward(T* dx, const T* dy, const NF4Weight& weight, int64_t N, T* workspace);
// y (count) = the numbers first … first + count − 1 of the weight
template <class T>
void nf4_dequantize(T* y, const NF4Weight& weight, int64_t first, int64_t count);
inline int64_t nf4_matmul_workspace(const NF4Weight&, int64_t /*N*/) {
  return 0;
}
}  // namespace plain

namespace cpu {
void nf4_matmul_forward(float* y, const float* x, const NF4Weight& weight, const float* bias, int64_t N,
                        float* workspace);
void nf4_matmul_backward(float* dx, const float* dy, const NF4Weight& weight, int64_t N, float* workspace);
void nf4_dequantize(float* y, const NF4Weight& weight, int64_t first, int64_t count);
int64_t nf4_matmul_workspace(const NF4Weight& weight, int64_t N);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers, the view's too; its codes begin on a multiple of 4 bytes
void nf4_matmul_forward(float* y, const float* x, const NF4Weight& weight, const float* bias, int64_t N,
                        float* workspace);
void nf4_matmul_backward(float* dx, const float* dy, const NF4Weight& weight, int64_t N, float* workspace);
void nf4_dequantize(float* y, const NF4Weight& weight, int64_t first, int64_t count);
int64_t nf4_matmul_workspace(const NF4Weight& weight, int64_t N);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/nf4_matmul.h"
