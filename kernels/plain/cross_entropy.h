#pragma once
// Softmax and cross-entropy with loops.
// Contract: kernels/cross_entropy.h. Derivation: docs/derivations/cross_entropy.md.

#include "kernels/plain/scalar.h"
#include "kernels/softmax.h"

namespace chalk::plain {

template <class T>
void cross_entropy_forward(T* loss, T* log_sum, const T* logits, const int32_t* targets, int32_t ignore_index,
                           int64_t N, int64_t V) {
  for (int64_t n = 0; n < N; ++n) {
    const T* logits_n = logits + n * V;
    const Wide<T> max = row_max(logits_n, V);
    // log_sum_n = log Σ_v e^(logits_nv − max_n)
    const Wide<T> log_sum_n = std::log(sum_exp(logits_n, max, V));
    log_sum[n] = T(log_sum_n);

    // loss_n = log_sum_n − (logits_n,target − max_n)
    const bool ignored = targets[n] == ignore_index;
    loss[n] = ignored ? T(0) : T(log_sum_n - (Wide<T>(logits_n[targets[n]]) - max));
  }
}

template <class T>
void cross_entropy_backward(T* dlogits, const T* dloss, const T* logits, const T* log_sum,
                            const int32_t* targets, int32_t ignore_index, int64_t N, int64_t V) {
  for (int64_t n = 0; n < N; ++n) {
    if (targets[n] == ignore_index) continue;
    const T* logits_n = logits + n * V;
    const Wide<T> max = row_max(logits_n, V);
    for (int64_t v = 0; v < V; ++v) {
      const Wide<T> probability = std::exp(Wide<T>(logits_n[v]) - max - Wide<T>(log_sum[n]));
      const double is_target = v == targets[n] ? 1 : 0;
      // dlogits_nv += dloss_n · (e^(logits_nv − max_n − log_sum_n) − [v = target_n])
      dlogits[n * V + v] += T(Wide<T>(dloss[n]) * (probability - is_target));
    }
  }
}

}  // namespace chalk::plain
