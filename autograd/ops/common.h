#pragma once
// What every op file needs.

#include "autograd/check.h"
#include "autograd/ops.h"
#include "autograd/tensor.h"
#include "kernels/memory.h"

namespace chalk {

inline void check_same_device(const char* op, std::initializer_list<Tensor> inputs) {
  const Tensor* first = nullptr;
  for (const Tensor& x : inputs) {
    if (!x.defined()) continue;
    if (!first) first = &x;
    check(x.device() == first->device(), "{}: one input is on device {}, another on {}", op,
          device_name(first->device()), device_name(x.device()));
  }
}

// The last axis of x, which must exist and be non-empty.
inline int64_t last_axis(const char* op, const Tensor& x) {
  check(x.defined() && x.rank() >= 1 && x.dim(-1) > 0, "{}: x has shape {}, but needs a last axis to work on",
        op, to_string(x.shape));
  return x.dim(-1);
}

inline void check_vector(const char* op, const char* argument, const Tensor& v, const Tensor& x) {
  check(v.numel() == x.dim(-1), "{}: {} has shape {} but x has {} channels, shape {}", op, argument,
        to_string(v.shape), x.dim(-1), to_string(x.shape));
}

// Token ids or targets where the kernels of a device can read them.
struct DeviceIds {
  DeviceIds() = default;
  DeviceIds(const std::vector<int32_t>& values, Device device) : count(int64_t(values.size())) {
    storage = Tensor::empty({count}, device);  // int32 and float are both four bytes
    copy_memory(storage.data(), device, values.data(), Device::CPU, count * int64_t(sizeof(int32_t)));
  }
  const int32_t* data() const { return reinterpret_cast<const int32_t*>(storage.data()); }

  Tensor storage;
  int64_t count = 0;
};

// Scratch for one kernel call, from the caching allocator.
inline Tensor workspace_of(int64_t bytes, Device device) {
  return Tensor::empty({(bytes + 3) / 4}, device);
}

}  // namespace chalk
