#pragma once
// One AdamW step with loops. Contract: kernels/adamw.h. Derivation: docs/derivations/adamw.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void adamw_step(T* w, T* m, T* v, const T* grad, int64_t count, const AdamWStep& step) {
  const double beta1 = step.beta1, beta2 = step.beta2;
  const double correction1 = 1 - std::pow(beta1, double(step.t));  // 1 − β₁ᵗ
  const double correction2 = 1 - std::pow(beta2, double(step.t));  // 1 − β₂ᵗ
  const double decay = double(step.lr) * double(step.weight_decay);
  for (int64_t i = 0; i < count; ++i) {
    // g = grad_scale · grad
    const Wide<T> g = double(step.grad_scale) * Wide<T>(grad[i]);
    // m = β₁ m + (1 − β₁) g      v = β₂ v + (1 − β₂) g²
    const Wide<T> m_i = beta1 * Wide<T>(m[i]) + (1 - beta1) * g;
    const Wide<T> v_i = beta2 * Wide<T>(v[i]) + (1 - beta2) * g * g;
    // w = w − lr · weight_decay · w
    const Wide<T> w_i = Wide<T>(w[i]) - decay * Wide<T>(w[i]);
    // w = w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
    const Wide<T> step_size = (m_i / correction1) / (std::sqrt(v_i / correction2) + double(step.eps));
    w[i] = T(w_i - double(step.lr) * step_size);
    m[i] = T(m_i);
    v[i] = T(v_i);
  }
}

template <class T>
void adamw_step_all(const AdamWParameter<T>* list, int64_t length, const AdamWStep& step,
                    void* /*workspace*/) {
  for (int64_t i = 0; i < length; ++i) {
    AdamWStep own = step;
    own.weight_decay = list[i].weight_decay;
    adamw_step(list[i].w, list[i].m, list[i].v, list[i].grad, list[i].count, own);
  }
}

}  // namespace chalk::plain
