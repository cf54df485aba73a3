// AdamW: one kernel call for all parameters.

#include "nn/adamw.h"

#include "autograd/check.h"

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
  if (parameters.empty()) return;
  const Device device = parameters[0].tensor.device();
  for (const NamedTensor& p : parameters) {
    check(p.tensor.device() == device, "AdamW: {} is on device {}, {} on {}", parameters[0].name,
          device_name(device), p.name, device_name(p.tensor.device()));
  }
  auto* workspace_bytes = pick(device, plain::adamw_workspace, cpu::adamw_workspace, cuda::adamw_workspace);
  workspace = Tensor::empty({(workspace_bytes(int64_t(parameters.size())) + 3) / 4}, device);
}

void AdamW::step(double lr_factor, double grad_scale) {
  steps += 1;
  std::vector<AdamWParameter<float>> list;  // those with a gradient
  AdamWStep step{};
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor& w = parameters[i].tensor;
    if (!w.has_grad()) continue;
    step = options.at(w, steps, lr_factor, grad_scale);
    list.push_back({w.data(), m[i].data(), v[i].data(), w.grad().data(), w.numel(), step.weight_decay});
  }
  if (list.empty()) return;
  auto* kernel =
      pick(workspace.device(), plain::adamw_step_all<float>, cpu::adamw_step_all, cuda::adamw_step_all);
  kernel(list.data(), int64_t(list.size()), step, workspace.data());
}

void AdamW::visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const {
  for (size_t i = 0; i < parameters.size(); ++i) {
    visitor("adamw.m." + parameters[i].name, m[i]);
    visitor("adamw.v." + parameters[i].name, v[i]);
  }
}

}  // namespace chalk
