// SiLU with SIMD. Contract: kernels/silu.h.

#include "kernels/silu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

void silu_forward(float* y, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    // y = x · σ(x)
    simd::map(
        y + begin, end - begin, [](V x) { return x * simd::sigmoid(x); }, x + begin);
  });
}

void silu_backward(float* dx, const float* dy, const float* x, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    const auto f = [](V dy, V x) {
      const V one = simd::set(1.0f), s = simd::sigmoid(x);
      // dx += dy · σ(x) · (1 + x · (1 − σ(x)))
      return dy * s * simd::mul_add(x, one - s, one);
    };
    simd::add_map(dx + begin, end - begin, f, dy + begin, x + begin);
  });
}

}  // namespace chalk::cpu
