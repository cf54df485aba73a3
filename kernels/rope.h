#pragma once
// Rotary position embedding (Su et al. 2021): each pair of channels is turned by an angle that grows with the position.
//
//   angle = position · f_i,  f_i = theta^(−2i/D), i = 0 … D/2−1
//   y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin
//   pair (a, b) = (i, i + D/2)  half-split: Hugging Face, GPT-NeoX       (interleaved = false)
//               = (2i, 2i + 1)  interleaved: Meta, llama2.c, GGUF        (interleaved = true)
//
// Backward turns the gradient by −angle and adds (+=) into dx. cos and sin come from rope_table() below.

#include <cstdint>

namespace chalk {
// How positions beyond the training length are squeezed into the frequencies.
struct FrequencyScaling {
  enum class Type { None, Linear, Llama3 } type = Type::None;
  double factor = 1;
  double low_freq_factor = 1, high_freq_factor = 4;  // Llama3 only
  double original_context = 8192;                    // Llama3 only
};

// f_i for i < D/2, in double: for theta = 5e5 and long positions float angles are already wrong in the third digit.
// Llama3 (Llama-3.1 reference code): wavelength w = 2π/f; w < original/high: keep f; w > original/low: f/factor;
// between: s = (original/w − low) / (high − low), f' = (1 − s) · f/factor + s · f.
void rope_frequencies(double* frequencies, int64_t D, double theta, const FrequencyScaling& scaling);

// cos and sin of position · f_i: each (T, D/2).
void rope_table(float* cos, float* sin, const int32_t* positions, int64_t T, const double* frequencies,
                int64_t D);

namespace plain {
template <class T>
void rope_forward(T* y,          // (B, T, H, D)
                  const T* x,    // (B, T, H, D)
                  const T* cos,  // (T, D/2)
                  const T* sin,  // (T, D/2)
                  int64_t B, int64_t time, int64_t H, int64_t D, bool interleaved);
template <class T>
void rope_backward(T* dx, const T* dy, const T* cos, const T* sin, int64_t B, int64_t time, int64_t H,
                   int64_t D, bool interleaved);
}  // namespace plain

namespace cpu {
void rope_forward(float* y, const float* x, const float* cos, const float* sin, int64_t B, int64_t time,
                  int64_t H, int64_t D, bool interleaved);
void rope_backward(float* dx, const float* dy, const float* cos, const float* sin, int64_t B, int64_t time,
                   int64_t H, int64_t D, bool interleaved);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void rope_forward(float* y, const float* x, const float* cos, const float* sin, int64_t B, int64_t time,
                  int64_t H, int64_t D, bool interleaved);
void rope_backward(float* dx, const float* dy, const float* cos, const float* sin, int64_t B, int64_t time,
                   int64_t H, int64_t D, bool interleaved);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/rope.h"
