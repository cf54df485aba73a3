#pragma once
// Bytes on a device, counted by the caching allocator like tensors are: for packed weights, which are no Tensor.

#include <utility>

#include "kernels/memory.h"

namespace chalk {

struct DeviceBuffer {
  DeviceBuffer() = default;
  DeviceBuffer(int64_t bytes, Device device)
      : data(allocate_memory(bytes, device)), bytes(bytes), device(device) {}
  ~DeviceBuffer() { release_memory(data, bytes, device); }
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  void swap(DeviceBuffer& other) noexcept {
    std::swap(data, other.data);
    std::swap(bytes, other.bytes);
    std::swap(device, other.device);
  }

  void* data = nullptr;
  int64_t bytes = 0;
  Device device = Device::CPU;
};

}  // namespace chalk
