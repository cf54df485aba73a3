// Broadcast sum and product with SIMD. Contract: kernels/broadcast.h.

#include "kernels/broadcast.h"

#include <algorithm>
#include <utility>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::V;

// The same broadcast with as few axes as possible: axes of length 1 are dropped, and two neighbours that a, b
// and y all walk through without a jump become one. (N, C) + (C) keeps two axes, (B, T, C) + (B, T, C)
// becomes one long row.
static BroadcastShape merge_axes(const BroadcastShape& s) {
  BroadcastShape merged = {{1, 1, 1, 1}, {0, 0, 0, 0}, {0, 0, 0, 0}};
  int to = 3;  // the innermost axis not yet filled; axes are taken from the inside out
  bool empty = true;
  for (int i = 3; i >= 0; --i) {
    if (s.dim[i] == 1) continue;
    const bool joins = !empty && s.a_stride[i] == merged.dim[to] * merged.a_stride[to] &&
                       s.b_stride[i] == merged.dim[to] * merged.b_stride[to];
    if (joins) {
      merged.dim[to] *= s.dim[i];
      continue;
    }
    if (!empty) --to;
    empty = false;
    merged.dim[to] = s.dim[i];
    merged.a_stride[to] = s.a_stride[i];
    merged.b_stride[to] = s.b_stride[i];
  }
  return merged;
}

// One row of a or b along the innermost axis: a span (stride 1) or one number repeated (stride 0).
struct Row {
  const float* x;
  int64_t stride;
  template <class Part>
  V load(int64_t i, Part part) const {
    return stride ? part.load(x + i) : simd::set(*x);
  }
};

// Where row n of y finds its a and b.
static void row_offsets(const BroadcastShape& s, int64_t n, int64_t& a, int64_t& b) {
  const int64_t i2 = n % s.dim[2], i1 = n / s.dim[2] % s.dim[1], i0 = n / s.dim[2] / s.dim[1];
  a = i0 * s.a_stride[0] + i1 * s.a_stride[1] + i2 * s.a_stride[2];
  b = i0 * s.b_stride[0] + i1 * s.b_stride[1] + i2 * s.b_stride[2];
}

// y = f(a, b)
template <class F>
static void forward(float* y, const float* a, const float* b, const BroadcastShape& shape, F&& f) {
  const BroadcastShape s = merge_axes(shape);
  const int64_t N = s.dim[0] * s.dim[1] * s.dim[2], C = s.dim[3];
  const auto row = [&](int64_t n, int64_t begin, int64_t end) {
    int64_t a_n, b_n;
    row_offsets(s, n, a_n, b_n);
    const Row a_row{a + a_n, s.a_stride[3]}, b_row{b + b_n, s.b_stride[3]};
    simd::over_span(end - begin, [&](int64_t i, auto part) {
      part.store(y + n * C + begin + i, f(a_row.load(begin + i, part), b_row.load(begin + i, part)));
    });
  };
  if (N == 1) {
    parallel_for(C, memory_grain, [&](int64_t begin, int64_t end) { row(0, begin, end); });
    return;
  }
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) row(n, 0, C);
  });
}

// da += f(dy, b), summed over the axes along which a is stretched. For db, call it with a and b exchanged.
// Rows of y that meet in one entry of da are visited in order, by one thread: it owns a strip of columns.
template <class F>
static void backward(float* da, const float* dy, const float* b, const BroadcastShape& s, F&& f) {
  const int64_t N = s.dim[0] * s.dim[1] * s.dim[2], C = s.dim[3];
  const int64_t strip = s.a_stride[3] ? std::max(simd::lanes, memory_grain / std::max<int64_t>(1, N)) : C;
  parallel_for(C, std::max<int64_t>(1, strip), [&](int64_t begin, int64_t end) {
    for (int64_t n = 0; n < N; ++n) {
      int64_t a_n, b_n;
      row_offsets(s, n, a_n, b_n);
      const Row b_row{b + b_n, s.b_stride[3]};
      V total = simd::zero();
      simd::over_span(end - begin, [&](int64_t i, auto part) {
        const int64_t c = begin + i;
        const V g = f(part.load(dy + n * C + c), b_row.load(c, part));
        if (s.a_stride[3]) {
          part.store(da + a_n + c, part.load(da + a_n + c) + g);
        } else {
          total = total + part.keep(g, simd::zero());
        }
      });
      if (!s.a_stride[3]) da[a_n] += simd::sum_of_lanes(total);
    }
  });
}

static BroadcastShape exchanged(const BroadcastShape& s) {
  BroadcastShape other = s;
  std::swap(other.a_stride, other.b_stride);
  return other;
}

void add_forward(float* y, const float* a, const float* b, const BroadcastShape& shape) {
  forward(y, a, b, shape, [](V a, V b) { return a + b; });
}

void add_backward(float* da, float* db, const float* dy, const BroadcastShape& shape) {
  const BroadcastShape s = merge_axes(shape), other = exchanged(s);
  // da += dy      db += dy      (dy also stands in for the factor, which is not used)
  BroadcastShape unused = s, unused_other = other;
  for (int i = 0; i < 4; ++i) unused.b_stride[i] = unused_other.b_stride[i] = 0;
  if (da) backward(da, dy, dy, unused, [](V dy, V) { return dy; });
  if (db) backward(db, dy, dy, unused_other, [](V dy, V) { return dy; });
}

void mul_forward(float* y, const float* a, const float* b, const BroadcastShape& shape) {
  forward(y, a, b, shape, [](V a, V b) { return a * b; });
}

void mul_backward(float* da, float* db, const float* dy, const float* a, const float* b,
                  const BroadcastShape& shape) {
  const BroadcastShape s = merge_axes(shape);
  // da += dy · b      db += dy · a
  if (da) backward(da, dy, b, s, [](V dy, V b) { return dy * b; });
  if (db) backward(db, dy, a, exchanged(s), [](V dy, V a) { return dy * a; });
}

}  // namespace chalk::cpu
