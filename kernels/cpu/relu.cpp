// ReLU with SIMD. Contract: kernels/relu.h.

#include "kernels/relu.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
namespace hn = simd::hn;
using simd::V;

void relu_forward(float* y, const float* x, int64_t count) {
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    // y = max(x, 0). Written as "0 where x < 0", so that NaN passes through instead of turning into 0.
    const auto f = [](V x) { return hn::IfThenZeroElse(hn::Lt(x, simd::zero()), x); };
    simd::map(y + begin, end - begin, f, x + begin);
  });
}

void relu_backward(float* dx, const float* dy, const float* x, int64_t count) {
  parallel_for(count, memory_grain, [&](int64_t begin, int64_t end) {
    // dx += [x > 0] · dy
    const auto f = [](V dy, V x) { return hn::IfThenElseZero(hn::Gt(x, simd::zero()), dy); };
    simd::add_map(dx + begin, end - begin, f, dy + begin, x + begin);
  });
}

}  // namespace chalk::cpu
