// Storage, shapes and the handle. The graph walk is in backward.cpp.

#include "autograd/tensor.h"

#include <algorithm>
#include <limits>

#include "autograd/check.h"
#include "kernels/memory.h"

namespace chalk {

std::string to_string(const Shape& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

int64_t numel(const Shape& shape) {
  int64_t count = 1;
  for (int64_t d : shape) {
    check(d >= 0, "shape {} has a negative axis", to_string(shape));
    check(d == 0 || count <= std::numeric_limits<int64_t>::max() / 4 / std::max<int64_t>(d, 1),
          "shape {} has too many numbers", to_string(shape));
    count *= d;
  }
  return count;
}

Storage::Storage(int64_t count, Device device)
    : data(static_cast<float*>(allocate_memory(count * int64_t(sizeof(float)), device))),
      count(count),
      device(device) {}

Storage::~Storage() {
  release_memory(data, count * int64_t(sizeof(float)), device);
}

Tensor Tensor::empty(Shape shape, Device device) {
  Tensor t;
  t.storage = std::make_shared<Storage>(chalk::numel(shape), device);
  t.shape = std::move(shape);
  return t;
}

Tensor::Tensor(Shape shape, Device device) : Tensor(empty(std::move(shape), device)) {
  fill(0);
}

Tensor Tensor::full(Shape shape, float value, Device device) {
  Tensor t = empty(std::move(shape), device);
  t.fill(value);
  return t;
}

Tensor Tensor::from(Shape shape, const std::vector<float>& values, Device device) {
  Tensor t = empty(std::move(shape), device);
  check(t.numel() == int64_t(values.size()), "Tensor::from: shape {} has {} numbers but {} were given",
        to_string(t.shape), t.numel(), values.size());
  copy_memory(t.data(), device, values.data(), Device::CPU, t.numel() * int64_t(sizeof(float)));
  return t;
}

Device Tensor::throw_undefined() {
  throw Error("an undefined tensor was used: it was declared, but never given a shape or a value");
}

int64_t Tensor::dim(int64_t axis) const {
  const int64_t i = axis < 0 ? axis + rank() : axis;
  check(i >= 0 && i < rank(), "dim({}): the tensor has shape {}", axis, to_string(shape));
  return shape[size_t(i)];
}

float Tensor::item() const {
  check(defined() && numel() == 1, "item(): the tensor has shape {}, not one number", to_string(shape));
  float value;
  copy_memory(&value, Device::CPU, data(), device(), sizeof value);
  return value;
}

std::vector<float> Tensor::to_vector() const {
  std::vector<float> values(static_cast<size_t>(numel()));
  if (!values.empty())
    copy_memory(values.data(), Device::CPU, data(), device(), numel() * int64_t(sizeof(float)));
  return values;
}

void Tensor::copy_from(const Tensor& other) const {
  check(shape == other.shape, "copy_from: cannot copy shape {} into shape {}", to_string(other.shape),
        to_string(shape));
  if (numel() > 0)
    copy_memory(data(), device(), other.data(), other.device(), numel() * int64_t(sizeof(float)));
}

void Tensor::fill(float value) const {
  fill_memory(data(), value, numel(), device());
}

void Tensor::set_requires_grad(bool on) {
  history = on ? std::make_shared<History>() : nullptr;
}

Tensor Tensor::grad() const {
  check(requires_grad(), "grad(): the tensor of shape {} takes no part in backprop", to_string(shape));
  if (!history->grad.defined()) history->grad = Tensor(shape, device());
  return history->grad;
}

bool Tensor::has_grad() const {
  return history && history->grad.defined();
}

void Tensor::zero_grad() const {
  if (history) history->grad = Tensor();
}

void Tensor::retain_grad() const {
  check(requires_grad(), "retain_grad(): the tensor of shape {} takes no part in backprop", to_string(shape));
  history->retain_grad = true;
}

Tensor Tensor::detach() const {
  Tensor t = *this;
  t.history = nullptr;
  return t;
}

Tensor Tensor::clone() const {
  Tensor t = empty(shape, device());
  t.copy_from(*this);
  return t;
}

Tensor Tensor::to(Device device) const {
  if (this->device() == device) return *this;
  Tensor t = empty(shape, device);
  t.copy_from(*this);
  return t;
}

}  // namespace chalk
