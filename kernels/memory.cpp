// The caching allocator: a free list per size class, one lock, a handful of counters.

#include "kernels/memory.h"

#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

namespace chalk {
namespace {

struct Cache {
  std::mutex lock;
  std::unordered_map<int64_t, std::vector<void*>> free_blocks;  // size class -> blocks
  MemoryCounters counters;
};

Cache& cache() {
  static Cache* instance = new Cache;  // never destroyed: tensors in static variables may outlive main()
  return *instance;
}

// Eight classes per power of two: at most 12.5 % is wasted, and slowly growing shapes (decoding) still hit the cache.
int64_t size_class(int64_t bytes) {
  if (bytes <= 64) return 64;
  const int64_t step = std::max<int64_t>(64, int64_t(std::bit_floor(uint64_t(bytes))) / 8);
  return (bytes + step - 1) / step * step;
}

void* system_allocate(int64_t bytes) {
  constexpr int64_t huge_page = 2 << 20;
  void* block = nullptr;  // not aligned_alloc: that wants the size in whole pages too
  if (posix_memalign(&block, bytes >= huge_page ? huge_page : 64, size_t(bytes)) != 0) throw std::bad_alloc();
  if (bytes >= huge_page)
    madvise(block, size_t(bytes), MADV_HUGEPAGE);  // fewer TLB misses; refusal is harmless
  return block;
}

}  // namespace

void* allocate_memory(int64_t bytes, Device) {
  if (bytes == 0) return nullptr;
  if (bytes < 0 || bytes > (int64_t(1) << 46)) throw std::bad_alloc();
  const int64_t size = size_class(bytes);
  Cache& c = cache();
  std::lock_guard guard(c.lock);
  std::vector<void*>& blocks = c.free_blocks[size];
  void* block;
  if (blocks.empty()) {
    block = system_allocate(size);
    c.counters.system_requests += 1;
    c.counters.reserved_bytes += size;
  } else {
    block = blocks.back();
    blocks.pop_back();
  }
  c.counters.live_bytes += size;
  if (c.counters.live_bytes > c.counters.peak_bytes) c.counters.peak_bytes = c.counters.live_bytes;
  return block;
}

void release_memory(void* block, int64_t bytes, Device) {
  if (!block) return;
  const int64_t size = size_class(bytes);
  Cache& c = cache();
  std::lock_guard guard(c.lock);
  c.free_blocks[size].push_back(block);
  c.counters.live_bytes -= size;
}

MemoryCounters memory_counters() {
  std::lock_guard guard(cache().lock);
  return cache().counters;
}

void reset_peak_memory() {
  std::lock_guard guard(cache().lock);
  cache().counters.peak_bytes = cache().counters.live_bytes;
}

void release_cached_memory() {
  Cache& c = cache();
  std::lock_guard guard(c.lock);
  for (auto& [size, blocks] : c.free_blocks) {
    for (void* block : blocks) std::free(block);
    c.counters.reserved_bytes -= size * int64_t(blocks.size());
    blocks.clear();
  }
}

}  // namespace chalk
