#pragma once
// The rungs of the four ladders, one numbered file each, and what a run of one costs. Every rung computes the same numbers
// as the plain kernel; a rung differs from the one below it in a single idea. README.md is the page to read beside them.

#include <cstdint>
#include <functional>

#include "kernels/attention.h"

namespace chalk::ladder {

// y (M, N) = a (M, K) · b (K, N), row-major device memory. K and N are multiples of 4 from rung 05 on.
struct MatmulSize {
  int M, N, K;
};
using Matmul = void(float* y, const float* a, const float* b, MatmulSize s);
Matmul matmul_01_naive, matmul_02_coalesced, matmul_03_shared_tiles, matmul_04_register_tiles;
Matmul matmul_05_vectorised, matmul_06_warp_tiles, matmul_07_tensor_cores;

// y (N, C): softmax of the rows of x (N, C). Rungs 04 and 05: C at most softmax_most_C, 05: a multiple of 4.
constexpr int softmax_most_C = 1024;
using Softmax = void(float* y, const float* x, int N, int C);
Softmax softmax_01_thread_per_row, softmax_02_warp_per_row, softmax_03_online, softmax_04_registers,
    softmax_05_vectorised;

// y (N, C): layernorm of the rows of x (N, C), weight (C), bias (C). Rung 04: C at most layernorm_most_C.
constexpr float layernorm_eps = 1e-5f;
constexpr int layernorm_most_C = 3072;
using LayerNorm = void(float* y, const float* x, const float* weight, const float* bias, int N, int C);
LayerNorm layernorm_01_thread_per_row, layernorm_02_warp_per_row, layernorm_03_welford,
    layernorm_04_shared_row;

// y, q (B, T, H, D), k, v (B, T, H, D): causal, as many key heads as query heads, D = attention_D.
// scores: (B, H, T, T) floats of scratch, for rung 01 only.
constexpr int attention_D = 32;
using Attention = void(float* y, float* scores, const float* q, const float* k, const float* v,
                       AttentionShape s);
Attention attention_01_three_kernels, attention_02_online, attention_03_shared_tiles,
    attention_04_register_tiles;

constexpr const char* no_tensor_cores =
    "cusim has no tensor cores; a make CUDA=1 build runs this rung on a GPU";

// One run of a rung. On a GPU its time; on cusim, which knows no time, what it asks of memory.
struct Cost {
  double milliseconds = 0;                      // GPU: the median of several runs
  int64_t global_loads = 0, global_stores = 0;  // requests: one load or store of one warp
  int64_t sectors = 0;                          // 32-byte pieces of memory that these requests touch
  int64_t shared_loads = 0, shared_stores = 0;  // requests
  int64_t shared_passes = 0,
          bank_conflicts = 0;  // turns through the banks; those that a better layout would save
  int64_t score() const { return sectors + shared_passes; }
};
bool on_gpu();
Cost measure(const std::function<void()>& run);

}  // namespace chalk::ladder
