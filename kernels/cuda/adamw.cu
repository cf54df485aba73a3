// m = β₁ m + (1 − β₁) g      v = β₂ v + (1 − β₂) g²      w = w − lr · weight_decay · w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
// Grid: one block per 1024 numbers, 256 threads. A thread owns 4 numbers, 256 apart.
// One pass: nothing of a parameter is read or written twice.
// Bytes: 28 a number (reads w, m, v, g; writes w, m, v). Bound: memory bandwidth.

#include <cmath>

#include "kernels/adamw.h"
#include "kernels/cuda/block.h"

namespace chalk::cuda {
namespace {

// What the host works out once, in double, so that 1 − β₂ᵗ keeps its digits.
struct Factors {
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float correction1, correction2;  // 1 / (1 − βᵗ)
  float lr, decay, eps, grad_scale;
};

Factors factors_of(const AdamWStep& s) {
  return {s.beta1,
          s.beta2,
          float(1 - double(s.beta1)),
          float(1 - double(s.beta2)),
          float(1 / (1 - std::pow(double(s.beta1), double(s.t)))),
          float(1 / (1 - std::pow(double(s.beta2), double(s.t)))),
          s.lr,
          float(double(s.lr) * double(s.weight_decay)),
          s.eps,
          s.grad_scale};
}

__global__ void adamw_kernel(float* w, float* m, float* v, const float* grad, int64_t count, Factors f) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const float g = f.grad_scale * grad[i];
    const float m_i = f.beta1 * m[i] + f.one_minus_beta1 * g;
    const float v_i = f.beta2 * v[i] + f.one_minus_beta2 * g * g;
    const float w_i = w[i] - f.decay * w[i];
    w[i] = w_i - f.lr * (m_i * f.correction1) / (sqrtf(v_i * f.correction2) + f.eps);
    m[i] = m_i;
    v[i] = v_i;
  }
}

}  // namespace

void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step) {
  if (count == 0) return;
  LAUNCH(adamw_kernel, item_blocks(count), item_threads, 0, stream(), w, m, v, grad, count, factors_of(step));
  check_launch("adamw_step");
}

}  // namespace chalk::cuda
