#pragma once
// SIMD in ten words: load, store, over_span, map, add_map, sum, sum_squares, dot, max, set; and the curves
// exp, log, sigmoid, erf. Everything under kernels/cpu is written with these, on Google Highway with static
// dispatch: V is the widest vector of floats of the machine the file was compiled for (16 numbers with
// AVX-512, 8 with AVX2).
//
// The tail of a span, the last n mod lanes numbers, is handled here and nowhere else: over_span() calls its
// body once per whole vector and once with a Part that touches only the numbers that exist. Nothing reads or
// writes past the end.

#include <hwy/highway.h>
// (highway.h must come first)
#include <hwy/contrib/math/math-inl.h>

#include <cstdint>
#include <limits>

namespace chalk::cpu::simd {

namespace hn = hwy::HWY_NAMESPACE;

using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;
inline constexpr D f32;
inline constexpr int64_t lanes = hn::MaxLanes(f32);

inline V set(float x) {
  return hn::Set(f32, x);
}
inline V zero() {
  return hn::Zero(f32);
}
inline V load(const float* x) {
  return hn::LoadU(f32, x);
}
inline void store(float* y, V v) {
  hn::StoreU(v, f32, y);
}
inline V mul_add(V a, V b, V c) {
  return hn::MulAdd(a, b, c);
}  // a · b + c, rounded once

// The first n < lanes numbers of x; the other lanes are 0.
inline V load_first(const float* x, int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT  // masked loads of this target touch the whole vector: go through the stack
  alignas(64) float padded[lanes] = {};
  for (int64_t i = 0; i < n; ++i) padded[i] = x[i];
  return hn::Load(f32, padded);
#else
  return hn::MaskedLoad(hn::FirstN(f32, size_t(n)), f32, x);
#endif
}

inline void store_first(float* y, V v, int64_t n) {
#if HWY_MEM_OPS_MIGHT_FAULT
  alignas(64) float padded[lanes];
  hn::Store(v, f32, padded);
  for (int64_t i = 0; i < n; ++i) y[i] = padded[i];
#else
  hn::BlendedStore(v, hn::FirstN(f32, size_t(n)), f32, y);
#endif
}

// How a body of over_span() reads and writes: a whole vector ...
struct Whole {
  V load(const float* x) const { return simd::load(x); }
  void store(float* y, V v) const { simd::store(y, v); }
  V keep(V v, V) const { return v; }
};

// ... or its first n numbers.
struct Part {
  int64_t n;
  V load(const float* x) const { return load_first(x, n); }
  void store(float* y, V v) const { store_first(y, v, n); }
  V keep(V v, V otherwise) const { return hn::IfThenElse(hn::FirstN(f32, size_t(n)), v, otherwise); }
};

// body(i, part) for i = 0, lanes, 2 lanes, ...: the only tail loop of the backend.
template <class Body>
HWY_INLINE void over_span(int64_t count, Body&& body) {
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, Whole{});
  if (i < count) body(i, Part{count - i});
}

// y_i = f(x_i, ...)
template <class F, class... X>
HWY_INLINE void map(float* y, int64_t count, F&& f, const X*... x) {
  over_span(count, [&](int64_t i, auto part) { part.store(y + i, f(part.load(x + i)...)); });
}

// y_i += f(x_i, ...)
template <class F, class... X>
HWY_INLINE void add_map(float* y, int64_t count, F&& f, const X*... x) {
  over_span(count,
            [&](int64_t i, auto part) { part.store(y + i, part.load(y + i) + f(part.load(x + i)...)); });
}

inline float sum_of_lanes(V v) {
  return hn::GetLane(hn::SumOfLanes(f32, v));
}
inline float max_of_lanes(V v) {
  return hn::GetLane(hn::MaxOfLanes(f32, v));
}

// Σ f(x_i, ...). Four running sums hide the latency of the addition; the order is fixed.
template <class F, class... X>
HWY_INLINE float sum(int64_t count, F&& f, const X*... x) {
  V s0 = zero(), s1 = zero(), s2 = zero(), s3 = zero();
  int64_t start = 0;
  for (; start + 4 * lanes <= count; start += 4 * lanes) {
    s0 = s0 + f(load(x + start)...);
    s1 = s1 + f(load(x + start + lanes)...);
    s2 = s2 + f(load(x + start + 2 * lanes)...);
    s3 = s3 + f(load(x + start + 3 * lanes)...);
  }
  over_span(count - start,
            [&](int64_t i, auto part) { s0 = s0 + part.keep(f(part.load(x + start + i)...), zero()); });
  return sum_of_lanes((s0 + s1) + (s2 + s3));
}

