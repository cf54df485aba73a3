// step, zero, offset: from each set's range      y = step · R(clip(v)) + offset, v = (x − offset) / step
// dx += dy · [inside]      dstep += step_scale · Σ dy · (inside: R(v) − v; clipped: the bound)      doffset += Σ dy · [clipped]
// Grid: one block per set for what a set shares (range, dstep, doffset), each thread every blockDim-th number; one block per
// 1024 numbers else. Bytes: 4 a number for ranges, 8 forward, 12 to 16 backward. Bound: memory bandwidth; few long sets idle the GPU.

#include "kernels/cuda/block.h"
#include "kernels/fake_quant.h"
#include "kernels/philox.h"

namespace chalk::cuda {
namespace {

enum class Rule { Symmetric, Asymmetric, Range };

__device__ float at_least_min_step(float step) {
  return step < fake_quant_min_step ? fake_quant_min_step : step;
}

// Of G sets of n numbers, the one that number i is in. 64-bit division costs a GPU more than reading the number.
__device__ int64_t set_of(int64_t i, int64_t n) {
  return (i | n) >> 32 == 0 ? int64_t(uint32_t(i) / uint32_t(n)) : i / n;
}

// NaN is passed over: fminf and fmaxf give the other argument.
template <Rule rule>
__global__ void range_kernel(float* step, float* second, const float* x, int64_t n, float levels) {
  const int64_t g = blockIdx.x;
  float min = rule == Rule::Range ? INFINITY : 0.0f, max = -min;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    min = fminf(min, x[g * n + i]);
    max = fmaxf(max, x[g * n + i]);
  }
  min = -block_max(-min);
  max = block_max(max);
  if (threadIdx.x != 0) return;
  if (min > max) min = max = 0;  // an empty set
  const float s = at_least_min_step((rule == Rule::Symmetric ? fmaxf(-min, max) : max - min) / levels);
  step[g] = s;
  if (rule == Rule::Asymmetric) second[g] = rintf(-min / s);
  if (rule == Rule::Range) second[g] = min;
}

// One set's grid, and where a number falls on it.
struct Place {
  float step, offset, low, high;
  __device__ Place(const float* steps, const float* zero, const float* offsets, int64_t g, float low,
                   float high)
      : step(at_least_min_step(steps[g])),
        offset(offsets ? offsets[g] : 0.0f),
        low(zero ? low - zero[g] : low),
        high(zero ? high - zero[g] : high) {}
  __device__ float v(float x) const { return (x - offset) / step; }
  __device__ float value(float v) const {
    const float k = v <= low ? low : v >= high ? high : rintf(v);  // NaN takes the last branch and stays
    return step * k + offset;
  }
  // −1 below, 1 above, 0 inside, by the rule of `pass`.
  __device__ int clipped(float v, GradientPass pass) const {
    if (pass == GradientPass::All) return 0;
    const bool strict = pass == GradientPass::Inside;
    const float compared = strict ? v : rintf(v);
    if (strict ? compared <= low : compared < low) return -1;
    return (strict ? compared >= high : compared > high) ? 1 : 0;
  }
};

__global__ void forward_kernel(float* y, const float* x, const float* step, const float* zero,
                               const float* offset, int64_t count, int64_t n, float low, float high) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const Place place(step, zero, offset, set_of(i, n), low, high);
    y[i] = place.value(place.v(x[i]));
  }
}

__global__ void dx_kernel(float* dx, const float* dy, const float* x, const float* step, const float* zero,
                          const float* offset, int64_t count, int64_t n, float low, float high,
                          GradientPass pass) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const Place place(step, zero, offset, set_of(i, n), low, high);
    if (place.clipped(place.v(x[i]), pass) == 0) dx[i] += dy[i];
  }
}

