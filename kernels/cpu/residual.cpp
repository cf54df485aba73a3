// Residual add with SIMD. Contract: kernels/residual.h.

#include "kernels/residual.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

void residual_forward(float* y, const float* a, const float* b, int64_t count) {
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    // y = a + b
    simd::map(
        y + begin, end - begin, [](V u, V v) { return u + v; }, a + begin, b + begin);
  });
}

void accumulate(float* dx, const float* dy, int64_t count) {
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    // dx += dy
    simd::add_map(
        dx + begin, end - begin, [](V g) { return g; }, dy + begin);
  });
}

}  // namespace chalk::cpu
