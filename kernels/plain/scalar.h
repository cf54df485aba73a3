#pragma once
// What the plain kernels need to run on float, double and std::complex<double> alike.
// Running a forward on complex numbers proves its backward: f(x + ih) = f(x) + ih·f'(x) + O(h²), so Im f / h
// is the derivative to the last bit, because nothing is subtracted (h = 1e-20 is fine).

#include <cmath>
#include <complex>
#include <cstdint>

namespace chalk::plain {

// The type sums are kept in: double for float, so that the oracle's own rounding stays out of the comparison.
template <class T>
struct WideOf {
  using type = T;
};
template <>
struct WideOf<float> {
  using type = double;
};
template <class T>
using Wide = typename WideOf<T>::type;

// Comparisons (max, ReLU, masks) look at the real part; the imaginary part carries the derivative along.
inline float real_part(float x) {
  return x;
}
inline double real_part(double x) {
  return x;
}
inline double real_part(std::complex<double> x) {
  return x.real();
}

// erf of the plain kernels' number types. std has none for complex numbers; a step of size h along the
// imaginary axis needs only the first Taylor term, exact to O(h²):
//   erf(a + ih) = erf(a) + ih · 2/√π · e^(−a²)
inline double erf(double x) {
  return std::erf(x);
}
inline std::complex<double> erf(std::complex<double> z) {
  const double two_over_sqrt_pi = 1.1283791670955126;
  const double a = z.real(), h = z.imag();
  return {std::erf(a), h * two_over_sqrt_pi * std::exp(-a * a)};
}

}  // namespace chalk::plain
