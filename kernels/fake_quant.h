#pragma once
// Fake quantization: numbers are rounded to a grid of few values and stay floats, so that a network is trained while its
// forward pass already sees the rounding. Learned steps: LSQ (Esser et al. 2020, arXiv 1902.08153).
//
// x is G sets of n consecutive numbers. A set has one step, and may have a zero (a whole number) and an offset:
//   v = (x − offset) / step      k = R(clip(v, low − zero, high − zero))      y = step · k + offset
// R rounds to the nearest whole number, ties to even. The unsigned code of a file format is k + zero. Without a zero or an
// offset (null) it counts as 0; a step below fake_quant_min_step counts as that. NaN stays NaN.
//
// Backward: the straight-through estimator (Bengio et al. 2013) takes R(v) for v, so
//   dx      += dy · [inside]
//   dstep   += step_scale · Σ dy · (inside: R(v) − v;  clipped: the bound that v was clipped to)
//   doffset += Σ dy · [clipped]
// "inside" is what GradientPass says. Backward adds (+=); dx, dstep, doffset may be null.

#include <cstdint>

namespace chalk {

inline constexpr float fake_quant_min_step = 1e-8f;

// For which numbers dy reaches x. The last two differ only where v lies between a bound and half a step beyond it.
enum class GradientPass {
  All,            // everywhere: no mask (dstep and doffset must be null)
  RoundedInside,  // low ≤ R(v) ≤ high: round, then clip
  Inside,         // low < v < high: clip, then round (LSQ)
};

namespace plain {
// Steps from the largest |x| of each set: step = max|x| / (2^(bits−1) − 1), for codes ±(2^(bits−1) − 1).
template <class T>
void fake_quant_symmetric(T* step,     // (G)
                          const T* x,  // (G, n)
                          int64_t G, int64_t n, int bits);
// Steps and zeros from each set's range, widened to hold 0: step = (max − min) / (2^bits − 1), zero = R(−min / step).
template <class T>
void fake_quant_asymmetric(T* step, T* zero, const T* x, int64_t G, int64_t n, int bits);
// Steps and offsets from each set's range as it is: step = (max − min) / (2^bits − 1), offset = min.
template <class T>
void fake_quant_range(T* step, T* offset, const T* x, int64_t G, int64_t n, int bits);

template <class T>
void fake_quant_forward(T* y,             // (G, n)
                        const T* x,       // (G, n)
                        const T* step,    // (G)
                        const T* zero,    // (G) or null
                        const T* offset,  // (G) or null
                        int64_t G, int64_t n, float low, float high);
template <class T>
void fake_quant_backward(T* dx,        // (G, n) or null
                         T* dstep,     // (G) or null
                         T* doffset,   // (G) or null
                         const T* dy,  // (G, n)
                         const T* x, const T* step, const T* zero, const T* offset, int64_t G, int64_t n,
                         float low, float high, GradientPass pass, float step_scale);

// Stochastic rounding: k = R(clip(v + u, low, high)), u uniform in [−1/2, 1/2), so that the mean of y is x inside the range.
// Number i of set g draws u from uniform(derive_seed(seed, g), i) (kernels/philox.h).
template <class T>
void fake_quant_stochastic(T* y, const T* x, const T* step, const T* offset, int64_t G, int64_t n, float low,
                           float high, uint64_t seed);
}  // namespace plain

namespace cpu {
void fake_quant_symmetric(float* step, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_asymmetric(float* step, float* zero, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_range(float* step, float* offset, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_forward(float* y, const float* x, const float* step, const float* zero, const float* offset,
                        int64_t G, int64_t n, float low, float high);
void fake_quant_backward(float* dx, float* dstep, float* doffset, const float* dy, const float* x,
                         const float* step, const float* zero, const float* offset, int64_t G, int64_t n,
                         float low, float high, GradientPass pass, float step_scale);
void fake_quant_stochastic(float* y, const float* x, const float* step, const float* offset, int64_t G,
                           int64_t n, float low, float high, uint64_t seed);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void fake_quant_symmetric(float* step, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_asymmetric(float* step, float* zero, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_range(float* step, float* offset, const float* x, int64_t G, int64_t n, int bits);
void fake_quant_forward(float* y, const float* x, const float* step, const float* zero, const float* offset,
                        int64_t G, int64_t n, float low, float high);
void fake_quant_backward(float* dx, float* dstep, float* doffset, const float* dy, const float* x,
                         const float* step, const float* zero, const float* offset, int64_t G, int64_t n,
                         float low, float high, GradientPass pass, float step_scale);
void fake_quant_stochastic(float* y, const float* x, const float* step, const float* offset, int64_t G,
                           int64_t n, float low, float high, uint64_t seed);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/fake_quant.h"
