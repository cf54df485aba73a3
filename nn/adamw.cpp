// AdamW: one kernel call per parameter.

#include "nn/adamw.h"

namespace chalk {

AdamWStep AdamW::Options::at(const Tensor& w, int64_t t, double lr_factor, double grad_scale) const {
  return {.lr = float(lr * lr_factor),
          .beta1 = beta1,
          .beta2 = beta2,
          .eps = eps,
          .weight_decay = w.rank() >= 2 ? weight_decay : vector_weight_decay,
          .t = t,
          .grad_scale = float(grad_scale)};
}

AdamW::AdamW(std::vector<NamedTensor> list, Options options) : options(options) {
  parameters = std::move(list);
  for (const NamedTensor& p : parameters) {
    m.emplace_back(p.tensor.shape, p.tensor.device());
    v.emplace_back(p.tensor.shape, p.tensor.device());
  }
}

void AdamW::step(double lr_factor, double grad_scale) {
  steps += 1;
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& w = parameters[i].tensor;
    if (!w.has_grad()) continue;
    const AdamWStep step = options.at(w, steps, lr_factor, grad_scale);
    auto* kernel = pick(w.device(), plain::adamw_step<float>, cpu::adamw_step, cuda::adamw_step);
    kernel(w.data(), m[i].data(), v[i].data(), w.grad().data(), w.numel(), step);
  }
}

void AdamW::visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const {
  for (size_t i = 0; i < parameters.size(); ++i) {
    visitor("adamw.m." + parameters[i].name, m[i]);
    visitor("adamw.v." + parameters[i].name, v[i]);
  }
}

}  // namespace chalk
