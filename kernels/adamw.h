#pragma once
// AdamW (Loshchilov & Hutter 2019), one step of one parameter, in place, one pass over memory.
//
//   g = grad_scale · grad
//   m = β₁ m + (1 − β₁) g        v = β₂ v + (1 − β₂) g²
//   w = w − lr · weight_decay · w                              (decoupled decay)
//   w = w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
//
// All arrays hold `count` numbers; t is the 1-based step.

#include <cstdint>

namespace chalk {
struct AdamWStep {
  float lr, beta1, beta2, eps, weight_decay;
  int64_t t;
  float grad_scale = 1;  // the clipping coefficient
};

namespace plain {
template <class T>
void adamw_step(T* w, T* m, T* v, const T* grad, int64_t count, const AdamWStep& step);
}  // namespace plain

namespace cpu {
void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/adamw.h"
