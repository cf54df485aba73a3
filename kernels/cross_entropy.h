#pragma once
// Softmax and cross-entropy in one kernel: the probabilities are never stored.
//
//   log_sum_n = log Σ_v e^(logits_nv − max_n)      (natural log)
//   loss_n = log_sum_n − (logits_n,target − max_n)
//   dlogits_nv += dloss_n · (e^(logits_nv − max_n − log_sum_n) − [v = target_n])
//
// Backward looks for the maximum again instead of storing max + log_sum in one float: at logits of several
// hundred that sum would be rounded by 1e-5, and every probability with it. A row whose target equals
// `ignore_index` has loss 0 and no gradient. Targets are in [0, V) otherwise (checked above).

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void cross_entropy_forward(T* loss,                 // (N)
                           T* log_sum,              // (N) log Σ e^(logits − max) of each row, for backward
                           const T* logits,         // (N, V)
                           const int32_t* targets,  // (N)
                           int32_t ignore_index, int64_t N, int64_t V);
template <class T>
void cross_entropy_backward(T* dlogits,      // (N, V)
                            const T* dloss,  // (N)
                            const T* logits, const T* log_sum, const int32_t* targets, int32_t ignore_index,
                            int64_t N, int64_t V);
}  // namespace plain

namespace cpu {
void cross_entropy_forward(float* loss, float* log_sum, const float* logits, const int32_t* targets,
                           int32_t ignore_index, int64_t N, int64_t V);
void cross_entropy_backward(float* dlogits, const float* dloss, const float* logits, const float* log_sum,
                            const int32_t* targets, int32_t ignore_index, int64_t N, int64_t V);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void cross_entropy_forward(float* loss, float* log_sum, const float* logits, const int32_t* targets,
                           int32_t ignore_index, int64_t N, int64_t V);
void cross_entropy_backward(float* dlogits, const float* dloss, const float* logits, const float* log_sum,
                            const int32_t* targets, int32_t ignore_index, int64_t N, int64_t V);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/cross_entropy.h"
