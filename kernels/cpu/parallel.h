#pragma once
// Threads: parallel_for over OpenMP, and how much work makes a thread worth waking.
//
// Determinism: a chunk is always `grain` items, whatever the number of threads, and no result may depend on which thread
// ran it. Kernels that add up numbers across items therefore either own their outputs (a strip of columns) or add one
// partial sum per chunk in order.

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace chalk::cpu {

// Numbers per chunk for loops that only move memory, and for loops that compute an exponential per number. One chunk then takes
// about 5 µs, several times what it costs to fork and join; a tensor of one chunk stays on the calling thread.
inline constexpr int64_t memory_grain = 16384;
inline constexpr int64_t math_grain = 4096;

// Rows of C numbers that make up one chunk.
inline int64_t grain_rows(int64_t grain, int64_t C) {
  return std::max<int64_t>(1, grain / std::max<int64_t>(1, C));
}

// f(begin, end) for consecutive chunks of `grain` items of [0, n). Chunks run in any order, on any thread.
// Serial when there is one chunk, one thread (debugging: OMP_NUM_THREADS=1), or inside another parallel_for.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t chunks = (n + grain - 1) / grain;
  const auto run = [&](int64_t chunk) { f(chunk * grain, std::min(n, (chunk + 1) * grain)); };
  if (chunks <= 1 || omp_get_max_threads() == 1 || omp_in_parallel()) {
    for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
    return;
  }
#pragma omp parallel for schedule(static)
  for (int64_t chunk = 0; chunk < chunks; ++chunk) run(chunk);
}

}  // namespace chalk::cpu
