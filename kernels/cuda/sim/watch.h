#pragma once
// Watch builds (-DCUSIM_WATCH, the kernels compiled with -fsanitize=thread but not linked with its runtime): the compiler
// calls us before every load and store of a kernel. We know then
//   - reads of device or shared memory that nobody has written (a GPU's initcheck),
//   - accesses outside every shared array and every allocation (memcheck), each with file and line,
//   - how many loads and stores each warp makes, how many 32-byte sectors they touch, how many shared-memory passes bank
//     conflicts cost: a score for a kernel that no clock is needed for.
// In other builds these functions are empty.

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/sim/block.h"

namespace cusim {

// Of one grid, or of several. A request is one load or store of one warp: the accesses of its lanes to one instruction.
struct Counts {
  int64_t global_loads = 0, global_stores = 0;  // requests
  int64_t global_bytes = 0;                     // asked for by lanes
  int64_t sectors = 0;                          // 32-byte pieces of memory that the requests touch
  int64_t shared_loads = 0, shared_stores = 0;  // requests
  int64_t shared_passes = 0, ideal_passes = 0;  // passes − ideal = what bank conflicts cost
  int64_t local = 0;  // accesses to the thread's own stack that were not optimized away
  // The lower the better: bytes moved, in sectors, plus shared-memory passes.
  int64_t score() const { return sectors + shared_passes; }
  Counts& operator+=(const Counts& other);
};

#ifdef CUSIM_WATCH
constexpr bool watching() {
  return true;
}
const Counts& last_counts();
const Counts& total_counts();  // of all grids since the program began
void watch_grid_begin(const Grid& grid);
void watch_grid_end(const Grid& grid);  // CUSIM_COUNT=1 prints the table, by line
void watch_block_begin(Block& block);
void watch_block_end(Block& block);
void watch_shared_begin(char* begin, size_t bytes);
#else
constexpr bool watching() {
  return false;
}
inline void watch_grid_begin(const Grid&) {}
inline void watch_grid_end(const Grid&) {}
inline void watch_block_begin(Block&) {}
inline void watch_block_end(Block&) {}
inline void watch_shared_begin(char*, size_t) {}
#endif

}  // namespace cusim
