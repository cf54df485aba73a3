// One AdamW step with SIMD: w, m, v and grad are each read once and written once. Contract: kernels/adamw.h.

#include "kernels/adamw.h"

#include <cmath>

#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"

namespace chalk::cpu {
using simd::mul_add;
using simd::set;
using simd::V;

void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step) {
  // Scalars in double: 1 − β₂ᵗ loses half its digits in float when t is small.
  const double beta1 = step.beta1, beta2 = step.beta2;
  const V grad_scale = set(step.grad_scale);
  const V b1 = set(step.beta1), one_minus_b1 = set(float(1 - beta1));
  const V b2 = set(step.beta2), one_minus_b2 = set(float(1 - beta2));
  // lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)  =  rate · m / (√(v · inverse2) + eps)
  const V rate = set(float(step.lr / (1 - std::pow(beta1, double(step.t)))));
  const V inverse2 = set(float(1 / (1 - std::pow(beta2, double(step.t)))));
  const V decay = set(float(double(step.lr) * step.weight_decay)), eps = set(step.eps);

  parallel_for(count, math_grain, [&](int64_t begin, int64_t end) {
    simd::over_span(end - begin, [&](int64_t j, auto part) {
      const int64_t i = begin + j;
      const V g = grad_scale * part.load(grad + i);
      // m = β₁ m + (1 − β₁) g      v = β₂ v + (1 − β₂) g²
      const V m_i = mul_add(b1, part.load(m + i), one_minus_b1 * g);
      const V v_i = mul_add(b2, part.load(v + i), one_minus_b2 * g * g);
      part.store(m + i, m_i);
      part.store(v + i, v_i);
      // w = w − (lr · weight_decay · w + rate · m / (√(v · inverse2) + eps))
      // The two small terms are added first: w is rounded once, and 1 − lr · weight_decay, which float cannot
      // hold, is not needed (its rounding, 3e-8, would shrink every weight of the model by the same wrong
      // factor).
      const V w_i = part.load(w + i);
      const V update = rate * m_i / (simd::hn::Sqrt(v_i * inverse2) + eps);
      part.store(w + i, w_i - mul_add(decay, w_i, update));
    });
  });
}

void adamw_step_all(const AdamWParameter<float>* list, int64_t length, const AdamWStep& step, void*) {
  for (int64_t i = 0; i < length; ++i) {
    AdamWStep own = step;
    own.weight_decay = list[i].weight_decay;
    adamw_step(list[i].w, list[i].m, list[i].v, list[i].grad, list[i].count, own);
  }
}

int64_t adamw_workspace(int64_t) {
  return 0;
}

}  // namespace chalk::cpu
