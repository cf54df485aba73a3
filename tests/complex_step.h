#pragma once
// The proof of every plain backward. For the loss L = Σ dy·f(x), with one number of x moved to x + ih,
//   Im L(x + ih) / h = ∂L/∂x + O(h²)
// and nothing is subtracted, so h = 1e-20 gives the derivative to the last bits. A wrong term in a backward
// cannot hide.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "kernels/philox.h"

namespace chalk::test {

using Complex = std::complex<double>;
using Inputs = std::vector<std::vector<double>>;          // one array per input of the op
using ComplexInputs = std::vector<std::vector<Complex>>;  // the same, on complex numbers
using Gradients = std::vector<double*>;                   // one pointer per input; null: not wanted

// double or Complex, inside a forward written as a generic lambda over Inputs and ComplexInputs.
template <class In>
using NumberOf = typename std::decay_t<In>::value_type::value_type;

// `count` reproducible standard normal numbers.
inline std::vector<double> normals(int64_t count, uint64_t seed, double scale = 1) {
  std::vector<double> x(count);
  for (int64_t i = 0; i < count; ++i) x[i] = scale * double(random_normal(seed, uint64_t(i)));
  return x;
}

inline std::vector<float> to_float(const std::vector<double>& x) {
  return std::vector<float>(x.begin(), x.end());
}

inline double max_abs(const std::vector<double>& x) {
  double max = 0;
  for (double v : x) max = std::max(max, std::abs(v));
  return max;
}

// ∂L/∂inputs[which] for every index, by complex step.
template <class Forward>
std::vector<double> complex_step(const Inputs& inputs, size_t which, const std::vector<double>& dy,
                                 Forward forward) {
  const double h = 1e-20;
  ComplexInputs z;
  for (const std::vector<double>& x : inputs) z.emplace_back(x.begin(), x.end());
  std::vector<double> derivative(inputs[which].size());
  for (size_t i = 0; i < derivative.size(); ++i) {
    z[which][i] = Complex(inputs[which][i], h);
    const std::vector<Complex> y = forward(z);
    z[which][i] = inputs[which][i];
    double loss_imaginary = 0;
    for (size_t k = 0; k < y.size(); ++k) loss_imaginary += dy[k] * y[k].imag();
    derivative[i] = loss_imaginary / h;
  }
  return derivative;
}

enum class Nulls { Forbidden, Allowed };  // may backward get null for a gradient nobody wants?

// forward(in) returns y for Inputs and for ComplexInputs; backward(d, dy, in) adds dL/d(in[i]) into d[i].
// Checks every index of every input, that backward adds instead of overwriting, and null gradients.
// Tolerance: 1e-12 of the largest derivative, or of the largest dy: a derivative may be a small difference of
// terms of that size.
template <class Forward, class Backward>
void expect_complex_step(const Inputs& inputs, Forward forward, Backward backward,
                         Nulls nulls = Nulls::Forbidden) {
  const std::vector<double> dy = normals(int64_t(forward(inputs).size()), 99);

  Inputs gradients;
  Gradients d;
  for (const std::vector<double>& x : inputs) gradients.emplace_back(x.size(), 0.0);
  for (std::vector<double>& gradient : gradients) d.push_back(gradient.data());
  backward(d, dy.data(), inputs);

  for (size_t which = 0; which < inputs.size(); ++which) {
    const std::vector<double> want = complex_step(inputs, which, dy, forward);
    const double tolerance = 1e-12 * std::max(max_abs(want), max_abs(dy));
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_NEAR(gradients[which][i], want[i], tolerance) << "input " << which << ", index " << i;
    }
  }

  // A second call into buffers that hold 0.5 must end at 0.5 + gradient.
  Inputs added = gradients;
  for (size_t which = 0; which < inputs.size(); ++which) {
    std::fill(added[which].begin(), added[which].end(), 0.5);
    d[which] = added[which].data();
  }
  backward(d, dy.data(), inputs);
  for (size_t which = 0; which < inputs.size(); ++which) {
    const double tolerance = 1e-12 * std::max({0.5, max_abs(gradients[which]), max_abs(dy)});
    for (size_t i = 0; i < inputs[which].size(); ++i) {
      ASSERT_NEAR(added[which][i], 0.5 + gradients[which][i], tolerance)
          << "backward must add: input " << which << ", index " << i;
    }
  }

  if (nulls == Nulls::Forbidden) return;
  for (size_t missing = 0; missing < inputs.size(); ++missing) {
    Inputs rest = gradients;
    for (size_t which = 0; which < inputs.size(); ++which) {
      std::fill(rest[which].begin(), rest[which].end(), 0.0);
      d[which] = which == missing ? nullptr : rest[which].data();
    }
    backward(d, dy.data(), inputs);
    for (size_t which = 0; which < inputs.size(); ++which) {
      if (which != missing) {
        EXPECT_EQ(rest[which], gradients[which])
            << "input " << which << " changed when " << missing << " was null";
      }
    }
  }
}

}  // namespace chalk::test
