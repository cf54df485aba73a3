#pragma once
// Softmax and cross-entropy with loops.
// Contract: kernels/cross_entropy.h. Derivation: docs/derivations/cross_entropy.md.

#include "kernels/plain/scalar.h"
#include "kernels/softmax.h"

namespace chalk::plain {

template <class T>
void cross_entropy_forward(T* loss, T* lse, const T* logits, const int32_t* targets, int32_t ignore_index,
                           int64_t N, int64_t V) {
  for (int64_t n = 0; n < N; ++n) {
    const T* logits_n = logits + n * V;
    const Wide<T> max = row_max(logits_n, V);
    // lse_n = max_v + log Σ_v e^(logits_nv − max_v)
    const Wide<T> lse_n = max + std::log(sum_exp(logits_n, max, V));
    lse[n] = T(lse_n);

    // loss_n = lse_n − logits_n,target
    const bool ignored = targets[n] == ignore_index;
    loss[n] = ignored ? T(0) : T(lse_n - Wide<T>(logits_n[targets[n]]));
  }
}

template <class T>
void cross_entropy_backward(T* dlogits, const T* dloss, const T* logits, const T* lse, const int32_t* targets,
                            int32_t ignore_index, int64_t N, int64_t V) {
  for (int64_t n = 0; n < N; ++n) {
    if (targets[n] == ignore_index) continue;
    for (int64_t v = 0; v < V; ++v) {
      const Wide<T> probability = std::exp(Wide<T>(logits[n * V + v]) - Wide<T>(lse[n]));
      const double is_target = v == targets[n] ? 1 : 0;
      // dlogits_nv += dloss_n · (e^(logits_nv − lse_n) − [v = target_n])
      dlogits[n * V + v] += T(Wide<T>(dloss[n]) * (probability - is_target));
    }
  }
}

}  // namespace chalk::plain
