// Memory, copies, the device.

#include <cstring>
#include <new>

#include "kernels/cuda/block.h"
#include "kernels/cuda/runtime.h"

namespace chalk::cuda {
namespace {

__global__ void fill_kernel(float* y, float value, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) y[i] = value;
}

// Small uploads (token ids, targets) go through pinned memory and do not wait for the device: a ring of slots, each free
// again when its event has passed.
struct Upload {
  static constexpr int64_t bytes = 1 << 16;
  static constexpr int slots = 8;
  char* memory = nullptr;
  cudaEvent_t passed[slots];
  int next = 0;

  Upload() {
    check(cudaMallocHost(&memory, size_t(bytes * slots)), "pinned memory for uploads");
    for (cudaEvent_t& event : passed) check(cudaEventCreate(&event), "cudaEventCreate");
  }
  void copy(void* to, const void* from, int64_t count) {
    char* slot = memory + next * bytes;
    check(cudaEventSynchronize(passed[next]), "cudaEventSynchronize");  // an event never recorded has passed
    std::memcpy(slot, from, size_t(count));
    check(cudaMemcpyAsync(to, slot, size_t(count), cudaMemcpyHostToDevice, stream()), "copy to the device");
    check(cudaEventRecord(passed[next], stream()), "cudaEventRecord");
    next = (next + 1) % slots;
  }
};

}  // namespace

std::string device_description() {
#ifdef __CUDACC__
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0)
    throw std::runtime_error(std::string("no usable GPU: ") +
                             (error != cudaSuccess ? cudaGetErrorString(error) : "none found"));
  cudaDeviceProp p;
  check(cudaGetDeviceProperties(&p, 0), "cudaGetDeviceProperties");
  cudaFuncAttributes attributes;
  if (cudaFuncGetAttributes(&attributes, fill_kernel) != cudaSuccess)
    throw std::runtime_error(std::string("this build holds no code for ") + p.name + " (sm_" +
                             std::to_string(p.major) + std::to_string(p.minor) +
                             "); build with make CUDA=1 CUDA_ARCH=" + std::to_string(p.major) +
                             std::to_string(p.minor));
  return std::string(p.name) + ", sm_" + std::to_string(p.major) + std::to_string(p.minor) + ", CUDA " +
         std::to_string(CUDART_VERSION / 1000) + "." + std::to_string(CUDART_VERSION % 1000 / 10);
#else
  return "cusim: the kernels of kernels/cuda run on this computer's CPU; a make CUDA=1 build runs them on a "
         "GPU";
#endif
}

void* allocate_device(int64_t bytes) {
  void* block = nullptr;
  const cudaError_t error = cudaMalloc(&block, size_t(bytes));
  if (error == cudaSuccess) return block;
  cudaGetLastError();  // forget it: the caller may free memory and try again
  throw std::bad_alloc();
}
void free_device(void* block) {
  check(cudaFree(block), "cudaFree");
}
void* allocate_pinned(int64_t bytes) {
  void* block = nullptr;
  if (cudaMallocHost(&block, size_t(bytes)) == cudaSuccess) return block;
  cudaGetLastError();
  throw std::bad_alloc();
}
void free_pinned(void* block) {
  check(cudaFreeHost(block), "cudaFreeHost");
}

void copy_to_device(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  static Upload* upload = new Upload;  // lives as long as the program
  if (bytes <= Upload::bytes) return upload->copy(to, from, bytes);
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyHostToDevice, stream()), "copy to the device");
  synchronize();
}
void copy_to_host(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToHost, stream()), "copy to the host");
  synchronize();
}
void copy_on_device(void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  check(cudaMemcpyAsync(to, from, size_t(bytes), cudaMemcpyDeviceToDevice, stream()), "copy on the device");
}

void fill(float* y, float value, int64_t count) {
  if (count == 0) return;
  if (value == 0) {
    check(cudaMemsetAsync(y, 0, size_t(count) * sizeof(float), stream()), "fill");
    return;
  }
  LAUNCH(fill_kernel, item_blocks(count), item_threads, 0, stream(), y, value, count);
  check_launch("fill");
}

void synchronize() {
  check(cudaStreamSynchronize(stream()), "a kernel or copy");
}

void on_release([[maybe_unused]] void* block, [[maybe_unused]] int64_t bytes) {
#ifndef __CUDACC__
  if (cusim::strict()) cusim::poison(block, size_t(bytes));
#endif
}

}  // namespace chalk::cuda
