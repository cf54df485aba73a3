#pragma once
// AdamW (Loshchilov & Hutter 2019), one step of one parameter or of all, in place, one pass over memory.
//
//   g = grad_scale · grad
//   m = β₁ m + (1 − β₁) g        v = β₂ v + (1 − β₂) g²
//   w = w − lr · weight_decay · w                              (decoupled decay)
//   w = w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
//
// All arrays hold `count` numbers; t is the 1-based step. adamw_step_all works through a list that lies on the host: its
// entries say where the arrays are, each with its own weight_decay instead of the step's. On a GPU that is one launch: a model
// has hundreds of small parameters, and a launch costs more than most of them. workspace holds adamw_workspace() bytes on that
// backend (64-byte aligned); null when that is 0.

#include <cstdint>

namespace chalk {
struct AdamWStep {
  float lr, beta1, beta2, eps, weight_decay;
  int64_t t;
  float grad_scale = 1;  // the clipping coefficient
};

template <class T>
struct AdamWParameter {
  T *w, *m, *v;  // (count)
  const T* grad;
  int64_t count;
  float weight_decay;
};

namespace plain {
template <class T>
void adamw_step(T* w, T* m, T* v, const T* grad, int64_t count, const AdamWStep& step);
template <class T>
void adamw_step_all(const AdamWParameter<T>* list, int64_t length, const AdamWStep& step, void* workspace);
inline int64_t adamw_workspace(int64_t /*length*/) {
  return 0;
}
}  // namespace plain

namespace cpu {
void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step);
void adamw_step_all(const AdamWParameter<float>* list, int64_t length, const AdamWStep& step,
                    void* workspace);
int64_t adamw_workspace(int64_t length);
}  // namespace cpu

namespace cuda {  // all pointers but `list` are device pointers
void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step);
void adamw_step_all(const AdamWParameter<float>* list, int64_t length, const AdamWStep& step,
                    void* workspace);
int64_t adamw_workspace(int64_t length);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/adamw.h"
