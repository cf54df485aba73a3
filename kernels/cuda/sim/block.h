#pragma once
// The inside of the launcher, shared by executor.cpp (who runs when) and rendezvous.cpp (who waits for whom).

#include <exception>
#include <string>
#include <vector>

#include "kernels/cuda/sim/executor.h"
#include "kernels/cuda/sim/fiber.h"

namespace cusim {

enum class State { Fresh, Ready, AtBarrier, AtWarp, Done };

// One GPU thread.
struct Thread {
  uint3 index;     // threadIdx
  int number = 0;  // x fastest
  State state = State::Fresh;
  Fiber* fiber = nullptr;  // while it is started and not done
  Site site;               // where it waits, or last waited
  // What it brought to the barrier or rendezvous, and what it takes away.
  BlockOp block_op = BlockOp::Sync;
  WarpOp warp_op = WarpOp::Sync;
  unsigned mask = 0;
  int source = 0;
  uint64_t value = 0, result = 0;
  char* order = nullptr;  // ThreadSanitizer: the address that orders this round of waiting

  int warp() const { return number / 32; }
  int lane() const { return number % 32; }
};

// Lanes of one warp on their way to a warp function with the same mask.
struct Meeting {
  unsigned mask;
  unsigned arrived;     // lanes that wait already
  const Thread* first;  // of them
  char* order;
};

struct SharedPiece {
  const SharedTag* tag;  // null: dynamic shared memory
  char* begin;
  size_t bytes;
};

// The block that runs on this OS thread. Memory is kept from block to block.
struct Block {
  ~Block();
  const Grid* grid = nullptr;
  uint3 index{};
  std::vector<Thread> threads;
  std::vector<int> order;  // in which threads are resumed
  int live = 0;            // not Done
  int at_barrier = 0;
  char* barrier_order = nullptr;
  std::vector<std::vector<Meeting>> meetings;  // by warp
  Thread* current = nullptr;                   // null while the scheduler runs

  char* shared = nullptr;  // arena of shared memory
  size_t shared_used = 0;
  std::vector<SharedPiece> pieces;

  std::vector<Fiber*> idle, all;  // fibers
  Fiber* scheduler = nullptr;
  Thread* to_start = nullptr;  // what the next idle fiber should run
  std::exception_ptr failure;
};
Block& this_block();  // of this OS thread
constexpr size_t shared_arena_bytes = 256 << 10;

void yield();            // back to the scheduler, until somebody makes the current thread Ready
void finish_barrier();   // all live threads wait at a barrier: check and make them Ready
void report_deadlock();  // nobody can run: throws a Fault that says who waits where

// "threads 0-31, 40": by number within the block.
std::string list_of_threads(const std::vector<int>& numbers);
std::string name_of_thread(const Thread& thread);
std::string name_of_block(const Block& block);
void name_fiber(const Block& block, const Thread& thread);  // for ThreadSanitizer's reports

// ThreadSanitizer: who passed `address` with order_before is ordered before who passes it with order_after.
char* new_order();
void order_before(char* address);
void order_after(char* address);

// Settings, read from the environment at the first launch (and again by read_settings, for tests).
struct Settings {
  enum class Order { Forward, Reverse, Shuffle } order = Order::Forward;
  uint64_t seed = 0;
  bool check = false, parallel = false, focus = false, trap = false;
  long focus_block = 0, focus_thread = 0, trap_block = 0, trap_thread = 0;
};
Settings& settings();
void read_settings();

}  // namespace cusim
