// What the compiler's calls before every load and store are used for. Compiled only into watch builds; it takes the place
// of ThreadSanitizer's runtime, whose function names it defines.

#include "kernels/cuda/sim/watch.h"

#ifdef CUSIM_WATCH

#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "kernels/cuda/sim/device.h"
#include "kernels/cuda/sim/memory.h"
#undef printf

extern "C" char __executable_start, end;

namespace cusim {
namespace {

enum class Space { Global, Shared, Local, Other };

// The accesses of one warp's lanes to one instruction, for the same time each.
struct Request {
  uintptr_t pc;
  Space space;
  bool store;
  size_t bytes;  // per lane
  std::vector<const char*> addresses;
};
struct Line {
  int64_t requests = 0, lanes = 0, sectors = 0, passes = 0, ideal = 0;
  Space space = Space::Global;
  bool store = false;
};

Counts counts, total;
std::map<uintptr_t, Line> lines;                          // by instruction
std::map<std::pair<int, uintptr_t>, int> visits;          // of one thread to one instruction
std::map<std::tuple<int, uintptr_t, int>, Request> open;  // by warp, instruction, visit
std::vector<uint8_t> shared_written;                      // of the arena, one byte per byte

// "kernel.cu:31 in void k(float*)", asked of addr2line; only when something is to be said.
std::string source_of(uintptr_t pc) {
  static uintptr_t base = [] {
    uintptr_t b = 0;
    dl_iterate_phdr([](dl_phdr_info* info, size_t,
                       void* out) { return *static_cast<uintptr_t*>(out) = info->dlpi_addr, 1; },
                    &b);
    return b;
  }();
  char command[256], line[512] = "";
  std::snprintf(command, sizeof command, "addr2line -se /proc/%d/exe %#zx", int(getpid()),
                size_t(pc - 1 - base));
  if (FILE* pipe = popen(command, "r")) {
    if (!std::fgets(line, sizeof line, pipe)) line[0] = 0;
    pclose(pipe);
  }
  std::string text = line;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  text = text.substr(0, text.find(" (disc"));  // "(discriminator 1)": which copy of the line
  return text.empty() || text[0] == '?' ? "an unknown line (is binutils installed?)" : text;
}

[[noreturn]] void watch_fault(uintptr_t pc, const std::string& what) {
  Block& block = this_block();
  block.failure =
      std::make_exception_ptr(Fault(source_of(pc) + ": " + what + "; by " + where_am_i() + " of " +
                                    block.grid->name + " launched at " + to_string(block.grid->site)));
  // The compiler takes our caller for a function that cannot throw: leave the fiber for good instead.
  switch_fiber(*block.current->fiber, *block.scheduler, true);
  std::abort();
}

// The shared array that holds the address, or the one that ends nearest below it.
const SharedPiece* shared_piece(const Block& block, const char* address) {
  const SharedPiece* best = nullptr;
  for (const SharedPiece& piece : block.pieces) {
    if (piece.begin <= address && (!best || piece.begin > best->begin)) best = &piece;
  }
  return best ? best : &block.pieces.front();
}

std::string name_of(const SharedPiece& piece) {
  if (!piece.tag) return "dynamic shared memory (" + std::to_string(piece.bytes) + " bytes)";
  return "shared array " + std::string(piece.tag->name) + " (" + std::to_string(piece.bytes) + " bytes of " +
         piece.tag->type + ", declared at " + piece.tag->file + ":" + std::to_string(piece.tag->line) + ")";
}

void check_shared(Block& block, uintptr_t pc, const char* address, size_t bytes, bool store) {
  const SharedPiece& piece = *shared_piece(block, address);
  const std::ptrdiff_t offset = address - piece.begin;
  if (offset < 0 || size_t(offset) + bytes > piece.bytes)
    watch_fault(pc, std::string(store ? "write" : "read") + " of " + std::to_string(bytes) +
                        " bytes at offset " + std::to_string(offset) + " is outside " + name_of(piece));
  uint8_t* written = shared_written.data() + (address - block.shared);
  if (!store && std::find(written, written + bytes, 0) != written + bytes)
    watch_fault(pc, "reads what no thread of the block has written, at offset " + std::to_string(offset) +
                        " of " + name_of(piece));
  if (store) std::fill_n(written, bytes, 1);
}

void check_global(Allocation& a, uintptr_t pc, const char* address, size_t bytes, bool store) {
  const size_t offset = size_t(address - a.begin);
  const std::string where = std::to_string(bytes) + " bytes at offset " + std::to_string(offset) + " of " +
                            std::to_string(a.bytes) + " bytes allocated at " + to_string(a.site);
  if (offset + bytes > a.bytes)
    watch_fault(pc, std::string(store ? "writes " : "reads ") + where + ", beyond its end");
  uint8_t* written = a.written.data() + offset;
  if (!store && std::find(written, written + bytes, 0) != written + bytes)
    watch_fault(pc, "reads what nobody has written: " + where);
  if (store) std::fill_n(written, bytes, 1);
}

bool is_index(const char* p) {
  const auto inside = [p](const auto& v) {
    const char* begin = reinterpret_cast<const char*>(&v);
    return p >= begin && p < begin + sizeof v;
  };
  return inside(threadIdx) || inside(blockIdx) || inside(blockDim) || inside(gridDim);
}

void on_access(const void* address, size_t bytes, bool store, uintptr_t pc) {
  Block& block = this_block();
  Thread* thread = block.current;
  if (!thread) return;  // host code in an instrumented file
  const char* p = static_cast<const char*>(address);
  Space space = Space::Local;
  if (p >= thread->fiber->stack && p < thread->fiber->stack + thread->fiber->stack_bytes) {
    counts.local += 1;
    return;
  } else if (p >= block.shared && p < block.shared + shared_arena_bytes) {
    space = Space::Shared;
    check_shared(block, pc, p, bytes, store);
  } else if (Allocation* a = find_allocation(p)) {
    space = Space::Global;
    check_global(*a, pc, p, bytes, store);
  } else if (p >= &__executable_start && p < &end) {
    return;  // constants, raw __shared__
  } else if (p >= block.grid->call &&
             p < static_cast<const char*>(block.grid->call) + block.grid->call_bytes) {
    return;  // the kernel's arguments
  } else if (is_index(p)) {
    return;  // threadIdx and its like
  } else {
    watch_fault(pc, std::string(store ? "writes" : "reads") +
                        " an address that is in no allocation: a host pointer, or out of bounds");
  }
  const int visit = visits[{thread->number, pc}]++;
  Request& request = open[{thread->warp(), pc, visit}];
  if (request.addresses.empty())
    request.pc = pc, request.space = space, request.store = store, request.bytes = bytes;
  request.addresses.push_back(p);
}

// 32-byte sectors of global memory that the lanes touch together.
int64_t sectors_of(const Request& r) {
  std::set<uintptr_t> sectors;
  for (const char* a : r.addresses) {
    for (uintptr_t s = uintptr_t(a) / 32; s <= (uintptr_t(a) + r.bytes - 1) / 32; ++s) sectors.insert(s);
  }
  return int64_t(sectors.size());
}

// Passes through the 32 banks of 4 bytes: lanes that want different words of one bank take turns. Wide accesses go in
// groups of lanes that fill the banks once.
int64_t passes_of(const Request& r, int64_t& ideal) {
  const size_t group = std::max<size_t>(1, 32 * 4 / std::max<size_t>(r.bytes, 4));
  int64_t passes = 0;
  for (size_t begin = 0; begin < r.addresses.size(); begin += group) {
    std::set<uintptr_t> words[32];
    for (size_t i = begin; i < std::min(begin + group, r.addresses.size()); ++i) {
      for (uintptr_t w = uintptr_t(r.addresses[i]) / 4; w <= (uintptr_t(r.addresses[i]) + r.bytes - 1) / 4;
           ++w)
        words[w % 32].insert(w);
    }
    size_t most = 0;
    for (const auto& bank : words) most = std::max(most, bank.size());
    passes += int64_t(most);
    ideal += 1;
  }
  return passes;
}

void add_up(const Request& r) {
  Line& line = lines[r.pc];
  line.space = r.space, line.store = r.store;
  line.requests += 1, line.lanes += int64_t(r.addresses.size());
  if (r.space == Space::Global) {
    const int64_t sectors = sectors_of(r);
    line.sectors += sectors, counts.sectors += sectors;
    counts.global_bytes += int64_t(r.addresses.size() * r.bytes);
    (r.store ? counts.global_stores : counts.global_loads) += 1;
  } else {
    int64_t ideal = 0;
    const int64_t passes = passes_of(r, ideal);
    line.passes += passes, line.ideal += ideal, counts.shared_passes += passes, counts.ideal_passes += ideal;
    (r.store ? counts.shared_stores : counts.shared_loads) += 1;
  }
}

}  // namespace

const Counts& last_counts() {
  return counts;
}
const Counts& total_counts() {
  return total;
}
Counts& Counts::operator+=(const Counts& c) {
  global_loads += c.global_loads, global_stores += c.global_stores, global_bytes += c.global_bytes;
  sectors += c.sectors, shared_loads += c.shared_loads, shared_stores += c.shared_stores;
  shared_passes += c.shared_passes, ideal_passes += c.ideal_passes, local += c.local;
  return *this;
}

void watch_grid_begin(const Grid&) {
  counts = {};
  lines.clear();
}
void watch_block_begin(Block& block) {
  (void)block;
  visits.clear();
  open.clear();
}
void watch_block_end(Block&) {
  for (const auto& [key, request] : open) add_up(request);
  visits.clear();
  open.clear();
}
void watch_shared_begin(char* begin, size_t bytes) {
  if (shared_written.empty()) shared_written.resize(shared_arena_bytes);
  std::fill_n(shared_written.begin() + (begin - this_block().shared), bytes, 0);
}

void watch_grid_end(const Grid& grid) {
  total += counts;
  const char* wanted = std::getenv("CUSIM_COUNT");
  if (!wanted || std::strcmp(wanted, "1") != 0) return;
  const Counts& c = counts;
  std::fprintf(
      stderr, "%s at %s:%u\n  score %lld = %lld sectors + %lld shared passes (%lld without bank conflicts)\n",
      grid.name, grid.site.file_name(), unsigned(grid.site.line()), (long long)c.score(),
      (long long)c.sectors, (long long)c.shared_passes, (long long)c.ideal_passes);
  for (const auto& [pc, line] : lines) {
    const bool global = line.space == Space::Global;
    std::fprintf(stderr, "  %-28s %-6s %-5s %8lld requests  %6.2f %s per request\n", source_of(pc).c_str(),
                 global ? "global" : "shared", line.store ? "store" : "load", (long long)line.requests,
                 double(global ? line.sectors : line.passes) / double(line.requests),
                 global ? "sectors" : "passes");
  }
}

}  // namespace cusim

