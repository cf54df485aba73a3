// loss_n = log Σ_v e^(logits_nv − max_n) − (logits_n,target − max_n)      dlogits_nv += dloss_n · (e^(logits_nv − max_n − log_sum_n) − [v = target_n])
// Grid: one block per row of V logits, 32 to 256 threads; each thread owns every blockDim-th logit.
// Forward is one pass: each thread keeps (max, sum relative to it) of what it has seen; pairs are merged in a fixed order.
// Bytes: forward 4 a logit, backward 12 (plus a second reading, from L2 for long rows). Bound: memory bandwidth.

#include "kernels/cross_entropy.h"
#include "kernels/cuda/block.h"

namespace chalk::cuda {
namespace {

// max of some numbers, and Σ e^(x − max) over them. Nothing seen yet: (−∞, 0).
struct MaxSum {
  float max, sum;
};
// Associative and commutative but for rounding (Milakov & Gimelshein 2018).
__device__ inline MaxSum merge(MaxSum a, MaxSum b) {
  const float max = fmaxf(a.max, b.max);
  if (a.max == -INFINITY && b.max == -INFINITY) return {max, a.sum + b.sum};  // −∞ − (−∞) would be NaN
  return {max, a.sum * expf(a.max - max) + b.sum * expf(b.max - max)};
}
__device__ inline MaxSum warp_merge(MaxSum a) {
  for (int offset = 16; offset > 0; offset /= 2) {
    a = merge(a, {__shfl_xor_sync(all_lanes, a.max, offset), __shfl_xor_sync(all_lanes, a.sum, offset)});
  }
  return a;
}

__device__ inline MaxSum row_max_sum(const float* x, int64_t V) {
  SHARED_ARRAY(float, max_of_warp, 32);
  SHARED_ARRAY(float, sum_of_warp, 32);
  MaxSum a{-INFINITY, 0};
  for (int64_t v = threadIdx.x; v < V; v += blockDim.x) a = merge(a, {x[v], 1.0f});
  a = warp_merge(a);
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (warps == 1) return a;
  if (lane == 0) {
    max_of_warp[warp] = a.max;
    sum_of_warp[warp] = a.sum;
  }
  __syncthreads();
  return warp_merge(lane < warps ? MaxSum{max_of_warp[lane], sum_of_warp[lane]} : MaxSum{-INFINITY, 0});
}

__global__ void cross_entropy_forward_kernel(float* loss, float* log_sum, const float* logits,
                                             const int32_t* targets, int32_t ignore_index, int64_t V) {
  const int64_t n = blockIdx.x;
  const MaxSum row = row_max_sum(logits + n * V, V);
  if (threadIdx.x != 0) return;
  const float log_sum_n = logf(row.sum);
  log_sum[n] = log_sum_n;
  // loss_n = log_sum_n − (logits_n,target − max_n)
  loss[n] = targets[n] == ignore_index ? 0.0f : log_sum_n - (logits[n * V + targets[n]] - row.max);
}

__global__ void cross_entropy_backward_kernel(float* dlogits, const float* dloss, const float* logits,
                                              const float* log_sum, const int32_t* targets,
                                              int32_t ignore_index, int64_t V) {
  const int64_t n = blockIdx.x;
  const int32_t target = targets[n];
  if (target == ignore_index) return;  // the same for all threads of the block
  const float* logits_n = logits + n * V;
  float largest = -INFINITY;
  for (int64_t v = threadIdx.x; v < V; v += blockDim.x) largest = fmaxf(largest, logits_n[v]);
  const float max = block_max(largest), scale = dloss[n], log_sum_n = log_sum[n];
  for (int64_t v = threadIdx.x; v < V; v += blockDim.x) {
    const float probability = expf(logits_n[v] - max - log_sum_n);
    // dlogits_nv += dloss_n · (e^(logits_nv − max_n − log_sum_n) − [v = target_n])
    dlogits[n * V + v] += scale * (probability - (v == target ? 1.0f : 0.0f));
  }
}

}  // namespace

void cross_entropy_forward(float* loss, float* log_sum, const float* logits, const int32_t* targets,
                           int32_t ignore_index, int64_t N, int64_t V) {
  if (N == 0) return;
  LAUNCH(cross_entropy_forward_kernel, unsigned(N), row_threads(V), 0, stream(), loss, log_sum, logits,
         targets, ignore_index, V);
  check_launch("cross_entropy_forward");
}

void cross_entropy_backward(float* dlogits, const float* dloss, const float* logits, const float* log_sum,
                            const int32_t* targets, int32_t ignore_index, int64_t N, int64_t V) {
  if (N == 0) return;
  LAUNCH(cross_entropy_backward_kernel, unsigned(N), row_threads(V), 0, stream(), dlogits, dloss, logits,
         log_sum, targets, ignore_index, V);
  check_launch("cross_entropy_backward");
}

}  // namespace chalk::cuda
