// Who runs when: grids, blocks, fibers, the order of threads.

#include "kernels/cuda/sim/executor.h"

#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <random>

#include "kernels/cuda/sim/block.h"
#include "kernels/cuda/sim/device.h"
#include "kernels/cuda/sim/memory.h"
#include "kernels/cuda/sim/runtime.h"
#include "kernels/cuda/sim/watch.h"

#ifdef CUSIM_ASAN
#include <sanitizer/asan_interface.h>
#endif

constinit thread_local uint3 threadIdx{0, 0, 0};
constinit thread_local uint3 blockIdx{0, 0, 0};
constinit thread_local dim3 blockDim;
constinit thread_local dim3 gridDim;

namespace cusim {
namespace {

#ifdef CUSIM_TSAN
constexpr bool lazy = false;  // one fiber per GPU thread, never reused
constexpr unsigned most_threads = 256;
#else
constexpr bool lazy = true;
constexpr unsigned most_threads = 1024;
#endif
constexpr size_t default_shared_limit = 48 << 10, highest_shared_limit = 227 << 10;

std::mutex attributes_lock;
std::map<const void*, size_t>& shared_limits() {
  static auto* limits = new std::map<const void*, size_t>;
  return *limits;
}

char* begin_order = nullptr;  // ThreadSanitizer: the launch is before every thread,
char* end_order = nullptr;    // and every thread before the return from the launch

long product(dim3 d) {
  return long(d.x) * d.y * d.z;
}

// ---- one thread ----

void run_thread(Block& block, Thread& thread) {
  block.current = &thread;
  threadIdx = thread.index;
  order_after(begin_order);
  const Settings& s = settings();
  const long number = long(block.index.x) +
                      long(block.grid->grid.x) * (block.index.y + long(block.grid->grid.y) * block.index.z);
  if (s.trap && s.trap_block == number && s.trap_thread == thread.number) std::raise(SIGTRAP);
  try {
    block.grid->run(block.grid->call);
  } catch (...) {
    block.failure = std::current_exception();
  }
  order_before(end_order);
  thread.state = State::Done;
  thread.fiber = nullptr;
  block.live -= 1;
  block.current = nullptr;
}

Thread* next_fresh(Block& block, const Thread& after) {
  if (!lazy || block.failure) return nullptr;
  // The order is a permutation; in the common forward order the next thread is simply the next one.
  const auto at = settings().order == Settings::Order::Forward
                      ? block.order.begin() + after.number
                      : std::find(block.order.begin(), block.order.end(), after.number);
  for (auto next = at + 1; next != block.order.end(); ++next) {
    if (block.threads[size_t(*next)].state == State::Fresh) return &block.threads[size_t(*next)];
  }
  return nullptr;
}

// What every fiber does: run threads to their end. A thread that waits keeps its fiber; the others share one.
void fiber_main() {
  Block& block = this_block();
  for (;;) {
    Fiber* self = nullptr;
    for (Thread* thread = block.to_start; thread; thread = next_fresh(block, *thread)) {
      self = self ? self : thread->fiber;
      thread->fiber = self;
      run_thread(block, *thread);
    }
    if (lazy) block.idle.push_back(self);
    switch_fiber(*self, *block.scheduler);
  }
}

void resume(Block& block, Thread& thread) {
  if (thread.state == State::Fresh) {
    if (block.idle.empty()) {
      block.all.push_back(make_fiber(fiber_main));
      block.idle.push_back(block.all.back());
    }
    thread.fiber = block.idle.back();
    block.idle.pop_back();
    block.to_start = &thread;
    name_fiber(block, thread);
  } else {
    block.current = &thread;
    threadIdx = thread.index;
  }
  switch_fiber(*block.scheduler, *thread.fiber);
  block.current = nullptr;
  if (block.failure) std::rethrow_exception(block.failure);
}

// ---- one block ----

// Threads that wait are abandoned where they stand: kernels hold nothing that needs a destructor.
void drop_fibers(Block& block) {
  for (Fiber* fiber : block.all) free_fiber(fiber);
  block.all.clear();
  block.idle.clear();
}

void new_shared_memory(Block& block) {
#ifdef CUSIM_TSAN
  // A fresh mapping: otherwise one block's use of shared memory would race with the next one's.
  if (block.shared) munmap(block.shared, shared_arena_bytes);
  block.shared = nullptr;
#endif
  if (!block.shared) {
    void* arena =
        mmap(nullptr, shared_arena_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) throw std::bad_alloc();
    block.shared = static_cast<char*>(arena);
  }
  block.shared_used = 0;
  block.pieces.clear();
#ifdef CUSIM_ASAN
  __asan_poison_memory_region(block.shared, shared_arena_bytes);
#endif
}

// Takes `bytes` of the arena, with 64 unusable bytes on either side, filled with NaN.
char* take_shared(Block& block, const SharedTag* tag, size_t bytes, size_t alignment) {
  alignment = std::max<size_t>(alignment, 8);  // filled and poisoned in words of 8 bytes
  size_t begin = block.shared_used + 64;
  begin = (begin + alignment - 1) / alignment * alignment;
  char* piece = block.shared + begin;
  block.shared_used = begin + bytes;
  if (block.shared_used + 64 > shared_arena_bytes)
    kernel_fault("the block's shared memory exceeds " + std::to_string(shared_arena_bytes / 1024) + " KB",
                 block.grid->site);
  const size_t words = (bytes + 7) / 8;  // the last one may reach into the unusable bytes
#ifdef CUSIM_ASAN
  __asan_unpoison_memory_region(piece, 8 * words);
#endif
  // NaN, word by word: memset would be seen by ThreadSanitizer as a write of this GPU thread.
  volatile uint64_t* word = reinterpret_cast<uint64_t*>(piece);
  for (size_t i = 0; i < words; ++i) word[i] = ~uint64_t(0);
#ifdef CUSIM_ASAN
  __asan_poison_memory_region(piece + bytes, 8 * words - bytes);
#endif
  block.pieces.push_back({tag, piece, bytes});
  watch_shared_begin(piece, bytes);
  return piece;
}

void set_order(Block& block, int count) {
  const Settings& s = settings();
  block.order.resize(size_t(count));
  for (int i = 0; i < count; ++i)
    block.order[size_t(i)] = s.order == Settings::Order::Reverse ? count - 1 - i : i;
  if (s.order == Settings::Order::Shuffle) {
    std::mt19937_64 random(s.seed * 1000003 + block.index.x + 7919 * block.index.y);
    for (int i = count - 1; i > 0; --i)
      std::swap(block.order[size_t(i)], block.order[random() % size_t(i + 1)]);
  }
}

void begin_block(Block& block, const Grid& grid, uint3 index) {
  const dim3 shape = grid.block;
  const int count = int(product(shape));
  block.grid = &grid, block.index = index;
  block.live = count, block.at_barrier = 0, block.failure = nullptr, block.current = nullptr;
  block.barrier_order = new_order();
  block.scheduler = fiber_of_this_thread();
  // Room for what the threads will note down: memory that one fiber takes and another gives back is a race to ThreadSanitizer.
  block.meetings.resize(std::max(block.meetings.size(), size_t(count + 31) / 32));
  for (auto& meetings : block.meetings) {
    meetings.clear();
    meetings.reserve(32);
  }
  block.pieces.reserve(32);
  block.threads.assign(size_t(count), Thread{});
  for (int i = 0; i < count; ++i) {
    Thread& t = block.threads[size_t(i)];
    t.number = i;
    t.index = {unsigned(i) % shape.x, unsigned(i) / shape.x % shape.y, unsigned(i) / shape.x / shape.y};
  }
  set_order(block, count);
  new_shared_memory(block);
  take_shared(block, nullptr, grid.shared_bytes, 16);
  blockIdx = index, blockDim = grid.block, gridDim = grid.grid;
}

void run_block(Block& block, const Grid& grid, uint3 index) {
  begin_block(block, grid, index);
  watch_block_begin(block);
  try {
    while (block.live > 0) {
      bool ran = false;
      for (int i : block.order) {
        Thread& thread = block.threads[size_t(i)];
        if (thread.state != State::Fresh && thread.state != State::Ready) continue;
        resume(block, thread);
        ran = true;
      }
      if (block.live > 0 && block.at_barrier == block.live) {
        finish_barrier();
      } else if (!ran) {
        report_deadlock();
      }
    }
  } catch (...) {
    block.current = nullptr;
    for (Thread& thread : block.threads)
      order_after(thread.order);  // what they did is before what the caller does now
    order_after(end_order);
    drop_fibers(block);
    throw;
  }
  watch_block_end(block);
  if (!lazy) drop_fibers(block);
}

// ---- one grid ----

void check_shape(const Grid& g) {
  const std::string launch = std::string(g.name) + " launched at " + to_string(g.site) + ": ";
  const long threads = product(g.block), blocks = product(g.grid);
  if (threads < 1 || blocks < 1)
    throw Fault(launch + "a grid or block without threads is an invalid configuration");
  if (threads > most_threads)
    throw Fault(launch + std::to_string(threads) + " threads per block; at most " +
                std::to_string(most_threads) +
                (lazy ? " exist on a GPU"
                      : " run under ThreadSanitizer: launch shapes are parameters, use a smaller one"));
  if (g.grid.x > 0x7fffffffu || g.grid.y > 65535 || g.grid.z > 65535)
    throw Fault(launch + "grid beyond (2³¹ − 1, 65535, 65535)");
  size_t limit = default_shared_limit;
  {
    std::lock_guard guard(attributes_lock);
    const auto found = shared_limits().find(g.kernel);
    if (found != shared_limits().end()) limit = found->second;
  }
  if (g.shared_bytes > limit)
    throw Fault(launch + std::to_string(g.shared_bytes) + " bytes of dynamic shared memory; the limit is " +
                std::to_string(limit) + " (cudaFuncSetAttribute raises it to at most 227 KB)");
}

void run_once(const Grid& g) {
  DeviceAccess access;
  const long blocks = product(g.grid);
  const auto index = [&](long i) {
    return uint3{unsigned(i % g.grid.x), unsigned(i / g.grid.x % g.grid.y),
                 unsigned(i / g.grid.x / g.grid.y)};
  };
  begin_order = new_order(), end_order = new_order();
  if (!settings().parallel || blocks == 1) {
    order_before(begin_order);  // blocks are not ordered among themselves: a race between two is reported
    for (long i = 0; i < blocks; ++i) run_block(this_block(), g, index(i));
    order_after(end_order);
    forget_freed_fibers();
    return;
  }
  std::exception_ptr failure;
#pragma omp parallel for schedule(dynamic, 1)
  for (long i = 0; i < blocks; ++i) {
    try {
      run_block(this_block(), g, index(i));
    } catch (...) {
#pragma omp critical(cusim_failure)
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace

namespace {

// Runs the grid again from `before` in another order and compares with what the forward order left.
void compare_order(const Grid& g, const Snapshot& before, const Snapshot& forward, Settings::Order order,
                   uint64_t seed, const char* name) {
  restore(before);
  Settings& s = settings();
  const Settings kept = s;
  s.order = order, s.seed = seed;
  try {
    run_once(g);
  } catch (...) {
    s = kept;
    throw;
  }
  s = kept;
  const std::string difference = first_difference(forward);
  if (difference.empty()) return;
  throw Fault(std::string(g.name) + " launched at " + to_string(g.site) +
              " depends on the order of its threads (forward against " + name + "): " + difference +
              ". A barrier is missing, or floats are added with atomics");
}

}  // namespace

void run_grid(const Grid& g) {
  if (this_block().current)
    throw Fault(std::string(g.name) + " launched at " + to_string(g.site) +
                " from a kernel: cusim has no dynamic parallelism");
  check_shape(g);
  watch_grid_begin(g);
  if (!settings().check) {
    run_once(g);
    watch_grid_end(g);
    return;
  }
  const Snapshot before = take_snapshot();
  run_once(g);
  const Snapshot forward = take_snapshot();
  compare_order(g, before, forward, Settings::Order::Reverse, 0, "reverse");
  compare_order(g, before, forward, Settings::Order::Shuffle, 1, "shuffle:1");
  compare_order(g, before, forward, Settings::Order::Shuffle, 2, "shuffle:2");
  restore(forward);
  watch_grid_end(g);
}

void allow_shared_bytes(const void* kernel, int bytes, const Site& site) {
  if (bytes < 0 || size_t(bytes) > highest_shared_limit)
    throw Fault("cudaFuncSetAttribute at " + to_string(site) + ": " + std::to_string(bytes) +
                " bytes of shared memory; a block has at most 227 KB");
  std::lock_guard guard(attributes_lock);
  shared_limits()[kernel] = std::max(size_t(bytes), default_shared_limit);
}

Block::~Block() {
  drop_fibers(*this);
  if (shared) munmap(shared, shared_arena_bytes);
}

Block& this_block() {
  thread_local Block block;
  return block;
}

void yield() {
  Block& block = this_block();
  Thread* self = block.current;
  block.current = nullptr;
  switch_fiber(*self->fiber, *block.scheduler);
}

void* shared_memory(const SharedTag& tag, size_t bytes, size_t alignment) {
  Block& block = this_block();
  for (const SharedPiece& piece : block.pieces) {
    if (piece.tag == &tag) return piece.begin;
  }
  size_t total = bytes;
  for (const SharedPiece& piece : block.pieces) total += piece.tag ? piece.bytes : 0;
  if (total > default_shared_limit)
    throw Fault(std::string(block.grid->name) + " declares " + std::to_string(total) +
                " bytes of static shared memory with " + tag.name + " at " + tag.file + ":" +
                std::to_string(tag.line) + "; a GPU gives 48 KB");
  return take_shared(block, &tag, bytes, alignment);
}

void* dynamic_shared_memory() {
  return this_block().pieces.front().begin;
}

}  // namespace cusim
