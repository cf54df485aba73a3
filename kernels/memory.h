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
void* allocate_memory(int64_t bytes, Device device);
// Returns a block; `bytes` must be what it was allocated with.
void release_memory(void* block, int64_t bytes, Device device);

MemoryCounters memory_counters();
void reset_peak_memory();
void release_cached_memory();  // gives cached blocks back to the system

}  // namespace chalk
