#pragma once
// Compares what backward() gives with central differences, for any f(inputs) -> Tensor, at every index of every input.
// This proves the nodes (what was saved, which gradient goes where); the kernels' formulas are proved much more sharply
// by complex step in tests/kernels/.

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "autograd/check.h"
#include "autograd/ops.h"
#include "kernels/memory.h"
#include "kernels/philox.h"

namespace chalk {

struct GradcheckResult {
  double worst =
      0;  // largest |numeric − analytic| / scale over all indices, scale = max(1, largest |analytic|)
  int64_t input = -1, index = -1;
  double numeric = 0, analytic = 0;
  std::string message() const {
    return fmt::format("input {} index {}: numeric {:.6g}, analytic {:.6g}, scaled error {:.2e}", input,
                       index, numeric, analytic, worst);
  }
};

// L = Σ c ⊙ f(inputs) with fixed pseudo-random c, summed in double. The step h balances the truncation error h²·f'''/6
// against the float rounding of f, eps·|L|/h: with h = 2^-7 both are near 1e-4 for values of order 1.
inline GradcheckResult gradcheck(const std::function<Tensor(const std::vector<Tensor>&)>& f,
                                 std::vector<Tensor> inputs, double h = 0x1p-7) {
  auto weight = [](int64_t i) { return double(random_uniform(99, uint64_t(i))) - 0.5; };
  auto loss = [&] {
    NoGrad no_grad;
    const std::vector<float> y = f(inputs).to_vector();
    double L = 0;
    for (size_t i = 0; i < y.size(); ++i) L += weight(int64_t(i)) * double(y[i]);
    return L;
  };

  for (Tensor& x : inputs) x.set_requires_grad();
  const Tensor y = f(inputs);
  std::vector<float> dy;
  for (int64_t i = 0; i < y.numel(); ++i) dy.push_back(float(weight(i)));
  run_backward(y, Tensor::from(y.shape, dy, y.device()));

  double scale = 1;
  for (const Tensor& x : inputs) {
    for (float g : x.grad().to_vector()) scale = std::max(scale, double(std::abs(g)));
  }
  GradcheckResult result;
  for (size_t input = 0; input < inputs.size(); ++input) {
    const Tensor& x = inputs[input];
    const std::vector<float> original = x.to_vector(), dx = x.grad().to_vector();
    for (int64_t i = 0; i < x.numel(); ++i) {
      const auto put = [&](double number) {
        const float x_i = float(number);
        copy_memory(x.data() + i, x.device(), &x_i, Device::CPU, sizeof(float));
      };
      put(original[size_t(i)] + h);
      const double above = loss();
      put(original[size_t(i)] - h);
      const double below = loss();
      put(original[size_t(i)]);
      const double numeric = (above - below) / (2 * h), analytic = dx[size_t(i)];
      const double error = std::abs(numeric - analytic) / scale;
      if (!(error <= result.worst) && !std::isnan(result.worst))
        result = {error, int64_t(input), i, numeric, analytic};  // NaN is the worst, and stays
    }
  }
  return result;
}

}  // namespace chalk
