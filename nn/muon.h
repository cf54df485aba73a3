#pragma once
// Muon (Jordan et al. 2024): momentum whose update is replaced by the nearest semi-orthogonal matrix, so that every
// direction of a weight matrix moves at the same speed. For the 2-D weights inside blocks; the rest takes AdamW.
//
//   m = β m + (1 − β) g        u = β m + (1 − β) g                   (Nesterov)        U = NewtonSchulz5(u)
//   W = W − lr · (0.2 √max(rows, cols) · U + weight_decay · W)
// The factor 0.2 √max(rows, cols) gives U the root mean square of a typical AdamW update (Liu et al. 2025).

#include "nn/optimizer.h"

namespace chalk {

struct Muon : Optimizer {
  struct Options {
    float lr = 4e-3f, momentum = 0.95f, weight_decay = 0.05f;
    int newton_schulz_steps = 5;
  } options;
  std::vector<Tensor> momentum;  // like the parameters

  Muon(std::vector<NamedTensor> matrices, Options options);
  void step(double lr_factor, double grad_scale = 1) override;  // grad_scale only changes the momentum's mix
  void visit_state(const std::function<void(const std::string&, const Tensor&)>& visitor) const override;
};

// The orthogonal factor of u (rows, cols), approximately: singular values go to about [0.7, 1.2].
// X ← aX + (bA + cA²)X with A = XXᵀ, (a, b, c) = (3.4445, −4.7750, 2.0315), after dividing by the Frobenius norm.
Tensor newton_schulz(const Tensor& u, int steps);

}  // namespace chalk
