// The register of device and pinned memory, and the calls that check against it.

#include "kernels/cuda/sim/memory.h"

#include <execinfo.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "kernels/cuda/sim/fiber.h"
#include "kernels/cuda/sim/watch.h"

namespace cusim {
namespace {

struct Freed {
  size_t bytes;
  Site allocated, released;
};

struct Registry {
  std::recursive_mutex lock;
  std::map<const char*, Allocation> live;  // by first byte
  std::map<const char*, Freed> freed;      // where something used to be, for messages
};
Registry& registry() {
  static auto* instance = new Registry;
  return *instance;
}

// ---- where device memory lies ----

// In one range of addresses that is never used for anything else and never twice: a pointer into it is a device pointer,
// and a stale one is known for what it is. With AddressSanitizer it comes from malloc instead, which has redzones.
constexpr size_t arena_bytes = size_t(64) << 30, page = 4096;
char* arena = nullptr;
std::atomic<size_t> arena_used = 0;
int access_depth = 0;
#ifdef CUSIM_ASAN
constexpr bool use_arena = false;
#else
constexpr bool use_arena = true;
#endif

bool in_arena(const void* pointer) {
  return arena && pointer >= arena && pointer < arena + arena_bytes;
}

void protect_arena(int protection) {
  if (arena && arena_used > 0) mprotect(arena, arena_used, protection);
}

void on_segv(int, siginfo_t* info, void*) {
  const char* address = static_cast<const char*>(info->si_addr);
  char text[512] = "segmentation fault\n";
  if (in_arena(address)) {
    const Allocation* a = find_allocation(address);
    if (a) {
      std::snprintf(
          text, sizeof text,
          "cusim: host code touched device memory, %zd bytes into what %s:%u allocated: copy it first\n",
          address - a->begin, a->site.file_name(), unsigned(a->site.line()));
    } else {
      std::snprintf(text, sizeof text, "cusim: host code touched device memory that nobody owns\n");
    }
  }
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) std::abort();
  void* frames[32];
  backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
  std::signal(SIGSEGV, SIG_DFL);
  std::raise(SIGSEGV);
}

char* allocate_in_arena(size_t bytes) {
  if (!arena) {
    void* memory = mmap(nullptr, arena_bytes, strict() ? PROT_NONE : PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw Fault("cusim: no 64 GiB of address space");
    arena = static_cast<char*>(memory);
    struct sigaction action = {};
    action.sa_sigaction = on_segv;
    action.sa_flags = SA_SIGINFO;
    if (strict()) sigaction(SIGSEGV, &action, nullptr);
  }
  const size_t whole = (bytes + 2 * page - 1) / page * page;  // a page between neighbours
  if (arena_used + whole > arena_bytes) throw Fault("cusim: 64 GiB have been allocated in all");
  return arena + arena_used.fetch_add(whole);
}

// ---- names ----

std::string describe(const Allocation& a) {
  return std::to_string(a.bytes) + " bytes of " + (a.kind == Kind::Device ? "device" : "pinned") +
         " memory from " + to_string(a.site);
}

// The allocation that holds [pointer, pointer + bytes); faults if it does not hold all of it.
Allocation* covering(const void* pointer, size_t bytes, const char* what, const Site& site) {
  Allocation* a = find_allocation(pointer);
  if (!a) {
    if (use_arena && !in_arena(pointer)) return nullptr;
    const char* p = static_cast<const char*>(pointer);
    auto& freed = registry().freed;
    auto after = freed.upper_bound(p);
    if (after != freed.begin()) {
      const auto& [begin, f] = *std::prev(after);
      if (p < begin + f.bytes)
        throw Fault(std::string(what) + " at " + to_string(site) + " uses memory that was allocated at " +
                    to_string(f.allocated) + " and freed at " + to_string(f.released));
    }
    return nullptr;
  }
  const size_t offset = size_t(static_cast<const char*>(pointer) - a->begin);
  if (offset + bytes > a->bytes)
    throw Fault(std::string(what) + " at " + to_string(site) + ": " + std::to_string(bytes) +
                " bytes at offset " + std::to_string(offset) + " exceed the " + describe(*a));
  return a;
}

}  // namespace

bool strict() {
  static const bool on = std::getenv("CUSIM_STRICT") && std::string_view(std::getenv("CUSIM_STRICT")) == "1";
  return on;
}

DeviceAccess::DeviceAccess() {
  if (!strict()) return;
  std::lock_guard guard(registry().lock);
  if (access_depth++ == 0) protect_arena(PROT_READ | PROT_WRITE);
}
DeviceAccess::~DeviceAccess() {
  if (!strict()) return;
  std::lock_guard guard(registry().lock);
  if (--access_depth == 0) protect_arena(PROT_NONE);
}

void* allocate(size_t bytes, Kind kind, const Site& site) {
  if (bytes == 0) return nullptr;
  std::lock_guard guard(registry().lock);
  char* begin = use_arena && kind == Kind::Device
                    ? allocate_in_arena(bytes)
                    : static_cast<char*>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  if (!begin) throw std::bad_alloc();
  Allocation a{begin, bytes, kind, site, {}};
  registry().freed.erase(begin);
  registry().live[begin] = std::move(a);
  poison(begin, bytes);
  return begin;
}

void release(void* pointer, Kind kind, const Site& site) {
  if (!pointer) return;
  Registry& r = registry();
  std::lock_guard guard(r.lock);
  const auto found = r.live.find(static_cast<const char*>(pointer));
  if (found == r.live.end()) {
    covering(pointer, 1, "cudaFree", site);
    throw Fault("cudaFree at " + to_string(site) + " of a pointer that cudaMalloc never gave");
  }
  if (found->second.kind != kind)
    throw Fault("cudaFree and cudaFreeHost are mixed up at " + to_string(site) + ": this is " +
                describe(found->second));
  if (kind == Kind::Device)
    r.freed.insert_or_assign(found->first, Freed{found->second.bytes, found->second.site, site});
  const size_t bytes = found->second.bytes;
  r.live.erase(found);
  if (in_arena(pointer)) {
    madvise(pointer, bytes, MADV_DONTNEED);  // the memory goes back, the addresses do not
  } else {
    std::free(pointer);
  }
}

void poison(void* begin, size_t bytes) {
  DeviceAccess access;
  std::memset(begin, 0xff, bytes);  // every float of it is NaN
  if (Allocation* a = watching() ? find_allocation(begin) : nullptr) {
    a->written.resize(a->bytes);
    std::fill_n(a->written.begin() + (static_cast<char*>(begin) - a->begin), bytes, 0);
  }
}

Allocation* find_allocation(const void* pointer) {
  Registry& r = registry();
  std::lock_guard guard(r.lock);
  const char* p = static_cast<const char*>(pointer);
  auto after = r.live.upper_bound(p);
  if (after == r.live.begin()) return nullptr;
  Allocation& a = std::prev(after)->second;
  return p < a.begin + a.bytes ? &a : nullptr;
}

void check_pointer(const Site& site, const char* kernel, int index, const void* pointer) {
  if (!pointer) return;
  const std::string what = "argument " + std::to_string(index) + " of " + kernel + " launched";
  if (!covering(pointer, 0, what.c_str(), site))
    throw Fault(what + " at " + to_string(site) +
                " is a host pointer: a GPU cannot read it. Copy to memory from cudaMalloc first");
}

void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, const Site& site) {
  if (bytes == 0) return;
  std::lock_guard guard(registry().lock);
  Allocation* target = covering(to, bytes, "cudaMemcpy (target)", site);
  Allocation* source = covering(from, bytes, "cudaMemcpy (source)", site);
  const bool to_device = target && target->kind == Kind::Device,
             from_device = source && source->kind == Kind::Device;
  const auto demand = [&](bool is_device, bool wanted, const char* side, const Allocation* a) {
    if (is_device == wanted) return;
    throw Fault("cudaMemcpy at " + to_string(site) + " says that its " + side + " is " +
                (wanted ? "device" : "host") + " memory, but it is " +
                (a ? describe(*a) : std::string("ordinary host memory")));
  };
  if (kind != cudaMemcpyDefault) {
    demand(to_device, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice, "target", target);
    demand(from_device, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice, "source", source);
  }
  DeviceAccess access;
  std::memmove(to, from, bytes);
  if (!watching() || !target) return;
  for (size_t i = 0; i < bytes; ++i) {
    // The host writes pinned memory without our knowing.
    const bool known =
        !from_device || source->written[size_t(static_cast<const char*>(from) - source->begin) + i];
    target->written[size_t(static_cast<char*>(to) - target->begin) + i] = known;
  }
}

