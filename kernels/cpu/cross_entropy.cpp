// Softmax and cross-entropy in one kernel, with SIMD. Contract: kernels/cross_entropy.h.

#include "kernels/cross_entropy.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {

void cross_entropy_forward(float* loss, float* log_sum, const float* logits, const int32_t* targets,
                           int32_t ignore_index, int64_t N, int64_t V) {
  parallel_for(N, grain_rows(math_grain, V), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const float* row = logits + n * V;
      const float max = simd::max(row, V);
      const simd::V max_v = simd::set(max);
      // log_sum = log Σ e^(logits − max)
      log_sum[n] = std::log(simd::sum(
          V, [&](simd::V x) { return simd::exp(x - max_v); }, row));
      // loss = log_sum − (logits[target] − max)
      loss[n] = targets[n] == ignore_index ? 0.0f : log_sum[n] - (row[targets[n]] - max);
    }
  });
}

void cross_entropy_backward(float* dlogits, const float* dloss, const float* logits, const float* log_sum,
                            const int32_t* targets, int32_t ignore_index, int64_t N, int64_t V) {
  parallel_for(N, grain_rows(math_grain, V), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      if (targets[n] == ignore_index) continue;
      const float* row = logits + n * V;
      const simd::V max_n = simd::set(simd::max(row, V));
      const simd::V log_sum_n = simd::set(log_sum[n]), dloss_n = simd::set(dloss[n]);
      // dlogits += dloss · e^(logits − max − log_sum)
      const auto f = [&](simd::V x) { return dloss_n * simd::exp((x - max_n) - log_sum_n); };
      simd::add_map(dlogits + n * V, V, f, row);
      // ... − dloss at the target
      dlogits[n * V + targets[n]] -= dloss[n];
    }
  });
}

}  // namespace chalk::cpu
