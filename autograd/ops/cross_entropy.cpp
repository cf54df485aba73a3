// Saved for backward: the logits, log Σ e^(logits − max) of each row, the targets. Probabilities are never
// stored.

#include "kernels/cross_entropy.h"

#include <algorithm>

#include "autograd/ops/common.h"

namespace chalk {

struct CrossEntropyNode : Node {
  Tensor logits;   // (..., V)
  Tensor log_sum;  // (N)
  DeviceIds targets;

  const char* name() const override { return "cross_entropy"; }
  std::vector<Tensor> inputs() const override { return {logits}; }
  void backward(const Tensor& dloss) override {
    const int64_t V = logits.dim(-1), N = logits.numel() / V;
    auto* kernel = pick(logits.device(), plain::cross_entropy_backward<float>, cpu::cross_entropy_backward,
                        cuda::cross_entropy_backward);
    kernel(logits.grad().data(), dloss.data(), logits.data(), log_sum.data(), targets.data(), ignore_index, N,
           V);
  }
};

Tensor cross_entropy_rows(const Tensor& logits, const std::vector<int32_t>& targets) {
  const int64_t V = last_axis("cross_entropy", logits), N = logits.numel() / V;
  check(int64_t(targets.size()) == N, "cross_entropy: {} targets for {} rows of logits, shape {}",
        targets.size(), N, to_string(logits.shape));
  for (int64_t n = 0; n < N; ++n) {
    const int32_t target = targets[size_t(n)];
    check(target == ignore_index || (target >= 0 && target < V),
          "cross_entropy: target {} at row {} is outside [0, {})", target, n, V);
  }
  Tensor loss = Tensor::empty({N}, logits.device());
  Tensor log_sum = Tensor::empty({N}, logits.device());
  auto* kernel = pick(logits.device(), plain::cross_entropy_forward<float>, cpu::cross_entropy_forward,
                      cuda::cross_entropy_forward);
  const DeviceIds on_device(targets, logits.device());
  kernel(loss.data(), log_sum.data(), logits.data(), on_device.data(), ignore_index, N, V);
  if (wants_grad({logits})) {
    auto node = std::make_shared<CrossEntropyNode>();
    node->logits = logits, node->log_sum = log_sum, node->targets = on_device;
    set_history(loss, node);
  }
  return loss;
}

Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets) {
  const int64_t counted = int64_t(targets.size()) - std::count(targets.begin(), targets.end(), ignore_index);
  return scale(sum(cross_entropy_rows(logits, targets)), 1.0f / float(std::max<int64_t>(counted, 1)));
}

Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets,
                     const std::vector<float>& weights, float divisor) {
  check(divisor > 0, "cross_entropy: the divisor is {}, expected a positive number", divisor);
  const Tensor rows = cross_entropy_rows(logits, targets);
  const Tensor weight = Tensor::from({int64_t(weights.size())}, weights, logits.device());
  check(weight.numel() == rows.numel(), "cross_entropy: {} weights for {} rows", weights.size(),
        rows.numel());
  return scale(sum(mul(rows, weight)), 1.0f / divisor);
}

}  // namespace chalk
