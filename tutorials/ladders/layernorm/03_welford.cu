// y = (x − mean) · rstd · weight + bias,  rstd = 1 / √(mean((x − mean)²) + eps), both moments in one reading
// Grid: one block per 4 rows, 128 threads.
// A warp owns a row; each lane every 32nd number of it, with a count, a mean and a sum of squares of its own until the end.
// Bytes: 12 a number. Bound: memory bandwidth.

#include "kernels/cuda/block.h"
#include "tutorials/ladders/ladder.h"

namespace chalk::ladder {
namespace {

constexpr int rows = 4;

// Σ x² − C · mean² would also need one reading only, but subtracts two numbers that may be large and nearly equal. Welford
// (1962) keeps the mean so far and m2 = Σ (x − mean)² around it; Chan's formula joins two such halves.
struct Moments {
  float count, mean, m2;
};
__device__ inline Moments add(Moments s, float x) {
  const float count = s.count + 1, delta = x - s.mean, mean = s.mean + delta / count;
  return {count, mean, s.m2 + delta * (x - mean)};
}
__device__ inline Moments join(Moments a, Moments b) {
  const float count = a.count + b.count, delta = b.mean - a.mean;
  if (count == 0) return a;
  return {count, a.mean + delta * (b.count / count),
          a.m2 + b.m2 + delta * delta * (a.count * b.count / count)};
}

__global__ void welford_kernel(float* y, const float* x, const float* weight, const float* bias, int N,
                               int C) {
  const int n = blockIdx.x * rows + threadIdx.x / 32, lane = threadIdx.x % 32;
  if (n >= N) return;
  const float* x_n = x + n * C;
  Moments s{0, 0, 0};
  for (int c = lane; c < C; c += 32) s = add(s, x_n[c]);
  for (int offset = 16; offset > 0; offset /= 2) {
    const float count = __shfl_down_sync(cuda::all_lanes, s.count, offset);
    const float mean = __shfl_down_sync(cuda::all_lanes, s.mean, offset);
    const float m2 = __shfl_down_sync(cuda::all_lanes, s.m2, offset);
    s = join(s, {count, mean, m2});
  }
  const float mean = __shfl_sync(cuda::all_lanes, s.mean, 0), m2 = __shfl_sync(cuda::all_lanes, s.m2, 0);
  const float rstd = 1.0f / sqrtf(m2 / float(C) + layernorm_eps);
  for (int c = lane; c < C; c += 32) y[n * C + c] = (x_n[c] - mean) * rstd * weight[c] + bias[c];
}

}  // namespace

void layernorm_03_welford(float* y, const float* x, const float* weight, const float* bias, int N, int C) {
  LAUNCH(welford_kernel, unsigned(cuda::ceil_divide(N, rows)), rows * 32, 0, cuda::stream(), y, x, weight,
         bias, N, C);
  cuda::check_launch("layernorm_03_welford");
}

}  // namespace chalk::ladder
