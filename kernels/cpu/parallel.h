#pragma once
// Threads: parallel_for, and how much work makes a thread worth waking.
//
// Determinism: a chunk is always `grain` items, whatever the number of threads, and no result may depend on
// which thread ran it. Kernels that add up numbers across items therefore either own their outputs (a strip
// of columns) or add one partial sum per chunk in order.

#include <algorithm>
#include <cstdint>

namespace chalk::cpu {

// Numbers per chunk for loops that only move memory, and for loops that compute an exponential per number.
// One chunk then takes a few µs, several times what it costs to hand it to another thread; a tensor of one
// chunk stays on the calling thread.
inline constexpr int64_t memory_grain = 16384;
inline constexpr int64_t math_grain = 4096;

// Rows of C numbers that make up one chunk.
inline int64_t grain_rows(int64_t grain, int64_t C) {
  return std::max<int64_t>(1, grain / std::max<int64_t>(1, C));
}

// run(body, chunk) for every chunk in [0, chunks), on up to omp_get_max_threads() threads (OMP_NUM_THREADS or
// omp_set_num_threads). Returns when all are done. See parallel.cpp.
void run_chunks(int64_t chunks, void (*run)(const void* body, int64_t chunk), const void* body);

// f(begin, end) for consecutive chunks of `grain` items of [0, n). Chunks run in any order, on any thread.
// Serial when there is one chunk, one thread (debugging: OMP_NUM_THREADS=1), or inside another parallel_for.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& f) {
  const int64_t chunks = (n + grain - 1) / grain;
  if (chunks == 1) {
    f(int64_t(0), n);
    return;
  }
  const auto body = [&](int64_t chunk) { f(chunk * grain, std::min(n, (chunk + 1) * grain)); };
  using Body = decltype(body);
  run_chunks(
      chunks, [](const void* b, int64_t chunk) { (*static_cast<const Body*>(b))(chunk); }, &body);
}

}  // namespace chalk::cpu
