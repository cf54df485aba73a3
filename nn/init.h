#pragma once
// Initial weights. Every tensor draws from its own stream, derived from the seed and the parameter's name, so that
// adding a parameter does not change the others, and all backends start from the same numbers.

#include <string>

#include "autograd/tensor.h"
#include "kernels/philox.h"

namespace chalk {

// FNV-1a, 64 bits: a stable number for a name.
inline uint64_t name_hash(const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (unsigned char c : name) hash = (hash ^ c) * 0x100000001b3u;
  return hash;
}

// Fills t with N(0, std²) numbers of the stream (seed, name).
inline void init_normal(const Tensor& t, float std, uint64_t seed, const std::string& name) {
  const uint64_t stream = derive_seed(seed, name_hash(name));
  std::vector<float> values(size_t(t.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = std * random_normal(stream, i);
  t.copy_from(Tensor::from(t.shape, values, t.device()));
}

// Fills t with uniform numbers of [−bound, bound).
inline void init_uniform(const Tensor& t, float bound, uint64_t seed, const std::string& name) {
  const uint64_t stream = derive_seed(seed, name_hash(name));
  std::vector<float> values(size_t(t.numel()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = bound * (2 * random_uniform(stream, i) - 1);
  t.copy_from(Tensor::from(t.shape, values, t.device()));
}

// Glorot & Bengio 2010: uniform with bound √(6 / (fan_in + fan_out)); t is (out, in).
inline void init_xavier(const Tensor& t, uint64_t seed, const std::string& name) {
  init_uniform(t, float(std::sqrt(6.0 / double(t.dim(0) + t.dim(1)))), seed, name);
}

// He et al. 2015: N(0, 2 / fan_in), for layers followed by a ReLU; t is (out, in).
inline void init_kaiming(const Tensor& t, uint64_t seed, const std::string& name) {
  init_normal(t, float(std::sqrt(2.0 / double(t.dim(1)))), seed, name);
}

}  // namespace chalk
