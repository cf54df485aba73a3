#pragma once
// What the layers above need of the CUDA runtime, without its headers: memory, copies, and which device answers. On cusim the
// same functions work on the host (kernels/cuda/sim/).

#include <cstdint>
#include <string>

namespace chalk::cuda {

// "NVIDIA H200, sm_90, CUDA 13.0" or "cusim: …". Throws std::runtime_error with the reason when there is no usable device.
std::string device_description();

void* allocate_device(int64_t bytes);  // throws std::bad_alloc
void free_device(void* block);
void* allocate_pinned(
    int64_t bytes);  // host memory that the device reads by itself, so that copies are asynchronous
void free_pinned(void* block);

// Copies are in order with the kernels. To the device: returns when `from` may be reused. To the host: returns when it is there.
void copy_to_device(void* to, const void* from, int64_t bytes);
void copy_to_host(void* to, const void* from, int64_t bytes);
void copy_on_device(void* to, const void* from, int64_t bytes);
void fill(float* y, float value, int64_t count);
void synchronize();

// A block goes back to the cache: strict cusim fills it with NaN, so that what is read too late is seen. Else nothing.
void on_release(void* block, int64_t bytes);

}  // namespace chalk::cuda
