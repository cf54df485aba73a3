// Saved for backward: the ids.

#include "kernels/embedding.h"

#include "autograd/ops/common.h"

namespace chalk {

struct EmbeddingNode : Node {
  Tensor weight;  // (V, C)
  DeviceIds ids;

  const char* name() const override { return "embedding"; }
  std::vector<Tensor> inputs() const override { return {weight}; }
  void backward(const Tensor& dy) override {
    auto* kernel = pick(weight.device(), plain::embedding_backward<float>, cpu::embedding_backward,
                        cuda::embedding_backward);
    kernel(weight.grad().data(), dy.data(), ids.data(), ids.count, weight.dim(0), weight.dim(1));
  }
};

Tensor embedding(const Tensor& weight, const IntTensor& ids) {
  check(weight.rank() == 2, "embedding: weight has shape {}, expected (V, C)", to_string(weight.shape));
  const int64_t N = int64_t(ids.values.size()), V = weight.dim(0), C = weight.dim(1);
  check(numel(ids.shape) == N, "embedding: ids has shape {} but holds {} numbers", to_string(ids.shape), N);
  for (int64_t n = 0; n < N; ++n) {
    const int32_t id = ids.values[size_t(n)];
    check(id >= 0 && id < V, "embedding: id {} at place {} is outside [0, {})", id, n, V);
  }
  Shape shape = ids.shape;
  shape.push_back(C);
  Tensor y = Tensor::empty(shape, weight.device());
  auto* kernel =
      pick(weight.device(), plain::embedding_forward<float>, cpu::embedding_forward, cuda::embedding_forward);
  const DeviceIds on_device(ids.values, weight.device());
  kernel(y.data(), weight.data(), on_device.data(), N, C);
  if (wants_grad({weight})) {
    auto node = std::make_shared<EmbeddingNode>();
    node->weight = weight, node->ids = on_device;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
