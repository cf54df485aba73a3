// Fake quantization with SIMD: sets over the threads, numbers over the lanes; the steps are the same bits as plain's.
// Contract: kernels/fake_quant.h.

#include "kernels/fake_quant.h"

#include "kernels/cpu/philox_block.h"

namespace chalk::cpu {
using simd::set;
using simd::V;

namespace {

struct Range {
  float min, max;
};

// Smallest and largest of a set, not above `low` and not below `high` to begin with. NaN is passed over: Min and Max give
// their second argument when the first is NaN.
Range range_of(const float* x, int64_t n, float low, float high) {
  V min = set(low), max = set(high);
  simd::over_span(n, [&](int64_t i, auto part) {
    const V v = part.load(x + i);
    min = hn::Min(part.keep(v, min), min);
    max = hn::Max(part.keep(v, max), max);
  });
  return {hn::GetLane(hn::MinOfLanes(simd::f32, min)), simd::max_of_lanes(max)};
}

// f(g, begin, end) over all numbers: long sets are cut into pieces, short ones are dealt out whole.
template <class F>
void for_each_piece(int64_t G, int64_t n, int64_t grain, F&& f) {
  if (n < grain) {
    parallel_for(G, grain_rows(grain, n), [&](int64_t begin, int64_t end) {
      for (int64_t g = begin; g < end; ++g) f(g, int64_t(0), n);
    });
    return;
  }
  for (int64_t g = 0; g < G; ++g) {
    parallel_for(n, grain, [&](int64_t begin, int64_t end) { f(g, begin, end); });
  }
}

// One set's grid, as vectors.
struct Grid {
  V step, offset, low, high;
  Grid(const float* steps, const float* zero, const float* offsets, int64_t g, float low, float high)
      : step(set(plain::at_least_min_step(steps[g]))),
        offset(set(offsets ? offsets[g] : 0)),
        low(set(zero ? low - zero[g] : low)),
        high(set(zero ? high - zero[g] : high)) {}

  V place(V x) const { return (x - offset) / step; }                       // v
  V code(V v) const { return hn::Round(hn::Min(high, hn::Max(low, v))); }  // NaN, second, stays
  V value(V k) const { return step * k + offset; }
};

// Which lanes were clipped to a bound.
struct Clipped {
  hn::Mask<simd::D> below, above;
  Clipped(const Grid& grid, V v, GradientPass pass) {
    const bool strict = pass == GradientPass::Inside;
    const V compared = strict ? v : hn::Round(v);
    below = strict ? hn::Le(compared, grid.low) : hn::Lt(compared, grid.low);
    above = strict ? hn::Ge(compared, grid.high) : hn::Gt(compared, grid.high);
  }
};

}  // namespace

void fake_quant_symmetric(float* step, const float* x, int64_t G, int64_t n, int bits) {
  const float levels = float((int64_t{1} << (bits - 1)) - 1);
  parallel_for(G, grain_rows(memory_grain, n), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const Range range = range_of(x + g * n, n, 0, 0);
      step[g] = plain::at_least_min_step(std::max(-range.min, range.max) / levels);
    }
  });
}

void fake_quant_asymmetric(float* step, float* zero, const float* x, int64_t G, int64_t n, int bits) {
  const float levels = float((int64_t{1} << bits) - 1);
  parallel_for(G, grain_rows(memory_grain, n), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const Range range = range_of(x + g * n, n, 0, 0);
      step[g] = plain::at_least_min_step((range.max - range.min) / levels);
      zero[g] = plain::round_even(-range.min / step[g]);
    }
  });
}

void fake_quant_range(float* step, float* offset, const float* x, int64_t G, int64_t n, int bits) {
  const float levels = float((int64_t{1} << bits) - 1), infinity = std::numeric_limits<float>::infinity();
  parallel_for(G, grain_rows(memory_grain, n), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      Range range = range_of(x + g * n, n, infinity, -infinity);
      if (range.min > range.max) range = {0, 0};  // an empty set
      step[g] = plain::at_least_min_step((range.max - range.min) / levels);
      offset[g] = range.min;
    }
  });
}