// ---- the names that GCC and Clang call ----

#define CUSIM_WATCH_ONE(name, bytes, store)                                                            \
  extern "C" void __tsan_##name(void* address) {                                                       \
    cusim::on_access(address, bytes, store, reinterpret_cast<uintptr_t>(__builtin_return_address(0))); \
  }
CUSIM_WATCH_ONE(read1, 1, false)
CUSIM_WATCH_ONE(read2, 2, false)
CUSIM_WATCH_ONE(read4, 4, false)
CUSIM_WATCH_ONE(read8, 8, false)
CUSIM_WATCH_ONE(read16, 16, false)
CUSIM_WATCH_ONE(write1, 1, true)
CUSIM_WATCH_ONE(write2, 2, true)
CUSIM_WATCH_ONE(write4, 4, true)
CUSIM_WATCH_ONE(write8, 8, true)
CUSIM_WATCH_ONE(write16, 16, true)
CUSIM_WATCH_ONE(unaligned_read2, 2, false)
CUSIM_WATCH_ONE(unaligned_read4, 4, false)
CUSIM_WATCH_ONE(unaligned_read8, 8, false)
CUSIM_WATCH_ONE(unaligned_read16, 16, false)
CUSIM_WATCH_ONE(unaligned_write2, 2, true)
CUSIM_WATCH_ONE(unaligned_write4, 4, true)
CUSIM_WATCH_ONE(unaligned_write8, 8, true)
CUSIM_WATCH_ONE(unaligned_write16, 16, true)
extern "C" void __tsan_read_range(void* address, size_t bytes) {
  cusim::on_access(address, bytes, false, reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}
extern "C" void __tsan_write_range(void* address, size_t bytes) {
  cusim::on_access(address, bytes, true, reinterpret_cast<uintptr_t>(__builtin_return_address(0)));
}
extern "C" void __tsan_init() {}
extern "C" void __tsan_func_entry(void*) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void**, void*) {}
extern "C" void __tsan_vptr_read(void**) {}

