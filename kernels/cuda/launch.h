#pragma once
// What every kernel file shares on the host side: how many threads a block gets, which stream, and what happens when a
// launch fails. Kernels take their shape from here, so that it can be changed in one place (ThreadSanitizer allows at most
// 256 threads per block).

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels/cuda/cuda_portable.h"

namespace chalk::cuda {

constexpr int item_threads = 256;    // per block, for kernels that own numbers one by one
constexpr int items_per_thread = 4;  // a block's width apart: several loads are under way at once
constexpr int64_t most_blocks = (int64_t(1) << 31) - 1;

// All work goes to one stream, in program order: the caching allocator may hand a block on as soon as it is released.
inline cudaStream_t stream() {
  return nullptr;
}

inline void check(cudaError_t error, const char* what) {
  if (error != cudaSuccess)
    throw std::runtime_error(std::string("cuda: ") + what + ": " + cudaGetErrorString(error));
}
inline void check_launch(const char* kernel) {
  check(cudaGetLastError(), kernel);
}

inline int64_t ceil_divide(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
// Blocks for `count` numbers, items_per_thread each.
inline unsigned item_blocks(int64_t count) {
  return unsigned(ceil_divide(count, int64_t(item_threads) * items_per_thread));
}
// Threads for a row of C numbers: whole warps, about eight numbers a thread, at most 256.
inline int row_threads(int64_t C) {
  return int(std::clamp<int64_t>(ceil_divide(C, 8 * 32) * 32, 32, 256));
}

}  // namespace chalk::cuda
