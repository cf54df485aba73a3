#pragma once
// Distillation losses: a student's logits are drawn to a teacher's (Hinton, Vinyals & Dean 2015, arXiv
// 1503.02531). The teacher's logits count as constants: no gradient reaches them. Rows can be weighted; a row
// of weight 0 (padding) counts nowhere.

#include <vector>

#include "autograd/ops.h"

namespace chalk {

// Σ_n weights_n · f_n / Σ weights: how the losses below average over rows. Empty weights: every row counts
// once.
struct RowWeights {
  std::vector<float> values;  // (N) or empty
};

// τ² · mean_n KL(p_teacher || p_student), with p = softmax(logits / τ). logits (..., V) with N rows each. τ >
// 1 shows more of the small probabilities; the factor τ² keeps the gradient's size (Hinton et al., section
// 2.1). It differs from the soft cross-entropy −Σ p_teacher · log p_student by the teacher's entropy, a
// constant, so both train alike.
Tensor distillation_kl(const Tensor& student, const Tensor& teacher, float temperature = 1,
                       const RowWeights& weights = {});

// mean_n (1/V) Σ_v (student − teacher)²: on logits (Ba & Caruana 2014; InstantNet), or on features.
Tensor distillation_mse(const Tensor& student, const Tensor& teacher, const RowWeights& weights = {});

}  // namespace chalk
