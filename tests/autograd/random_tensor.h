#pragma once
// Tensors of pseudo-random numbers for tests.
#include "autograd/tensor.h"
#include "kernels/philox.h"

namespace chalk {

// Uniform in [−1, 1).
inline Tensor random_tensor(Shape shape, uint64_t seed, Device device) {
  Tensor x = Tensor::empty(std::move(shape), device);
  for (int64_t i = 0; i < x.numel(); ++i) x.data()[i] = 2 * random_uniform(seed, uint64_t(i)) - 1;
  return x;
}

}  // namespace chalk
