// What a run costs: time on a GPU, accesses on cusim.

#include <algorithm>
#include <vector>

#include "kernels/cuda/launch.h"
#include "tutorials/ladders/ladder.h"

#ifndef __CUDACC__
#include "kernels/cuda/sim/watch.h"
#endif

namespace chalk::ladder {

#ifdef __CUDACC__

bool on_gpu() {
  return true;
}

// The median of 20 runs after 3 that warm up, each between two events.
Cost measure(const std::function<void()>& run) {
  cudaEvent_t begin, end;
  cuda::check(cudaEventCreate(&begin), "cudaEventCreate");
  cuda::check(cudaEventCreate(&end), "cudaEventCreate");
  std::vector<float> times;
  for (int i = 0; i < 23; ++i) {
    cuda::check(cudaEventRecord(begin, cuda::stream()), "cudaEventRecord");
    run();
    cuda::check(cudaEventRecord(end, cuda::stream()), "cudaEventRecord");
    cuda::check(cudaEventSynchronize(end), "a rung");
    float milliseconds = 0;
    cuda::check(cudaEventElapsedTime(&milliseconds, begin, end), "cudaEventElapsedTime");
    if (i >= 3) times.push_back(milliseconds);
  }
  cudaEventDestroy(begin);
  cudaEventDestroy(end);
  std::sort(times.begin(), times.end());
  Cost cost;
  cost.milliseconds = times[times.size() / 2];
  return cost;
}

#else

bool on_gpu() {
  return false;
}

Cost measure(const std::function<void()>& run) {
  const cusim::Counts before = cusim::total_counts();
  run();
  const cusim::Counts& after = cusim::total_counts();
  Cost cost;
  cost.global_loads = after.global_loads - before.global_loads;
  cost.global_stores = after.global_stores - before.global_stores;
  cost.sectors = after.sectors - before.sectors;
  cost.shared_loads = after.shared_loads - before.shared_loads;
  cost.shared_stores = after.shared_stores - before.shared_stores;
  cost.shared_passes = after.shared_passes - before.shared_passes;
  cost.bank_conflicts = cost.shared_passes - (after.ideal_passes - before.ideal_passes);
  return cost;
}

#endif

}  // namespace chalk::ladder
