#pragma once
// Device memory is host memory with a register: who allocated it, where, and whether it is still alive. New memory is
// filled with NaN. Every call checks its pointers and throws Fault with both sites, where a GPU returns an error code or
// corrupts something.

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/cuda/sim/executor.h"

enum cudaMemcpyKind {
  cudaMemcpyHostToHost,
  cudaMemcpyHostToDevice,
  cudaMemcpyDeviceToHost,
  cudaMemcpyDeviceToDevice,
  cudaMemcpyDefault,
};

namespace cusim {

enum class Kind { Device, Pinned };

struct Allocation {
  char* begin = nullptr;
  size_t bytes = 0;
  Kind kind = Kind::Device;
  Site site;                     // of the cudaMalloc
  std::vector<uint8_t> written;  // watch builds: one byte per byte
};

void* allocate(size_t bytes, Kind kind, const Site& site);
void release(void* pointer, Kind kind, const Site& site);
void copy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, const Site& site);
void set(void* to, int value, size_t bytes, const Site& site);
void poison(void* begin, size_t bytes);  // as if it had just been allocated

Allocation* find_allocation(const void* pointer);  // null: not device or pinned memory
bool strict();                                     // CUSIM_STRICT=1

// While one exists, device memory may be touched: inside kernels, and in host code that stands in for one (a GEMM).
struct DeviceAccess {
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
};

// All live device memory, for CUSIM_MODE=check.
struct Snapshot {
  struct Piece {
    char* begin;
    std::vector<char> bytes;
    Site site;
  };
  std::vector<Piece> pieces;
};
Snapshot take_snapshot();
void restore(const Snapshot& snapshot);
std::string first_difference(const Snapshot& expected);  // from what is in memory now; empty if none

}  // namespace cusim
