// AdamW: one kernel call per parameter.

#include "nn/adamw.h"

#include "kernels/adamw.h"

namespace chalk {

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
    const AdamWStep step{.lr = float(options.lr * lr_factor),
                         .beta1 = options.beta1,
                         .beta2 = options.beta2,
                         .eps = options.eps,
                         .weight_decay = w.rank() >= 2 ? options.weight_decay : options.vector_weight_decay,
                         .t = steps,
                         .grad_scale = float(grad_scale)};
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
