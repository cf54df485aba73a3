// The threads behind parallel_for. OpenMP says how many (omp_get_max_threads()); the loop itself is ours, for
// one reason: an OpenMP loop ends when the last *thread* has passed it, so on a busy machine each of the
// hundreds of small loops of a training step waits until the scheduler has run every thread of the team. Here
// a loop ends when the last *chunk* is done: a thread that is not running has taken no chunk, and nobody
// waits for it.
//
// Every thread begins with its own range of chunks, the same one for the same shape, so that a tensor's parts
// stay in the cache of the core that wrote them; then it helps the others.

#include "kernels/cpu/parallel.h"

#include <omp.h>

#include <atomic>
#include <system_error>
#include <thread>

namespace chalk::cpu {
namespace {

constexpr int most_threads = 256;
// About 50 µs: the next op of a training step comes sooner than that.
constexpr int spins_before_sleep = 4000;

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// The chunks [next, end) that one thread begins with. A cache line each, so that taking one disturbs nobody.
struct alignas(64) Range {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

struct Pool {
  // The job. Written only while `open` is false and no worker is `active`.
  void (*run)(const void*, int64_t) = nullptr;
  const void* body = nullptr;
  int threads = 0;
  Range ranges[most_threads];

  std::atomic<bool> busy{false};  // somebody is inside run_chunks
  std::atomic<bool> open{false};  // the job may be entered
  std::atomic<int> active{0};     // workers inside the job
  std::atomic<int> jobs{0};       // counts up with each job; what idle workers watch
  int workers = 0;

  // Takes chunks until none is left: first from the own range, then from the others'.
  void take_chunks(int self) {
    for (int i = 0; i < threads; ++i) {
      Range& range = ranges[(self + i) % threads];
      while (true) {
        const int64_t chunk = range.next.fetch_add(1, std::memory_order_relaxed);
        if (chunk >= range.end) break;
        run(body, chunk);
      }
    }
  }

  void work(int self) {
    int seen = 0;
    while (true) {
      for (int i = 0; i < spins_before_sleep && jobs.load() == seen; ++i) pause();
      jobs.wait(seen);  // returns at once if there was a job meanwhile
      seen = jobs.load();
      // Enter, then look whether the door is still open; the caller closes it, then looks whether anybody is
      // inside.
      active.fetch_add(1);
      if (open.load() && self < threads) take_chunks(self);
      active.fetch_sub(1);
    }
  }

  void start_workers() {
    try {
      for (; workers < threads - 1; ++workers)
        std::thread([this, self = workers + 1] { work(self); }).detach();
    } catch (const std::system_error&) {
      // The system gives no more threads: the ones there are share the work.
    }
  }

  void run_job(int64_t chunks, int count) {
    threads = count;
    for (int t = 0; t < threads; ++t) {
      ranges[t].next.store(chunks * t / threads, std::memory_order_relaxed);
      ranges[t].end = chunks * (t + 1) / threads;
    }
    start_workers();
    open.store(true);
    jobs.fetch_add(1);
    jobs.notify_all();
    take_chunks(0);
    open.store(false);
    // Every chunk has been taken; those still running are in the hands of active workers.
    for (int i = 0; active.load() > 0; ++i) {
      if (i < spins_before_sleep) {
        pause();
      } else {
        std::this_thread::yield();  // let the worker finish: it may be waiting for this very core
      }
    }
  }
};

}  // namespace

void run_chunks(int64_t chunks, void (*run)(const void*, int64_t), const void* body) {
  // Never destroyed: workers may still be watching it while the program exits.
  static Pool& pool = *new Pool;
  const int threads = int(std::min<int64_t>(std::min(omp_get_max_threads(), most_threads), chunks));
  if (threads <= 1 || pool.busy.exchange(true)) {  // busy: a loop inside a loop, or another thread's loop
    for (int64_t chunk = 0; chunk < chunks; ++chunk) run(body, chunk);
    return;
  }
  pool.run = run;
  pool.body = body;
  pool.run_job(chunks, threads);
  pool.busy.store(false);
}

}  // namespace chalk::cpu
