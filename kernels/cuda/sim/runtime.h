#pragma once
// The CUDA runtime calls that Chalk uses. Streams and events exist, but everything has happened when a call returns.

#include <cstring>

#include "kernels/cuda/sim/memory.h"

enum cudaError_t { cudaSuccess = 0, cudaErrorInvalidValue = 1, cudaErrorNotReady = 600 };
struct CusimStream {};
struct CusimEvent {};
using cudaStream_t = CusimStream*;
using cudaEvent_t = CusimEvent*;

inline const char* cudaGetErrorString(cudaError_t error) {
  return error == cudaSuccess ? "no error" : "invalid value";
}
inline cudaError_t cudaGetLastError() {  // faults are thrown where they happen
  return cudaSuccess;
}
inline cudaError_t cudaPeekAtLastError() {
  return cudaSuccess;
}
inline cudaError_t cudaDeviceSynchronize() {
  return cudaSuccess;
}

// ---- memory ----

template <class T>
cudaError_t cudaMalloc(T** pointer, size_t bytes, cusim::Site site = cusim::Site::current()) {
  *pointer = static_cast<T*>(cusim::allocate(bytes, cusim::Kind::Device, site));
  return cudaSuccess;
}
inline cudaError_t cudaFree(void* pointer, cusim::Site site = cusim::Site::current()) {
  cusim::release(pointer, cusim::Kind::Device, site);
  return cudaSuccess;
}
template <class T>
cudaError_t cudaMallocHost(T** pointer, size_t bytes, cusim::Site site = cusim::Site::current()) {
  *pointer = static_cast<T*>(cusim::allocate(bytes, cusim::Kind::Pinned, site));
  return cudaSuccess;
}
inline cudaError_t cudaFreeHost(void* pointer, cusim::Site site = cusim::Site::current()) {
  cusim::release(pointer, cusim::Kind::Pinned, site);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                              cusim::Site site = cusim::Site::current()) {
  cusim::copy(to, from, bytes, kind, site);
  return cudaSuccess;
}
inline cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                                   cudaStream_t = nullptr, cusim::Site site = cusim::Site::current()) {
  cusim::copy(to, from, bytes, kind, site);
  return cudaSuccess;
}
inline cudaError_t cudaMemset(void* to, int value, size_t bytes, cusim::Site site = cusim::Site::current()) {
  cusim::set(to, value, bytes, site);
  return cudaSuccess;
}
inline cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t = nullptr,
                                   cusim::Site site = cusim::Site::current()) {
  cusim::set(to, value, bytes, site);
  return cudaSuccess;
}
inline cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = size_t(16) << 30;
  return cudaSuccess;
}

// ---- streams and events ----

inline cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  *stream = new CusimStream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
inline cudaError_t cudaStreamSynchronize(cudaStream_t) {
  return cudaSuccess;
}
inline cudaError_t cudaStreamWaitEvent(cudaStream_t, cudaEvent_t, unsigned = 0) {
  return cudaSuccess;
}
inline cudaError_t cudaEventCreate(cudaEvent_t* event) {
  *event = new CusimEvent;
  return cudaSuccess;
}
inline cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}
inline cudaError_t cudaEventRecord(cudaEvent_t, cudaStream_t = nullptr) {
  return cudaSuccess;
}
inline cudaError_t cudaEventSynchronize(cudaEvent_t) {
  return cudaSuccess;
}
inline cudaError_t cudaEventQuery(cudaEvent_t) {
  return cudaSuccess;
}
// A sentence instead of a number: nobody should quote it.
inline cudaError_t cudaEventElapsedTime(float*, cudaEvent_t, cudaEvent_t) {
  throw cusim::Fault("cudaEventElapsedTime: cusim has no notion of a GPU's time; measure on a GPU");
}

// ---- the device ----

struct cudaDeviceProp {
  char name[256];
  size_t totalGlobalMem, sharedMemPerBlock, sharedMemPerBlockOptin;
  int major, minor, multiProcessorCount, warpSize, maxThreadsPerBlock;
};
inline cudaError_t cudaGetDeviceCount(int* count) {
  *count = 1;
  return cudaSuccess;
}
inline cudaError_t cudaSetDevice(int) {
  return cudaSuccess;
}
inline cudaError_t cudaGetDevice(int* device) {
  *device = 0;
  return cudaSuccess;
}
inline cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {"cusim (fibers on the host)", size_t(16) << 30, 48 << 10, 227 << 10, 0, 0, 1, 32, 1024};
  return cudaSuccess;
}

enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
namespace cusim {
void allow_shared_bytes(const void* kernel, int bytes, const Site& site);
}
template <class... P>
cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute, int bytes,
                                 cusim::Site site = cusim::Site::current()) {
  cusim::allow_shared_bytes(reinterpret_cast<const void*>(kernel), bytes, site);
  return cudaSuccess;
}
