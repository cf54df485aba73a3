// SwiGLU's gate with SIMD. Contract: kernels/swiglu.h.

#include "kernels/swiglu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

void swiglu_forward(float* y, const float* gate, const float* up, int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    // y = gate · σ(gate) · up
    const auto f = [](V gate, V up) { return gate * simd::sigmoid(gate) * up; };
    simd::map(y + begin, end - begin, f, gate + begin, up + begin);
  });
}

void swiglu_backward(float* dgate, float* dup, const float* dy, const float* gate, const float* up,
                     int64_t count) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    // One pass for both gradients: the sigmoid is the expensive part.
    simd::over_span(end - begin, [&](int64_t j, auto part) {
      const int64_t i = begin + j;
      const V one = simd::set(1.0f), g = part.load(gate + i), d = part.load(dy + i), s = simd::sigmoid(g);
      // dup += dy · gate · σ(gate)
      if (dup) part.store(dup + i, part.load(dup + i) + d * g * s);
      // dgate += dy · up · σ(gate) · (1 + gate · (1 − σ(gate)))
      if (dgate) {
        const V slope = s * simd::mul_add(g, one - s, one);
        part.store(dgate + i, part.load(dgate + i) + d * part.load(up + i) * slope);
      }
    });
  });
}

}  // namespace chalk::cpu
