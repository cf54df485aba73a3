#pragma once
// The caching allocator behind every tensor: freed blocks are kept by size and handed out again, so that after the
// first training step nothing is asked of the system; live and peak bytes are counted, so that peak memory is a number.

#include <cstdint>

#include "kernels/device.h"

namespace chalk {

struct MemoryCounters {
  int64_t live_bytes = 0;       // handed out and not yet released
  int64_t peak_bytes = 0;       // the most live_bytes has been since reset_peak_memory()
  int64_t reserved_bytes = 0;   // live + cached: what the system gave
  int64_t system_requests = 0;  // how often the system was asked
};

// A 64-byte aligned block of at least `bytes` bytes, contents undefined. Throws std::bad_alloc. bytes = 0 gives null.
// Plain and CPU blocks are host memory; CUDA blocks are the device's and must not be touched by host code.
void* allocate_memory(int64_t bytes, Device device);
// Returns a block; `bytes` must be what it was allocated with. A CUDA block may be handed on before the kernels that use it
// have run: everything goes through one stream, in order.
void release_memory(void* block, int64_t bytes, Device device);

// Host memory that a GPU reads by itself (page-locked): copies from it do not wait. From the same cache and counters.
void* allocate_pinned_memory(int64_t bytes);
void release_pinned_memory(void* block, int64_t bytes);

// Copies between devices, in order with the kernels. Returns when `from` may be reused and, on the host, `to` be read.
void copy_memory(void* to, Device to_device, const void* from, Device from_device, int64_t bytes);
void fill_memory(float* y, float value, int64_t count, Device device);

MemoryCounters memory_counters();
void reset_peak_memory();
void release_cached_memory();  // gives cached blocks back to the system

}  // namespace chalk
