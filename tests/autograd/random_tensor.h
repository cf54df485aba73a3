#pragma once
// Tensors of pseudo-random numbers for tests.
#include "autograd/tensor.h"
#include "kernels/philox.h"

namespace chalk {

// Uniform in [−1, 1).
inline Tensor random_tensor(Shape shape, uint64_t seed, Device device) {
  std::vector<float> values(size_t(numel(shape)));
  for (size_t i = 0; i < values.size(); ++i) values[i] = 2 * random_uniform(seed, i) - 1;
  return Tensor::from(std::move(shape), values, device);
}

}  // namespace chalk