// Atomics: one access each, then the operation itself.
#define CUSIM_WATCH_ATOMIC(bits, T)                                                                         \
  extern "C" T __tsan_atomic##bits##_load(const volatile T* a, int) {                                       \
    cusim::on_access(const_cast<const T*>(a), sizeof(T), false,                                             \
                     reinterpret_cast<uintptr_t>(__builtin_return_address(0)));                             \
    return __atomic_load_n(a, __ATOMIC_SEQ_CST);                                                            \
  }                                                                                                         \
  extern "C" bool __tsan_atomic##bits##_compare_exchange_strong(volatile T* a, T* expected, T desired, int, \
                                                                int) {                                      \
    cusim::on_access(const_cast<const T*>(a), sizeof(T), true,                                              \
                     reinterpret_cast<uintptr_t>(__builtin_return_address(0)));                             \
    return __atomic_compare_exchange_n(a, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);    \
  }                                                                                                         \
  extern "C" bool __tsan_atomic##bits##_compare_exchange_weak(volatile T* a, T* expected, T desired, int,   \
                                                              int) {                                        \
    return __tsan_atomic##bits##_compare_exchange_strong(a, expected, desired, 0, 0);                       \
  }                                                                                                         \
  extern "C" T __tsan_atomic##bits##_compare_exchange_val(volatile T* a, T expected, T desired, int, int) { \
    __tsan_atomic##bits##_compare_exchange_strong(a, &expected, desired, 0, 0);                             \
    return expected;                                                                                        \
  }
CUSIM_WATCH_ATOMIC(8, uint8_t)
CUSIM_WATCH_ATOMIC(16, uint16_t)
CUSIM_WATCH_ATOMIC(32, uint32_t)
CUSIM_WATCH_ATOMIC(64, uint64_t)

#endif
