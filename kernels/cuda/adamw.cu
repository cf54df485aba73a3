// m = β₁ m + (1 − β₁) g      v = β₂ v + (1 − β₂) g²      w = w − lr · weight_decay · w − lr · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps)
// Grid: one block per 1024 numbers of a parameter, 256 threads. A thread owns 4 numbers, 256 apart.
// All parameters in one launch: a block finds its own in a table. One pass: nothing is read or written twice.
// Bytes: 28 a number (reads w, m, v, g; writes w, m, v). Bound: memory bandwidth.

#include <cmath>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/cuda/block.h"
#include "kernels/cuda/runtime.h"

namespace chalk::cuda {
namespace {

// What the host works out once, in double, so that 1 − β₂ᵗ keeps its digits.
struct Factors {
  float beta1, beta2, one_minus_beta1, one_minus_beta2;
  float correction1, correction2;  // 1 / (1 − βᵗ)
  float lr, decay, eps, grad_scale;
};

Factors factors_of(const AdamWStep& s) {
  return {s.beta1,
          s.beta2,
          float(1 - double(s.beta1)),
          float(1 - double(s.beta2)),
          float(1 / (1 - std::pow(double(s.beta1), double(s.t)))),
          float(1 / (1 - std::pow(double(s.beta2), double(s.t)))),
          s.lr,
          float(double(s.lr) * double(s.weight_decay)),
          s.eps,
          s.grad_scale};
}

__device__ inline void update(float* w, float* m, float* v, const float* grad, int64_t i, const Factors& f) {
  const float g = f.grad_scale * grad[i];
  const float m_i = f.beta1 * m[i] + f.one_minus_beta1 * g;
  const float v_i = f.beta2 * v[i] + f.one_minus_beta2 * g * g;
  const float w_i = w[i] - f.decay * w[i];
  w[i] = w_i - f.lr * (m_i * f.correction1) / (sqrtf(v_i * f.correction2) + f.eps);
  m[i] = m_i;
  v[i] = v_i;
}

__global__ void adamw_kernel(float* w, float* m, float* v, const float* grad, int64_t count, Factors f) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) update(w, m, v, grad, i, f);
}

// One parameter in the table.
struct Entry {
  AdamWParameter<float> parameter;
  float decay;          // lr · weight_decay
  int64_t first_block;  // of the launch
};

__global__ void adamw_all_kernel(const Entry* table, int64_t length, Factors f) {
  // The last entry that begins at this block or before: halves a table of hundreds in a few reads, all from the cache.
  int64_t low = 0, high = length;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (table[middle].first_block <= blockIdx.x ? low : high) = middle;
  }
  const AdamWParameter<float> p = table[low].parameter;
  f.decay = table[low].decay;
  const int64_t begin = (blockIdx.x - table[low].first_block) * blockDim.x * items_per_thread;
  const int64_t block_end = begin + int64_t(blockDim.x) * items_per_thread;
  const int64_t end = block_end < p.count ? block_end : p.count;
  for (int64_t i = begin + threadIdx.x; i < end; i += blockDim.x) update(p.w, p.m, p.v, p.grad, i, f);
}

}  // namespace

void adamw_step(float* w, float* m, float* v, const float* grad, int64_t count, const AdamWStep& step) {
  if (count == 0) return;
  LAUNCH(adamw_kernel, item_blocks(count), item_threads, 0, stream(), w, m, v, grad, count, factors_of(step));
  check_launch("adamw_step");
}

void adamw_step_all(const AdamWParameter<float>* list, int64_t length, const AdamWStep& step,
                    void* workspace) {
  std::vector<Entry> table;
  int64_t blocks = 0;
  for (int64_t i = 0; i < length; ++i) {
    if (list[i].count == 0) continue;
    table.push_back({list[i], float(double(step.lr) * double(list[i].weight_decay)), blocks});
    blocks += item_blocks(list[i].count);
  }
  if (table.empty()) return;
  copy_to_device(workspace, table.data(), int64_t(table.size() * sizeof(Entry)));
  LAUNCH(adamw_all_kernel, unsigned(blocks), item_threads, 0, stream(), static_cast<const Entry*>(workspace),
         int64_t(table.size()), factors_of(step));
  check_launch("adamw_step_all");
}

int64_t adamw_workspace(int64_t length) {
  return length * int64_t(sizeof(Entry));
}

}  // namespace chalk::cuda
