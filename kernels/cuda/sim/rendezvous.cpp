// Who waits for whom: barriers of a block, rendezvous of the lanes of a warp, and what is said when they never meet.

#include <algorithm>
#include <map>

#include "kernels/cuda/sim/block.h"
#include "kernels/cuda/sim/device.h"

namespace cusim {
namespace {

const char* name_of(WarpOp op) {
  switch (op) {
    case WarpOp::Sync:
      return "__syncwarp";
    case WarpOp::Shuffle:
      return "__shfl";
    case WarpOp::Ballot:
      return "__ballot_sync";
    case WarpOp::Any:
      return "__any_sync";
    case WarpOp::All:
      return "__all_sync";
    default:
      return "__reduce_sync";
  }
}

std::string hex(unsigned mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

// "12 threads (0-7, 9-12) wait at kernel.cu:31:3 in void k(float*)" for every place where somebody waits.
std::string who_waits_where(const Block& block) {
  std::map<std::string, std::vector<int>> places;
  for (const Thread& t : block.threads) {
    if (t.state == State::AtBarrier)
      places["wait at the barrier at " + to_string(t.site)].push_back(t.number);
    if (t.state == State::AtWarp)
      places["wait in " + std::string(name_of(t.warp_op)) + " with mask " + hex(t.mask) + " at " +
             to_string(t.site)]
          .push_back(t.number);
    if (t.state == State::Done)
      places["have returned from " + std::string(block.grid->name)].push_back(t.number);
  }
  std::string text;
  for (const auto& [place, numbers] : places) text += "\n  " + list_of_threads(numbers) + " " + place;
  return text;
}

[[noreturn]] void block_fault(const Block& block, const std::string& what) {
  throw Fault(std::string(block.grid->name) + " launched at " + to_string(block.grid->site) + ", " +
              name_of_block(block) + ": " + what + who_waits_where(block));
}

bool same_site(const Site& a, const Site& b) {
  if (a.line() != b.line() || a.column() != b.column()) return false;
  return a.file_name() == b.file_name() || std::string_view(a.file_name()) == b.file_name();
}

Thread& current_thread(const Site& site) {
  Thread* thread = this_block().current;
  if (!thread) throw Fault("barrier or warp function at " + to_string(site) + " outside a kernel");
  return *thread;
}

// ---- warps ----

uint64_t combine(WarpOp op, uint64_t a, uint64_t b) {
  const int32_t x = int32_t(uint32_t(a)), y = int32_t(uint32_t(b));
  switch (op) {
    case WarpOp::Any:
    case WarpOp::Or:
      return a | b;
    case WarpOp::All:
    case WarpOp::And:
      return a & b;
    case WarpOp::Xor:
      return a ^ b;
    case WarpOp::Add:
    case WarpOp::AddInt:
      return uint32_t(a + b);
    case WarpOp::Min:
      return std::min(a, b);
    case WarpOp::Max:
      return std::max(a, b);
    case WarpOp::MinInt:
      return uint32_t(std::min(x, y));
    case WarpOp::MaxInt:
      return uint32_t(std::max(x, y));
    default:
      return 0;
  }
}

// All lanes of `mask` have come: hands each its result and makes it Ready.
void finish_warp(Block& block, Thread* lanes, WarpOp op, unsigned mask) {
  uint64_t all = 0;
  bool first = true;
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    if (op == WarpOp::Ballot) {
      all |= lanes[i].value << i;
    } else if (op != WarpOp::Shuffle && op != WarpOp::Sync) {
      all = first ? lanes[i].value : combine(op, all, lanes[i].value);
    }
    first = false;
  }
  for (int i = 0; i < 32; ++i) {
    if (!(mask >> i & 1)) continue;
    Thread& lane = lanes[i];
    if (op == WarpOp::Shuffle && !(mask >> lane.source & 1))
      block_fault(block, name_of_thread(lane) + " reads by __shfl at " + to_string(lane.site) +
                             " from lane " + std::to_string(lane.source) + ", which is not in mask " +
                             hex(mask) + ":");
    lane.result = op == WarpOp::Shuffle ? lanes[lane.source].value : all;
    lane.state = State::Ready;
  }
}

// The meeting of the lanes in the thread's mask: one of its warp's that has the same mask, or a new one.
Meeting& meeting_of(Block& block, const Thread& thread) {
  std::vector<Meeting>& meetings = block.meetings[size_t(thread.warp())];
  for (Meeting& m : meetings) {
    if (m.mask == thread.mask) return m;
  }
  meetings.push_back({thread.mask, 0, nullptr, nullptr});
  return meetings.back();
}

}  // namespace

uint64_t wait_for_warp(WarpOp op, unsigned mask, uint64_t value, int source, const Site& site) {
  Thread& self = current_thread(site);
  Block& block = this_block();
  const int base = self.number - self.lane();
  const int lanes_here = std::min(32, int(block.threads.size()) - base);
  // A full mask in a block whose last warp is short means the lanes that exist.
  if (mask == 0xffffffffu && lanes_here < 32) mask = (1u << lanes_here) - 1;
  if (!(mask >> self.lane() & 1))
    kernel_fault(std::string(name_of(op)) + " with mask " + hex(mask) + ", which does not name its own lane",
                 site);
  if (lanes_here < 32 && mask >> lanes_here)
    kernel_fault(std::string(name_of(op)) + " with mask " + hex(mask) + ", but the warp has only " +
                     std::to_string(lanes_here) + " lanes",
                 site);

  self.state = State::AtWarp, self.site = site, self.warp_op = op, self.mask = mask;
  self.value = value, self.source = source;
  Meeting& meeting = meeting_of(block, self);
  if (meeting.arrived == 0) meeting.first = &self, meeting.order = new_order();
  const Thread& other = *meeting.first;
  if (other.warp_op != op || !same_site(other.site, site))
    block_fault(block, "lanes of one warp meet in different warp functions, " + std::string(name_of(op)) +
                           " at " + to_string(site) + " and " + name_of(other.warp_op) + " at " +
                           to_string(other.site) + ":");
  meeting.arrived |= 1u << self.lane();
  self.order = meeting.order;
  order_before(self.order);
  const bool complete = meeting.arrived == mask;
  if (complete) meeting.arrived = 0;
  Thread* lanes = &block.threads[size_t(base)];
  if (complete) finish_warp(block, lanes, op, mask);
  if (self.state != State::Ready) yield();
  order_after(self.order);
  self.state = State::Ready;
  return self.result;
}

// ---- blocks ----

int wait_for_block(BlockOp op, bool value, const Site& site) {
  Thread& self = current_thread(site);
  Block& block = this_block();
  self.state = State::AtBarrier, self.site = site, self.block_op = op, self.value = value;
  self.order = block.barrier_order;
  block.at_barrier += 1;
  order_before(self.order);
  yield();
  order_after(self.order);
  return int(self.result);
}

void finish_barrier() {
  Block& block = this_block();
  const Thread* first = nullptr;
  int count = 0;
  for (const Thread& t : block.threads) {
    if (t.state == State::Done) block_fault(block, "a barrier that some threads never reach:");
    if (first && !same_site(first->site, t.site)) block_fault(block, "divergent barrier:");
    if (!first) first = &t;
    count += t.value != 0;
  }
  const BlockOp op = first->block_op;
  const int all = int(block.threads.size());
  const int result = op == BlockOp::And ? count == all : op == BlockOp::Or ? count > 0 : count;
  for (Thread& t : block.threads) {
    t.result = uint64_t(result);
    t.state = State::Ready;
  }
  block.at_barrier = 0;
  block.barrier_order = new_order();
}

void report_deadlock() {
  block_fault(this_block(), "threads wait for each other for ever:");
}

int source_lane(Shuffle kind, int number, int width, const Site& site) {
  if (width < 1 || width > 32 || (width & (width - 1)))
    kernel_fault("shuffle width " + std::to_string(width) + " is not a power of two up to 32", site);
  if (number < 0 || number >= (kind == Shuffle::Index ? width : 32))
    kernel_fault("shuffle by or from " + std::to_string(number) + " in a group of " + std::to_string(width) +
                     " lanes: out of range",
                 site);
  const int lane = current_thread(site).lane(), first = lane / width * width;
  int source = first + number;
  if (kind == Shuffle::Down) source = lane + number;
  if (kind == Shuffle::Up) source = lane - number;
  if (kind == Shuffle::Xor) source = lane ^ number;
  return source >= first && source < first + width ? source : lane;
}

}  // namespace cusim
