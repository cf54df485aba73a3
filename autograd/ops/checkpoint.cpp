// Block checkpointing: keep the block's input, throw away what it recorded, run it again in backward.

#include "autograd/ops/common.h"
#include "autograd/random.h"
#include "kernels/residual.h"

namespace chalk {

struct CheckpointNode : Node {
  std::function<Tensor(const Tensor&)> block;
  Tensor x;
  DropoutSeeds seeds;  // as they were when the block first ran

  const char* name() const override { return "checkpoint"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override;
};

void CheckpointNode::backward(const Tensor& dy) {
  const DropoutSeeds after = dropout_seeds();
  dropout_seeds() = seeds;
  Tensor copy = x.detach();
  copy.set_requires_grad();
  {
    EnableGrad enable;  // a NoGrad is alive during the walk
    const Tensor y = block(copy);
    if (y.requires_grad()) run_backward(y, dy);  // parameters used inside receive their gradients here
  }
  dropout_seeds() = after;
  if (!x.requires_grad()) return;
  auto* kernel = pick(x.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
  kernel(x.grad().data(), copy.grad().data(), x.numel());
}

Tensor checkpoint(const std::function<Tensor(const Tensor&)>& block, const Tensor& x) {
  if (!grad_enabled()) return block(x);
  auto node = std::make_shared<CheckpointNode>();
  node->block = block, node->x = x, node->seeds = dropout_seeds();
  Tensor y;
  {
    NoGrad no_grad;
    y = block(x).detach();
  }
  set_history(y, node);  // also when x needs no gradient: the block's parameters may
  return y;
}

}  // namespace chalk