inline float sum(const float* x, int64_t count) {
  return sum(
      count, [](V v) { return v; }, x);
}
inline float sum_squares(const float* x, int64_t count) {
  return sum(
      count, [](V v) { return v * v; }, x);
}
inline float dot(const float* a, const float* b, int64_t count) {
  return sum(
      count, [](V u, V v) { return u * v; }, a, b);
}

// The largest x_i; −∞ for an empty span.
inline float max(const float* x, int64_t count) {
  const V lowest = set(-std::numeric_limits<float>::infinity());
  V best = lowest;
  over_span(count, [&](int64_t i, auto part) { best = hn::Max(best, part.keep(part.load(x + i), lowest)); });
  return max_of_lanes(best);
}

// e^x = 2ⁿ · e^r with n the integer nearest to x / ln 2, so |r| ≤ ln 2 / 2, and e^r = 1 + r + r² q(r); q was
// fitted for this file (least squares reweighted to minimax, relative error of e^r 3e-9). With float
// rounding: relative error < 2⁻²³. Below −87.3, where the answer is no normal float, it is 0; above 88.3 it
// is +∞ (a little early); NaN stays NaN.
inline V exp(V x) {
  const hn::RebindToSigned<D> i32;
  const V n = hn::Round(x * set(1.44269504088896341f));
  // ln 2 in two pieces: n times the first is exact, because its last 15 bits are zero.
  const V r = hn::NegMulAdd(n, set(1.42860677e-06f), hn::NegMulAdd(n, set(0.693145752f), x));
  const V r2 = r * r;
  V q = mul_add(set(1.381461039e-03f), r, set(8.368711137e-03f));
  q = mul_add(q, r2, mul_add(set(4.166838749e-02f), r, set(1.666652068e-01f)));
  q = mul_add(q, r, set(4.999999345e-01f));
  const V e_r = mul_add(q, r2, r) + set(1.0f);
  // 2ⁿ is built from its bits: the exponent field holds n + 127.
  const auto power = hn::ShiftLeft<23>(hn::ConvertTo(i32, n) + hn::Set(i32, 127));
  V y = e_r * hn::BitCast(f32, power);
  y = hn::IfThenElse(hn::Gt(x, set(88.3f)), set(std::numeric_limits<float>::infinity()), y);
  return hn::IfThenZeroElse(hn::Lt(x, set(-87.3f)), y);
}

inline V log(V x) {
  return hn::Log(f32, x);
}

// σ(x) = 1 / (1 + e^−x)
inline V sigmoid(V x) {
  return set(1.0f) / (set(1.0f) + exp(hn::Neg(x)));
}

// erf(x) = 2/√π ∫₀ˣ e^(−t²) dt. Two fits made for this file (least squares reweighted to minimax):
//   |x| < 1: x · p(x²), relative error 2e-9        |x| ≥ 1: 1 − e^q(|x|), absolute error 1e-9 up to |x| = 4
// From 4 on erfc(x) < 2⁻²⁵, so the clamp loses nothing. With float rounding the absolute error is below
// 1.5e-7.
inline V erf(V x) {
  const V t = x * x;
  V p = set(7.889123010e-05f);
  p = mul_add(p, t, set(-8.020842321e-04f));
  p = mul_add(p, t, set(5.189535456e-03f));
  p = mul_add(p, t, set(-2.685444465e-02f));
  p = mul_add(p, t, set(1.128360018e-01f));
  p = mul_add(p, t, set(-3.761262714e-01f));
  p = mul_add(p, t, set(1.128379166e+00f));

  const V a = hn::Min(hn::Abs(x), set(4.0f));
  V q = set(1.855740253e-04f);
  q = mul_add(q, a, set(-2.939607450e-03f));
  q = mul_add(q, a, set(2.180531889e-02f));
  q = mul_add(q, a, set(-1.030373699e-01f));
  q = mul_add(q, a, set(-6.382256760e-01f));
  q = mul_add(q, a, set(-1.127040037e+00f));
  q = mul_add(q, a, set(-3.537193088e-04f));
  const V outer = hn::CopySign(set(1.0f) - exp(q), x);

  // NaN fails the comparison |x| ≥ 1 and so takes the polynomial, which keeps it NaN.
  return hn::IfThenElse(hn::Ge(hn::Abs(x), set(1.0f)), outer, x * p);
}

}  // namespace chalk::cpu::simd
