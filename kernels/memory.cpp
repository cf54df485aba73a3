// The caching allocator: a free list per size class, one lock, a handful of counters.

#include "kernels/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace chalk {
namespace {

enum class Kind { Host, Pinned, Device };

Kind kind_of(Device device) {
  return device == Device::CUDA ? Kind::Device : Kind::Host;
}

struct Cache {
  std::mutex lock;
  std::map<std::pair<Kind, int64_t>, std::vector<void*>> free_blocks;  // by kind and size class
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

void* host_allocate(int64_t bytes) {
  constexpr int64_t huge_page = 2 << 20;
  void* block = nullptr;  // not aligned_alloc: that wants the size in whole pages too
  if (posix_memalign(&block, bytes >= huge_page ? huge_page : 64, size_t(bytes)) != 0) throw std::bad_alloc();
  if (bytes >= huge_page)
    madvise(block, size_t(bytes), MADV_HUGEPAGE);  // fewer TLB misses; refusal is harmless
  return block;
}

void* system_allocate(int64_t bytes, Kind kind) {
  if (kind == Kind::Host) return host_allocate(bytes);
  return kind == Kind::Pinned ? cuda::allocate_pinned(bytes) : cuda::allocate_device(bytes);
}

void system_free(void* block, Kind kind) {
  if (kind == Kind::Host) return std::free(block);
  kind == Kind::Pinned ? cuda::free_pinned(block) : cuda::free_device(block);
}

void free_cached_blocks(Cache& c) {
  for (auto& [key, blocks] : c.free_blocks) {
    for (void* block : blocks) system_free(block, key.first);
    c.counters.reserved_bytes -= key.second * int64_t(blocks.size());
    blocks.clear();
  }
}

void* allocate(int64_t bytes, Kind kind) {
  if (bytes == 0) return nullptr;
  if (bytes < 0 || bytes > (int64_t(1) << 46)) throw std::bad_alloc();
  const int64_t size = size_class(bytes);
  Cache& c = cache();
  std::lock_guard guard(c.lock);
  std::vector<void*>& blocks = c.free_blocks[{kind, size}];
  void* block;
  if (blocks.empty()) {
    try {
      block = system_allocate(size, kind);
    } catch (const std::bad_alloc&) {
      if (kind == Kind::Host) throw;
      free_cached_blocks(c);  // a GPU's memory is small: blocks of other sizes may be in the way
      block = system_allocate(size, kind);
    }
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

void release(void* block, int64_t bytes, Kind kind) {
  if (!block) return;
  const int64_t size = size_class(bytes);
  if (kind == Kind::Device) cuda::on_release(block, size);
  Cache& c = cache();
  std::lock_guard guard(c.lock);
  c.free_blocks[{kind, size}].push_back(block);
  c.counters.live_bytes -= size;
}

}  // namespace

void* allocate_memory(int64_t bytes, Device device) {
  return allocate(bytes, kind_of(device));
}
void release_memory(void* block, int64_t bytes, Device device) {
  release(block, bytes, kind_of(device));
}
void* allocate_pinned_memory(int64_t bytes) {
  return allocate(bytes, Kind::Pinned);
}
void release_pinned_memory(void* block, int64_t bytes) {
  release(block, bytes, Kind::Pinned);
}

void copy_memory(void* to, Device to_device, const void* from, Device from_device, int64_t bytes) {
  if (bytes == 0) return;
  const bool to_cuda = to_device == Device::CUDA, from_cuda = from_device == Device::CUDA;
  if (to_cuda && from_cuda) return cuda::copy_on_device(to, from, bytes);
  if (to_cuda) return cuda::copy_to_device(to, from, bytes);
  if (from_cuda) return cuda::copy_to_host(to, from, bytes);
  std::memcpy(to, from, size_t(bytes));
}

void fill_memory(float* y, float value, int64_t count, Device device) {
  if (device == Device::CUDA) return cuda::fill(y, value, count);
  std::fill(y, y + count, value);
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
  std::lock_guard guard(cache().lock);
  free_cached_blocks(cache());
}

}  // namespace chalk