__global__ void set_gradient_kernel(float* dstep, float* doffset, const float* dy, const float* x,
                                    const float* step, const float* zero, const float* offset, int64_t n,
                                    float low, float high, GradientPass pass, float step_scale) {
  const int64_t g = blockIdx.x;
  const Place place(step, zero, offset, g, low, high);
  float step_sum = 0, offset_sum = 0;
  for (int64_t i = g * n + threadIdx.x; i < (g + 1) * n; i += blockDim.x) {
    const float v = place.v(x[i]);
    const int side = place.clipped(v, pass);
    // dstep += step_scale · Σ dy · (inside: R(v) − v;  clipped: the bound)
    step_sum += dy[i] * (side < 0 ? place.low : side > 0 ? place.high : rintf(v) - v);
    if (side != 0) offset_sum += dy[i];
  }
  step_sum = block_sum(step_sum);
  offset_sum = block_sum(offset_sum);
  if (threadIdx.x != 0) return;
  if (dstep) dstep[g] += step_scale * step_sum;
  if (doffset) doffset[g] += offset_sum;
}

// A thread owns 4 numbers in a row of one set: they share the set's seed and one call of Philox.
__global__ void stochastic_kernel(float* y, const float* x, const float* step, const float* offset, int64_t G,
                                  int64_t n, float low, float high, uint64_t seed) {
  const int64_t fours = (n + 3) / 4;  // of a set
  const int64_t thread = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t g = thread / fours, four = thread % fours;
  if (g >= G) return;
  const auto set_words = philox(seed, uint64_t(g));  // derive_seed(seed, g)
  const uint64_t set_seed = uint64_t(set_words[2]) << 32 | set_words[3];
  const auto words = philox(set_seed, uint64_t(four));
  const Place place(step, nullptr, offset, g, low, high);
  for (int j = 0; j < 4 && four * 4 + j < n; ++j) {
    const int64_t i = g * n + four * 4 + j;
    // y = step · R(clip(v + u, low, high)) + offset
    y[i] = place.value(place.v(x[i]) + (uniform_of_word(words[size_t(j)]) - 0.5f));
  }
}

template <Rule rule>
void find_ranges(float* step, float* second, const float* x, int64_t G, int64_t n, int bits) {
  if (G == 0) return;
  const float levels = float((int64_t{1} << (rule == Rule::Symmetric ? bits - 1 : bits)) - 1);
  LAUNCH(range_kernel<rule>, unsigned(G), row_threads(n), 0, stream(), step, second, x, n, levels);
  check_launch("fake_quant range");
}

}  // namespace

void fake_quant_symmetric(float* step, const float* x, int64_t G, int64_t n, int bits) {
  find_ranges<Rule::Symmetric>(step, nullptr, x, G, n, bits);
}
void fake_quant_asymmetric(float* step, float* zero, const float* x, int64_t G, int64_t n, int bits) {
  find_ranges<Rule::Asymmetric>(step, zero, x, G, n, bits);
}
void fake_quant_range(float* step, float* offset, const float* x, int64_t G, int64_t n, int bits) {
  find_ranges<Rule::Range>(step, offset, x, G, n, bits);
}

void fake_quant_forward(float* y, const float* x, const float* step, const float* zero, const float* offset,
                        int64_t G, int64_t n, float low, float high) {
  if (G * n == 0) return;
  LAUNCH(forward_kernel, item_blocks(G * n), item_threads, 0, stream(), y, x, step, zero, offset, G * n, n,
         low, high);
  check_launch("fake_quant_forward");
}

void fake_quant_backward(float* dx, float* dstep, float* doffset, const float* dy, const float* x,
                         const float* step, const float* zero, const float* offset, int64_t G, int64_t n,
                         float low, float high, GradientPass pass, float step_scale) {
  if (G * n == 0) return;
  if (dx) {
    LAUNCH(dx_kernel, item_blocks(G * n), item_threads, 0, stream(), dx, dy, x, step, zero, offset, G * n, n,
           low, high, pass);
  }
  if (dstep || doffset) {
    LAUNCH(set_gradient_kernel, unsigned(G), row_threads(n), 0, stream(), dstep, doffset, dy, x, step, zero,
           offset, n, low, high, pass, step_scale);
  }
  check_launch("fake_quant_backward");
}

void fake_quant_stochastic(float* y, const float* x, const float* step, const float* offset, int64_t G,
                           int64_t n, float low, float high, uint64_t seed) {
  if (G * n == 0) return;
  const int64_t threads = G * ceil_divide(n, 4);
  LAUNCH(stochastic_kernel, unsigned(ceil_divide(threads, item_threads)), item_threads, 0, stream(), y, x,
         step, offset, G, n, low, high, seed);
  check_launch("fake_quant_stochastic");
}

}  // namespace chalk::cuda
