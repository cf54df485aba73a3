// Saved for backward: the table. A rotation's transpose is the rotation back.

#include "kernels/rope.h"

#include "autograd/ops/common.h"

namespace chalk {

RopeTable make_rope_table(const std::vector<int32_t>& positions, int64_t head_dim, double theta,
                          const FrequencyScaling& scaling, bool interleaved, Device device) {
  check(head_dim > 0 && head_dim % 2 == 0, "rope: head dimension {} is not even", head_dim);
  const int64_t T = int64_t(positions.size()), half = head_dim / 2;
  std::vector<double> frequencies(static_cast<size_t>(half));
  rope_frequencies(frequencies.data(), head_dim, theta, scaling);
  RopeTable table{Tensor::empty({T, half}, Device::CPU), Tensor::empty({T, half}, Device::CPU), interleaved};
  rope_table(table.cos.data(), table.sin.data(), positions.data(), T, frequencies.data(), head_dim);
  table.cos = table.cos.to(device);
  table.sin = table.sin.to(device);
  return table;
}

struct RopeNode : Node {
  Tensor x;  // (B, T, heads·D)
  RopeTable table;
  int64_t heads = 1;

  const char* name() const override { return "rope"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(x.device(), plain::rope_backward<float>, cpu::rope_backward, cuda::rope_backward);
    kernel(x.grad().data(), dy.data(), table.cos.data(), table.sin.data(), x.dim(0), x.dim(1), heads,
           x.dim(2) / heads, table.interleaved);
  }
};

Tensor rope(const Tensor& x, const RopeTable& table, int64_t heads) {
  check(x.rank() == 3 && heads > 0 && x.dim(2) % heads == 0,
        "rope: x has shape {}, expected (B, T, {} heads · D)", to_string(x.shape), heads);
  const int64_t D = x.dim(2) / heads;
  check(table.cos.dim(0) == x.dim(1) && table.cos.dim(1) * 2 == D,
        "rope: x has shape {} with D = {} but the table is {}", to_string(x.shape), D,
        to_string(table.cos.shape));
  check_same_device("rope", {x, table.cos, table.sin});

  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel = pick(x.device(), plain::rope_forward<float>, cpu::rope_forward, cuda::rope_forward);
  kernel(y.data(), x.data(), table.cos.data(), table.sin.data(), x.dim(0), x.dim(1), heads, D,
         table.interleaved);
  if (wants_grad({x})) {
    auto node = std::make_shared<RopeNode>();
    node->x = x, node->table = table, node->heads = heads;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
