#pragma once
// The launcher: grids, blocks, threads, barriers, rendezvous of warps. Kernels see only device.h.

#include <source_location>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "kernels/cuda/sim/types.h"

namespace cusim {

#if defined(__cpp_lib_source_location)
using Site = std::source_location;
#else  // clang 14 has the parts, but not the class
struct Site {
  static constexpr Site current(const char* file = __builtin_FILE(), unsigned line = __builtin_LINE(),
                                unsigned column = __builtin_COLUMN()) {
    return {file, line, column};
  }
  constexpr const char* file_name() const { return file_at; }
  constexpr unsigned line() const { return line_at; }
  constexpr unsigned column() const { return column_at; }

  const char* file_at = "";
  unsigned line_at = 0, column_at = 0;
};
#endif
std::string to_string(const Site& site);  // file:line:column

// Something that is undefined on a GPU, or that cusim cannot do.
struct Fault : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Grid {
  Site site;
  const char* name;    // of the kernel, as written at the launch
  const void* kernel;  // its address
  dim3 grid, block;
  size_t shared_bytes;       // of dynamic shared memory
  void (*run)(const void*);  // calls the kernel once, as the current thread
  const void* call;          // with these arguments
  size_t call_bytes;
};
void run_grid(const Grid& grid);

// A __shared__ declaration. One object per declaration (and template instance): its address is its name.
struct SharedTag {
  const char* name;
  const char* type;
  const char* file;
  int line;
};
void* shared_memory(const SharedTag& tag, size_t bytes,
                    size_t alignment);  // the same block for all threads of a block
void* dynamic_shared_memory();

template <class Array>
Array& shared_array(const SharedTag& tag) {
  return *static_cast<Array*>(shared_memory(tag, sizeof(Array), alignof(Array) < 16 ? 16 : alignof(Array)));
}
template <class T>
T* dynamic_shared() {
  return static_cast<T*>(dynamic_shared_memory());
}

// What the current thread waits for, with a value that the others may see.
enum class BlockOp { Sync, Count, And, Or };
enum class WarpOp { Sync, Shuffle, Ballot, Any, All, Add, Min, Max, AddInt, MinInt, MaxInt, And, Or, Xor };
int wait_for_block(BlockOp op, bool value, const Site& site);
// Waits for the lanes of mask. Shuffle: returns the value that lane `source` brought; otherwise the op over the mask.
uint64_t wait_for_warp(WarpOp op, unsigned mask, uint64_t value, int source, const Site& site);
[[noreturn]] void kernel_fault(const std::string& what, const Site& site);  // names thread, block and kernel
// The lane that a shuffle of this lane reads; faults when number or width are out of range.
enum class Shuffle { Index, Down, Up, Xor };
int source_lane(Shuffle kind, int number, int width, const Site& site);

bool inside_kernel();
bool has_focus();  // may the current thread print?

// A pointer given to a kernel must point into device memory; "both sites": the launch, and where the memory came from.
void check_pointer(const Site& site, const char* kernel, int index, const void* pointer);
template <class T>
void check_argument(const Site& site, const char* kernel, int index, const T& argument) {
  if constexpr (std::is_pointer_v<T>) check_pointer(site, kernel, index, argument);
}

// "thread 33 of block 5 (warp 1, lane 1)", for messages; empty outside a kernel.
std::string where_am_i();

}  // namespace cusim
