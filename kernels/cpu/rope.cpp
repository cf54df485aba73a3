// Rotary position embedding with SIMD, both pairings. Contract: kernels/rope.h.

#include "kernels/rope.h"

#include <algorithm>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
namespace hn = simd::hn;
using simd::V;

// Pairs (i, i + D/2): two spans of D/2 numbers. direction is +1, or −1 to turn back.
template <bool add>
static void turn_half_split(float* y, const float* x, const float* cos, const float* sin, int64_t half,
                            float direction) {
  simd::over_span(half, [&](int64_t i, auto part) {
    const V x_a = part.load(x + i), x_b = part.load(x + half + i);
    const V c = part.load(cos + i), s = simd::set(direction) * part.load(sin + i);
    // y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin
    const V y_a = x_a * c - x_b * s, y_b = x_b * c + x_a * s;
    part.store(y + i, add ? part.load(y + i) + y_a : y_a);
    part.store(y + half + i, add ? part.load(y + half + i) + y_b : y_b);
  });
}

// The first lanes/2 numbers of x (fewer at the end of the row), each twice.
static V load_doubled(const float* x, int64_t count) {
  const hn::RebindToSigned<simd::D> i32;
  const auto pair = hn::ShiftRight<1>(hn::Iota(i32, 0));  // 0 0 1 1 2 2 ...
  return hn::TableLookupLanes(simd::load_first(x, count), hn::IndicesFromVec(simd::f32, pair));
}

// Pairs (2i, 2i + 1): y = x · (c c) + swapped(x) · (−s s).
template <bool add>
static void turn_interleaved(float* y, const float* x, const float* cos, const float* sin, int64_t half,
                             float direction) {
  const V minus_plus = hn::OddEven(simd::set(direction), simd::set(-direction));
  simd::over_span(2 * half, [&](int64_t j, auto part) {
    const int64_t pairs = std::min(simd::lanes / 2, half - j / 2);
    const V c = load_doubled(cos + j / 2, pairs), s = minus_plus * load_doubled(sin + j / 2, pairs);
    const V x_j = part.load(x + j), swapped = hn::Reverse2(simd::f32, x_j);
    // y_a = x_a · cos − x_b · sin      y_b = x_b · cos + x_a · sin
    const V y_j = x_j * c + swapped * s;
    part.store(y + j, add ? part.load(y + j) + y_j : y_j);
  });
}

template <bool add>
static void turn(float* y, const float* x, const float* cos, const float* sin, int64_t B, int64_t time,
                 int64_t H, int64_t D, bool interleaved, float direction) {
  const auto turn_head = interleaved ? turn_interleaved<add> : turn_half_split<add>;
  const int64_t half = D / 2;
  parallel_for(B * time, grain_rows(memory_grain, H * D), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t t = row % time;
      for (int64_t h = 0; h < H; ++h) {
        const int64_t offset = (row * H + h) * D;
        turn_head(y + offset, x + offset, cos + t * half, sin + t * half, half, direction);
      }
    }
  });
}

void rope_forward(float* y, const float* x, const float* cos, const float* sin, int64_t B, int64_t time,
                  int64_t H, int64_t D, bool interleaved) {
  turn<false>(y, x, cos, sin, B, time, H, D, interleaved, 1);
}

void rope_backward(float* dx, const float* dy, const float* cos, const float* sin, int64_t B, int64_t time,
                   int64_t H, int64_t D, bool interleaved) {
  // A turn's transpose is the turn back:  dx += R(−angle) · dy
  turn<true>(dx, dy, cos, sin, B, time, H, D, interleaved, -1);
}

}  // namespace chalk::cpu
