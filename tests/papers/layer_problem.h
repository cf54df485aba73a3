#pragma once
// One linear layer with correlated inputs: what GPTQ and OBQ are tested on.
#include <cmath>
#include <vector>

#include "kernels/philox.h"

namespace chalk {

inline std::vector<float> gaussians(int64_t count, uint64_t seed) {
  std::vector<float> x;
  for (int64_t i = 0; i < count; ++i) x.push_back(random_normal(seed, uint64_t(i)));
  return x;
}

// N rows of C numbers, AR(1) along a row: neighbours have correlation rho, every variance is 1.
inline std::vector<float> correlated_inputs(int64_t N, int64_t C, float rho, uint64_t seed) {
  std::vector<float> x = gaussians(N * C, seed);
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t i = 1; i < C; ++i) {
      float* x_i = x.data() + n * C + i;
      *x_i = rho * x_i[-1] + std::sqrt(1 - rho * rho) * *x_i;
    }
  }
  return x;
}

struct LayerProblem {
  int64_t R, C, N;
  std::vector<float> w, x;  // (R, C), (N, C)

  LayerProblem(int64_t R, int64_t C, int64_t N, float rho = 0.9f, uint64_t seed = 1)
      : R(R), C(C), N(N), w(gaussians(R * C, seed)), x(correlated_inputs(N, C, rho, seed + 100)) {}
};

}  // namespace chalk
