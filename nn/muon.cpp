// Muon's step: momentum, orthogonalisation, update.

#include "nn/muon.h"

#include <cmath>

#include "autograd/check.h"
#include "autograd/ops.h"
#include "kernels/reduce.h"

namespace chalk {

Tensor newton_schulz(const Tensor& u, int steps) {
  NoGrad no_grad;
  constexpr float a = 3.4445f, b = -4.7750f, c = 2.0315f;
  const bool tall = u.dim(0) > u.dim(1);  // work on the short side: A is min(rows, cols)²
  Tensor norm = Tensor::empty({1}, u.device());
  auto* sum_squares = pick(u.device(), plain::sum_squares<float>, cpu::sum_squares, cuda::sum_squares);
  sum_squares(norm.data(), u.data(), u.numel());

  Tensor X = scale(tall ? transpose(u) : u, float(1 / (std::sqrt(double(norm.item())) + 1e-7)));
  for (int i = 0; i < steps; ++i) {
    const Tensor A = matmul(X, X, false, true);                 // XXᵀ
    const Tensor B = add(scale(A, b), scale(matmul(A, A), c));  // bA + cA²
    X = add(scale(X, a), matmul(B, X));
  }
  return tall ? transpose(X) : X;
}

Muon::Muon(std::vector<NamedTensor> matrices, Options options) : options(options) {
  parameters = std::move(matrices);
  for (const NamedTensor& p : parameters) {
    check(p.tensor.rank() == 2, "muon: {} has shape {}, but only matrices can be orthogonalised", p.name,
          to_string(p.tensor.shape));
    momentum.emplace_back(p.tensor.shape, p.tensor.device());
  }
}

void Muon::step(double lr_factor, double grad_scale) {
  NoGrad no_grad;
  steps += 1;
  const float beta = options.momentum, lr = float(options.lr * lr_factor);
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor w = parameters[i].tensor.detach();
    if (!parameters[i].tensor.has_grad()) continue;
    const Tensor g = scale(parameters[i].tensor.grad(), float((1 - beta) * grad_scale));
    momentum[i].copy_from(add(scale(momentum[i], beta), g));  // m = β m + (1 − β) g
    const Tensor u = add(scale(momentum[i], beta), g);        // u = β m + (1 − β) g
    const Tensor U = newton_schulz(u, options.newton_schulz_steps);
    const float size = 0.2f * std::sqrt(float(std::max(w.dim(0), w.dim(1))));
    // W = W − lr · (size · U + weight_decay · W)
    w.copy_from(add(scale(w, 1 - lr * options.weight_decay), scale(U, -lr * size)));
  }
}

void Muon::visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const {
  for (size_t i = 0; i < parameters.size(); ++i) visitor("muon.momentum." + parameters[i].name, momentum[i]);
}

}  // namespace chalk
