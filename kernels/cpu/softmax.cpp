// Softmax and log-softmax with SIMD: one row at a time, rows spread over the threads. Contract:
// kernels/softmax.h.

#include "kernels/softmax.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::set;
using simd::V;

void softmax_forward(float* y, const float* x, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(math_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const V max = set(simd::max(x + n * C, C));
      // y = e^(x − max), and their sum on the way
      V total = simd::zero();
      simd::over_span(C, [&](int64_t c, auto part) {
        const V e = simd::exp(part.load(x + n * C + c) - max);
        part.store(y + n * C + c, e);
        total = total + part.keep(e, simd::zero());
      });
      // y = y / Σ y
      const V inverse = set(1 / simd::sum_of_lanes(total));
      simd::map(
          y + n * C, C, [&](V e) { return e * inverse; }, y + n * C);
    }
  });
}

void softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(memory_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const V mean = set(simd::dot(dy + n * C, y + n * C, C));
      // dx += y · (dy − Σ dy · y)
      simd::add_map(
          dx + n * C, C, [&](V dy, V y) { return y * (dy - mean); }, dy + n * C, y + n * C);
    }
  });
}

void log_softmax_forward(float* y, const float* x, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(math_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const V max = set(simd::max(x + n * C, C));
      const float total = simd::sum(
          C, [&](V x) { return simd::exp(x - max); }, x + n * C);
      // y = (x − max) − log Σ e^(x − max): subtracted in this order, because max may be large and the log is
      // not
      const V log_total = set(std::log(total));
      simd::map(
          y + n * C, C, [&](V x) { return x - max - log_total; }, x + n * C);
    }
  });
}

void log_softmax_backward(float* dx, const float* dy, const float* y, int64_t N, int64_t C) {
  parallel_for(N, grain_rows(math_grain, C), [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const V total = set(simd::sum(dy + n * C, C));
      // dx += dy − e^y · Σ dy
      simd::add_map(
          dx + n * C, C, [&](V dy, V y) { return dy - simd::exp(y) * total; }, dy + n * C, y + n * C);
    }
  });
}

}  // namespace chalk::cpu
