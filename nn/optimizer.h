#pragma once
// What every optimiser has in common, and SGD, the simplest. AdamW is in nn/adamw.h, Muon in nn/muon.h.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "nn/module.h"

namespace chalk {

struct Optimizer {
  virtual ~Optimizer() = default;

  // One update from the gradients in grad(). lr_factor scales the peak learning rate (nn/schedule.h);
  // grad_scale multiplies every gradient first (the clipping coefficient). Parameters without a gradient are skipped.
  virtual void step(double lr_factor, double grad_scale = 1) = 0;
  // Calls back with every state tensor and its name, "adamw.m.h.0.ln_1.weight": what a checkpoint stores.
  virtual void visit_state(
      const std::function<void(const std::string& name, const Tensor& state)>& visitor) const = 0;

  void zero_grad() const {
    for (const NamedTensor& p : parameters) p.tensor.zero_grad();
  }

  std::vector<NamedTensor> parameters;
  int64_t steps = 0;  // updates made: Adam's bias correction counts them
};

// w = w − lr · u,  u = momentum · u + g + weight_decay · w
struct SGD : Optimizer {
  struct Options {
    float lr = 0.1f, momentum = 0, weight_decay = 0;
  } options;
  std::vector<Tensor> momentum;  // like the parameters

  SGD(std::vector<NamedTensor> parameters, Options options);
  void step(double lr_factor, double grad_scale = 1) override;
  void visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const override;
};

// √ Σ g² over all parameters that have a gradient.
double gradient_norm(const std::vector<NamedTensor>& parameters);
// Clipping by global norm: what to multiply gradients with so that their norm is at most max_norm; 0 = no clipping.
//   min(1, max_norm / (norm + 1e-6))                                                                   (PyTorch's rule)
inline double clip_coefficient(double norm, double max_norm) {
  return max_norm > 0 ? std::min(1.0, max_norm / (norm + 1e-6)) : 1;
}

}  // namespace chalk
