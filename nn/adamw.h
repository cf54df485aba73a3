#pragma once
// AdamW (Loshchilov & Hutter 2019). The update itself is kernels/adamw.h.

#include "kernels/adamw.h"
#include "nn/optimizer.h"

namespace chalk {

struct AdamW : Optimizer {
  struct Options {
    float lr = 3e-4f, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;
    float weight_decay = 0.1f;      // on tensors of rank 2 or more
    float vector_weight_decay = 0;  // on biases and gains

    // The numbers of step t (from 1) for the parameter w.
    AdamWStep at(const Tensor& w, int64_t t, double lr_factor, double grad_scale) const;
  } options;
  std::vector<Tensor> m, v;  // first and second moments, like the parameters
  Tensor workspace;          // of adamw_step_all, kept from step to step

  AdamW(std::vector<NamedTensor> parameters, Options options);
  void step(double lr_factor, double grad_scale = 1) override;
  void visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const override;
};

}  // namespace chalk
