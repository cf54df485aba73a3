// Dropout with SIMD: Philox runs `lanes` counters side by side. Contract: kernels/dropout.h.

#include "kernels/dropout.h"

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/philox_block.h"

namespace chalk::cpu {
namespace hn = simd::hn;
using simd::V;

// 1 / (1 − p) where number i is kept, else 0, for the `lanes` numbers whose words are given.
static V keep_factor(const uint32_t* words, float p) {
  return hn::IfThenElseZero(hn::Ge(uniform_of(words), simd::set(p)), simd::set(1 / (1 - p)));
}

// body(i, part, factor) over all numbers, in chunks of whole Philox blocks.
template <class Body>
static void for_each_kept(int64_t count, float p, uint64_t seed, Body&& body) {
  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    alignas(64) uint32_t words[philox_block_size];
    for (int64_t start = begin; start < end; start += philox_block_size) {
      philox_block(words, seed, uint64_t(start) / 4);
      simd::over_span(std::min(philox_block_size, end - start),
                      [&](int64_t j, auto part) { body(start + j, part, keep_factor(words + j, p)); });
    }
  });
}

void dropout_forward(float* y, const float* x, int64_t count, float p, uint64_t seed) {
  // y = x / (1 − p) where kept, else 0
  for_each_kept(count, p, seed, [&](int64_t i, auto part, V factor) {
    const auto kept = hn::Gt(factor, simd::zero());
    part.store(y + i, hn::IfThenElseZero(kept, part.load(x + i) * factor));
  });
}

void dropout_backward(float* dx, const float* dy, int64_t count, float p, uint64_t seed) {
  // dx += dy / (1 − p) where kept
  for_each_kept(count, p, seed, [&](int64_t i, auto part, V factor) {
    const auto kept = hn::Gt(factor, simd::zero());
    part.store(dx + i, part.load(dx + i) + hn::IfThenElseZero(kept, part.load(dy + i) * factor));
  });
}

}  // namespace chalk::cpu
