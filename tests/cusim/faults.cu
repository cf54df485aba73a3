// Planted faults, each beside its correct twin, in one program that is built four times: as it is, with AddressSanitizer,
// with ThreadSanitizer, and as a watch build. `faults NAME` runs one; tests/cusim/faults_test.cpp reads what it says.
// The line of each fault ends in a comment "FAULT name", which the test looks up.

#include <cstdio>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "kernels/cuda/cuda_portable.h"

namespace {

constexpr int threads = 64;

// y[0] = Σ x over a block of 64: a tree in shared memory.
template <bool barrier>
__global__ void tree_sum(float* y, const float* x) {
  SHARED_ARRAY(float, partial, threads);
  const int t = threadIdx.x;
  partial[t] = x[t];
  __syncthreads();
  for (int stride = threads / 2; stride > 0; stride /= 2) {
    if (t < stride) partial[t] += partial[t + stride];  // FAULT missing_barrier
    if (barrier) __syncthreads();
  }
  if (t == 0) y[0] = partial[0];
}

// Each thread reads its right neighbour; the last one must not.
template <bool guard>
__global__ void neighbour(float* y, const float* x) {
  SHARED_ARRAY(float, row, threads);
  const int t = threadIdx.x;
  row[t] = x[t];
  __syncthreads();
  if (!guard || t + 1 < threads) y[t] = row[t + 1];  // FAULT shared_out_of_bounds
}

// Thread 0 forgets the last entry.
template <int written>
__global__ void uninitialised(float* y, const float* x) {
  SHARED_ARRAY(float, row, threads);
  const int t = threadIdx.x;
  if (t < written) row[t] = x[t];
  __syncthreads();
  y[t] = row[t];  // FAULT uninitialised_shared
}

template <bool divergent>
__global__ void barrier_in_branch(float* y, const float* x) {
  SHARED_ARRAY(float, row, threads);
  const int t = threadIdx.x;
  row[t] = x[t];
  if (divergent && t < 32) {
    __syncthreads();  // FAULT divergent_barrier
  } else {
    __syncthreads();  // FAULT divergent_barrier_other
  }
  y[t] = row[threads - 1 - t];
}

template <bool leaves>
__global__ void early_return(float* y, const float* x) {
  const int t = threadIdx.x;
  if (leaves && t == 5) return;
  __syncthreads();  // FAULT early_return
  y[t] = x[t];
}

// Reads beyond the end of x.
__global__ void global_read(float* y, const float* x, int shift) {
  const int t = threadIdx.x;
  y[t] = x[t + shift];  // FAULT global_out_of_bounds
}

// Two blocks write one number.
__global__ void blocks_race(float* y, int apart) {
  if (threadIdx.x == 0) y[blockIdx.x * apart] = float(blockIdx.x);  // FAULT block_race
}

__global__ void shuffle(float* y, const float* x, int lane) {
  const int t = threadIdx.x;
  y[t] = __shfl_sync(0xffffffffu, x[t], lane);  // FAULT shuffle_range
}

template <bool outside>
__global__ void shuffle_mask(float* y, const float* x) {
  const int t = threadIdx.x;
  if (t % 32 < 16) y[t] = __shfl_sync(0x0000ffffu, x[t], outside ? 20 : 3);  // FAULT shuffle_mask
}

template <bool divergent>
__global__ void warp_divergence(float* y, const float* x) {
  const int t = threadIdx.x;
  if (divergent && t % 2 == 0) {
    y[t] = __shfl_xor_sync(0xffffffffu, x[t], 1);  // FAULT warp_divergence
  } else {
    y[t] = __shfl_xor_sync(0xffffffffu, x[t], 1);  // FAULT warp_divergence_other
  }
}

__global__ void histogram(int* bins, bool atomic) {
  if (atomic) {
    atomicAdd(&bins[threadIdx.x % 4], 1);
  } else {
    bins[threadIdx.x % 4] += 1;  // FAULT lost_update
  }
}

// A 32 × 32 transpose through shared memory. Columns of an unpadded tile all lie in one bank.
template <int width>
__global__ void transpose_tile(float* y, const float* x) {
  SHARED_ARRAY(float, tile, 32, width);
  for (int row = threadIdx.y; row < 32; row += blockDim.y) tile[row][threadIdx.x] = x[row * 32 + threadIdx.x];
  __syncthreads();
  for (int row = threadIdx.y; row < 32; row += blockDim.y) y[row * 32 + threadIdx.x] = tile[threadIdx.x][row];
}
// Neighbouring lanes read numbers `stride` apart.
__global__ void strided_copy(float* y, const float* x, int stride) {
  const int t = threadIdx.x;
  y[t] = x[t * stride % 1024];
}

constexpr int count = 1024;

struct Device {
  float *x = nullptr, *y = nullptr;
  std::vector<float> host = std::vector<float>(count);
  Device() {
    for (int i = 0; i < count; ++i) host[size_t(i)] = float(i);
    cudaMalloc(&x, count * sizeof(float));
    cudaMalloc(&y, count * sizeof(float));
    cudaMemset(y, 0, count * sizeof(float));
    cudaMemcpy(x, host.data(), count * sizeof(float), cudaMemcpyHostToDevice);
  }
  ~Device() {
    cudaMemcpy(host.data(), y, count * sizeof(float), cudaMemcpyDeviceToHost);
    cudaFree(x);
    cudaFree(y);
    std::printf("y[0] = %g\n", double(host[0]));
  }
};

const std::map<std::string, std::function<void(Device&)>> cases = {
    {"missing_barrier", [](Device& d) { LAUNCH(tree_sum<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"missing_barrier_twin", [](Device& d) { LAUNCH(tree_sum<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"shared_out_of_bounds", [](Device& d) { LAUNCH(neighbour<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"shared_out_of_bounds_twin", [](Device& d) { LAUNCH(neighbour<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"uninitialised_shared",
     [](Device& d) { LAUNCH(uninitialised<threads - 1>, 1, threads, 0, 0, d.y, d.x); }},
    {"uninitialised_shared_twin",
     [](Device& d) { LAUNCH(uninitialised<threads>, 1, threads, 0, 0, d.y, d.x); }},
    {"divergent_barrier", [](Device& d) { LAUNCH(barrier_in_branch<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"divergent_barrier_twin",
     [](Device& d) { LAUNCH(barrier_in_branch<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"early_return", [](Device& d) { LAUNCH(early_return<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"early_return_twin", [](Device& d) { LAUNCH(early_return<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"global_out_of_bounds",
     [](Device& d) { LAUNCH(global_read, 1, threads, 0, 0, d.y, d.x + count - threads, 1); }},
    {"global_out_of_bounds_twin",
     [](Device& d) { LAUNCH(global_read, 1, threads, 0, 0, d.y, d.x + count - threads, 0); }},
    {"block_race", [](Device& d) { LAUNCH(blocks_race, 2, threads, 0, 0, d.y, 0); }},
    {"block_race_twin", [](Device& d) { LAUNCH(blocks_race, 2, threads, 0, 0, d.y, 1); }},
    {"shuffle_range", [](Device& d) { LAUNCH(shuffle, 1, threads, 0, 0, d.y, d.x, 32); }},
    {"shuffle_range_twin", [](Device& d) { LAUNCH(shuffle, 1, threads, 0, 0, d.y, d.x, 31); }},
    {"shuffle_mask", [](Device& d) { LAUNCH(shuffle_mask<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"shuffle_mask_twin", [](Device& d) { LAUNCH(shuffle_mask<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"warp_divergence", [](Device& d) { LAUNCH(warp_divergence<true>, 1, threads, 0, 0, d.y, d.x); }},
    {"warp_divergence_twin", [](Device& d) { LAUNCH(warp_divergence<false>, 1, threads, 0, 0, d.y, d.x); }},
    {"transpose_conflicts", [](Device& d) { LAUNCH(transpose_tile<32>, 1, dim3(32, 8), 0, 0, d.y, d.x); }},
    {"transpose_padded", [](Device& d) { LAUNCH(transpose_tile<33>, 1, dim3(32, 8), 0, 0, d.y, d.x); }},
    {"copy_strided", [](Device& d) { LAUNCH(strided_copy, 1, 32, 0, 0, d.y, d.x, 32); }},
    {"copy_coalesced", [](Device& d) { LAUNCH(strided_copy, 1, 32, 0, 0, d.y, d.x, 1); }},
    {"lost_update",
     [](Device& d) { LAUNCH(histogram, 1, threads, 0, 0, reinterpret_cast<int*>(d.y), false); }},
    {"lost_update_twin",
     [](Device& d) { LAUNCH(histogram, 1, threads, 0, 0, reinterpret_cast<int*>(d.y), true); }},
};

}  // namespace

// Status 0: nothing was found. 3: cusim threw a Fault (its text is on stderr). Sanitizers end the program themselves.
int main(int argc, char** argv) {
  const auto found = cases.find(argc > 1 ? argv[1] : "");
  if (found == cases.end()) {
    for (const auto& [name, run] : cases) std::printf("%s\n", name.c_str());
    return 2;
  }
  try {
    Device device;
    found->second(device);
  } catch (const cusim::Fault& fault) {
    std::fprintf(stderr, "fault: %s\n", fault.what());
    return 3;
  }
  return 0;
}
