// The losses of distillation.h, composed of ops.

#include "nn/distillation.h"

#include "autograd/check.h"

namespace chalk {
namespace {

// (N, 1): each row's weight divided by the sum of all.
Tensor shares(const char* loss, const Tensor& logits, const RowWeights& weights) {
  const int64_t N = logits.numel() / logits.dim(-1);
  std::vector<float> values = weights.values.empty() ? std::vector<float>(size_t(N), 1) : weights.values;
  check(int64_t(values.size()) == N, "{}: {} weights for {} rows", loss, values.size(), N);
  double sum = 0;
  for (float w : values) sum += double(w);
  for (float& w : values) w = sum > 0 ? float(double(w) / sum) : 0;
  return Tensor::from({N, 1}, values, logits.device());
}

void check_pair(const char* loss, const Tensor& student, const Tensor& teacher) {
  check(student.defined() && student.rank() >= 1 && student.shape == teacher.shape,
        "{}: the student has shape {}, the teacher {}", loss, to_string(student.shape),
        to_string(teacher.shape));
}

Tensor rows(const Tensor& x) {
  return reshape(x, {x.numel() / x.dim(-1), x.dim(-1)});
}

}  // namespace

Tensor distillation_kl(const Tensor& student, const Tensor& teacher, float temperature,
                       const RowWeights& weights) {
  check_pair("distillation_kl", student, teacher);
  check(temperature > 0, "distillation_kl: the temperature is {}, but must be positive", temperature);
  Tensor weighted, constant;  // shares · p_teacher (N, V), and Σ of it times log p_teacher
  {
    NoGrad no_grad;
    const Tensor log_p = log_softmax(scale(rows(teacher.detach()), 1 / temperature));
    weighted = mul(softmax(scale(rows(teacher.detach()), 1 / temperature)),
                   shares("distillation_kl", student, weights));
    constant = sum(mul(weighted, log_p));
  }
  // KL = Σ p_teacher · (log p_teacher − log p_student)
  const Tensor log_q = log_softmax(scale(rows(student), 1 / temperature));
  const Tensor kl = add(constant, scale(sum(mul(weighted, log_q)), -1));
  return scale(kl, temperature * temperature);
}

Tensor distillation_mse(const Tensor& student, const Tensor& teacher, const RowWeights& weights) {
  check_pair("distillation_mse", student, teacher);
  const Tensor difference = add(rows(student), scale(rows(teacher.detach()), -1));
  const Tensor weighted = mul(mul(difference, difference), shares("distillation_mse", student, weights));
  return scale(sum(weighted), 1 / float(student.dim(-1)));
}

}  // namespace chalk