void set(void* to, int value, size_t bytes, const Site& site) {
  if (bytes == 0) return;
  std::lock_guard guard(registry().lock);
  Allocation* target = covering(to, bytes, "cudaMemset", site);
  if (!target) throw Fault("cudaMemset at " + to_string(site) + " of ordinary host memory");
  DeviceAccess access;
  std::memset(to, value, bytes);
  if (watching()) std::fill_n(target->written.begin() + (static_cast<char*>(to) - target->begin), bytes, 1);
}

// ---- snapshots ----

Snapshot take_snapshot() {
  DeviceAccess access;
  std::lock_guard guard(registry().lock);
  Snapshot snapshot;
  for (const auto& [begin, a] : registry().live) {
    if (a.kind == Kind::Device) snapshot.pieces.push_back({a.begin, {a.begin, a.begin + a.bytes}, a.site});
  }
  return snapshot;
}

void restore(const Snapshot& snapshot) {
  DeviceAccess access;
  for (const Snapshot::Piece& piece : snapshot.pieces)
    std::memcpy(piece.begin, piece.bytes.data(), piece.bytes.size());
}

std::string first_difference(const Snapshot& expected) {
  DeviceAccess access;
  for (const Snapshot::Piece& piece : expected.pieces) {
    const auto [a, b] = std::mismatch(piece.bytes.begin(), piece.bytes.end(), piece.begin);
    if (a == piece.bytes.end()) continue;
    const size_t word = size_t(a - piece.bytes.begin()) / 4;
    float was = 0, is = 0;
    std::memcpy(&was, piece.bytes.data() + word * 4, std::min<size_t>(4, piece.bytes.size() - word * 4));
    std::memcpy(&is, piece.begin + word * 4, std::min<size_t>(4, piece.bytes.size() - word * 4));
    return "word " + std::to_string(word) + " of the memory from " + to_string(piece.site) + " is " +
           std::to_string(was) + " or " + std::to_string(is) + " (as floats)";
  }
  return "";
}

}  // namespace cusim