void fake_quant_forward(float* y, const float* x, const float* step, const float* zero, const float* offset,
                        int64_t G, int64_t n, float low, float high) {
  for_each_piece(G, n, memory_grain, [&](int64_t g, int64_t begin, int64_t end) {
    const Grid grid(step, zero, offset, g, low, high);
    // y = step · R(clip(v, low − zero, high − zero)) + offset
    const auto f = [&](V x) { return grid.value(grid.code(grid.place(x))); };
    simd::map(y + g * n + begin, end - begin, f, x + g * n + begin);
  });
}

void fake_quant_backward(float* dx, float* dstep, float* doffset, const float* dy, const float* x,
                         const float* step, const float* zero, const float* offset, int64_t G, int64_t n,
                         float low, float high, GradientPass pass, float step_scale) {
  if (dx && pass == GradientPass::All) {
    for_each_piece(1, G * n, memory_grain, [&](int64_t, int64_t begin, int64_t end) {
      simd::add_map(
          dx + begin, end - begin, [](V dy) { return dy; }, dy + begin);
    });
  } else if (dx) {
    for_each_piece(G, n, memory_grain, [&](int64_t g, int64_t begin, int64_t end) {
      const Grid grid(step, zero, offset, g, low, high);
      // dx += dy · [inside]
      const auto f = [&](V dy, V x) {
        const Clipped clipped(grid, grid.place(x), pass);
        return hn::IfThenZeroElse(hn::Or(clipped.below, clipped.above), dy);
      };
      simd::add_map(dx + g * n + begin, end - begin, f, dy + g * n + begin, x + g * n + begin);
    });
  }
  if (!dstep && !doffset) return;
  // A set's sums stay on one thread, in one order.
  parallel_for(G, grain_rows(memory_grain, n), [&](int64_t first, int64_t last) {
    for (int64_t g = first; g < last; ++g) {
      const Grid grid(step, zero, offset, g, low, high);
      // dstep += step_scale · Σ dy · (inside: R(v) − v;  clipped: the bound)
      const auto step_term = [&](V dy, V x) {
        const V v = grid.place(x);
        const Clipped clipped(grid, v, pass);
        return dy * hn::IfThenElse(clipped.below, grid.low,
                                   hn::IfThenElse(clipped.above, grid.high, hn::Round(v) - v));
      };
      if (dstep) dstep[g] += step_scale * simd::sum(n, step_term, dy + g * n, x + g * n);
      // doffset += Σ dy · [clipped]
      const auto offset_term = [&](V dy, V x) {
        const Clipped clipped(grid, grid.place(x), pass);
        return hn::IfThenElseZero(hn::Or(clipped.below, clipped.above), dy);
      };
      if (doffset) doffset[g] += simd::sum(n, offset_term, dy + g * n, x + g * n);
    }
  });
}

void fake_quant_stochastic(float* y, const float* x, const float* step, const float* offset, int64_t G,
                           int64_t n, float low, float high, uint64_t seed) {
  // Pieces begin at multiples of a Philox block: math_grain is one.
  for_each_piece(G, n, math_grain, [&](int64_t g, int64_t begin, int64_t end) {
    const Grid grid(step, nullptr, offset, g, low, high);
    const uint64_t stream = derive_seed(seed, uint64_t(g));
    alignas(64) uint32_t words[philox_block_size];
    for (int64_t start = begin; start < end; start += philox_block_size) {
      philox_block(words, stream, uint64_t(start) / 4);
      simd::over_span(std::min(philox_block_size, end - start), [&](int64_t j, auto part) {
        const V u = uniform_of(words + j) - set(0.5f);
        const int64_t i = g * n + start + j;
        // y = step · R(clip(v + u, low, high)) + offset
        part.store(y + i, grid.value(grid.code(grid.place(part.load(x + i)) + u)));
      });
    }
  });
}

}  // namespace chalk::cpu
