// Settings from the environment, names for messages, and ThreadSanitizer's orders.

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "kernels/cuda/sim/block.h"
#include "kernels/cuda/sim/device.h"

#ifdef CUSIM_TSAN
#include <sanitizer/tsan_interface.h>
#endif

namespace cusim {
namespace {

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

bool read_pair(const char* name, long& block, long& thread) {
  const std::string text = environment(name);
  if (text.empty()) return false;
  if (std::sscanf(text.c_str(), "%ld,%ld", &block, &thread) != 2)
    throw Fault(std::string(name) + "=" + text + ": expected BLOCK,THREAD, for example 0,7");
  return true;
}

Settings from_environment() {
  Settings s;
  const std::string mode = environment("CUSIM_MODE"), order = environment("CUSIM_ORDER"),
                    blocks = environment("CUSIM_BLOCKS");
  if (!mode.empty() && mode != "fast" && mode != "check")
    throw Fault("CUSIM_MODE=" + mode + ": expected fast or check");
  s.check = mode == "check";
  if (order == "reverse") {
    s.order = Settings::Order::Reverse;
  } else if (order.rfind("shuffle:", 0) == 0) {
    s.order = Settings::Order::Shuffle;
    s.seed = std::strtoull(order.c_str() + 8, nullptr, 10);
  } else if (!order.empty() && order != "forward") {
    throw Fault("CUSIM_ORDER=" + order + ": expected forward, reverse or shuffle:SEED");
  }
  if (!blocks.empty() && blocks != "par" && blocks != "serial")
    throw Fault("CUSIM_BLOCKS=" + blocks + ": expected par or serial");
#if !defined(CUSIM_TSAN) && !defined(CUSIM_ASAN) && !defined(CUSIM_WATCH)
  s.parallel = blocks == "par" && !s.check;
#endif
  s.focus = read_pair("CUSIM_FOCUS", s.focus_block, s.focus_thread);
  s.trap = read_pair("CUSIM_TRAP", s.trap_block, s.trap_thread);
  return s;
}

long number_of(const Block& block) {
  const dim3& g = block.grid->grid;
  return long(block.index.x) + long(g.x) * (block.index.y + long(g.y) * block.index.z);
}

}  // namespace

Settings& settings() {
  static Settings settings = from_environment();
  return settings;
}
void read_settings() {
  settings() = from_environment();
}

bool inside_kernel() {
  return this_block().current != nullptr;
}
bool has_focus() {
  const Block& block = this_block();
  const Settings& s = settings();
  return !block.current || !s.focus ||
         (s.focus_block == number_of(block) && s.focus_thread == block.current->number);
}

// ---- names ----

std::string to_string(const Site& site) {
  return std::string(site.file_name()) + ":" + std::to_string(site.line()) + ":" +
         std::to_string(site.column());
}

std::string list_of_threads(const std::vector<int>& numbers) {
  std::string text = numbers.size() == 1 ? "thread" : "threads";
  int shown = 0;
  for (size_t i = 0; i < numbers.size();) {
    size_t j = i;
    while (j + 1 < numbers.size() && numbers[j + 1] == numbers[j] + 1) ++j;
    if (++shown > 8) return text + ", …";
    text += (i ? ", " : " ") + std::to_string(numbers[i]) + (j > i ? "-" + std::to_string(numbers[j]) : "");
    i = j + 1;
  }
  return text;
}

std::string name_of_thread(const Thread& t) {
  return "gpu thread " + std::to_string(t.number) + " (warp " + std::to_string(t.warp()) + ", lane " +
         std::to_string(t.lane()) + ")";
}
std::string name_of_block(const Block& block) {
  return "block " + std::to_string(number_of(block));
}
std::string where_am_i() {
  const Block& block = this_block();
  return block.current ? name_of_thread(*block.current) + " of " + name_of_block(block) : "";
}

void kernel_fault(const std::string& what, const Site& site) {
  const Block& block = this_block();
  std::string text = to_string(site) + ": " + what;
  if (block.current) text += "; by " + where_am_i();
  if (block.grid)
    text += " of " + std::string(block.grid->name) + " launched at " + to_string(block.grid->site);
  throw Fault(text);
}

// ---- ThreadSanitizer ----

#ifdef CUSIM_TSAN
// Addresses that are never used twice: one address for all barriers would order everything and hide every race.
char* new_order() {
  constexpr size_t bytes = size_t(1) << 30;
  static char* base = static_cast<char*>(
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  static size_t used = 0;
  used = (used + 8) % bytes;
  return base + used;
}
void order_before(char* address) {
  __tsan_release(address);
}
void order_after(char* address) {
  if (address) __tsan_acquire(address);
}
void name_fiber(const Block& block, const Thread& thread) {
  __tsan_set_fiber_name(thread.fiber->tsan, (name_of_thread(thread) + " of " + name_of_block(block)).c_str());
}
#else
char* new_order() {
  return nullptr;
}
void order_before(char*) {}
void order_after(char*) {}
void name_fiber(const Block&, const Thread&) {}
#endif

}  // namespace cusim
