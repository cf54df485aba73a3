// SGD and the gradient norm.

#include "nn/optimizer.h"

#include <cmath>

#include "autograd/check.h"
#include "autograd/ops.h"
#include "kernels/reduce.h"

namespace chalk {

SGD::SGD(std::vector<NamedTensor> list, Options options) : options(options) {
  parameters = std::move(list);
  for (const NamedTensor& p : parameters) momentum.emplace_back(p.tensor.shape, p.tensor.device());
}

void SGD::step(double lr_factor, double grad_scale) {
  NoGrad no_grad;
  steps += 1;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& w = parameters[i].tensor;
    if (!w.has_grad()) continue;
    // u = momentum · u + g + weight_decay · w
    const Tensor g = add(scale(w.grad(), float(grad_scale)), scale(w, options.weight_decay));
    momentum[i].copy_from(add(scale(momentum[i], options.momentum), g));
    w.copy_from(add(w.detach(), scale(momentum[i], float(-options.lr * lr_factor))));
  }
}

void SGD::visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const {
  for (size_t i = 0; i < parameters.size(); ++i) visitor("sgd.momentum." + parameters[i].name, momentum[i]);
}

double gradient_norm(const std::vector<NamedTensor>& parameters) {
  double squares = 0;
  for (const NamedTensor& p : parameters) {
    if (!p.tensor.has_grad()) continue;
    const Tensor g = p.tensor.grad();
    Tensor y = Tensor::empty({1}, g.device());
    auto* kernel = pick(g.device(), plain::sum_squares<float>, cpu::sum_squares, cuda::sum_squares);
    kernel(y.data(), g.data(), g.numel());
    squares += double(y.item());
  }
  return std::sqrt(squares);
}

}  // namespace chalk
