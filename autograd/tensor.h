#pragma once
// A float tensor, and the graph of ops that made it. This header is the whole engine's surface.

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "kernels/device.h"

namespace chalk {

using Shape = std::vector<int64_t>;  // {B, T, C}: row-major, contiguous, always
std::string to_string(const Shape& shape);
int64_t numel(const Shape& shape);

// Owns `count` floats on one device, from the caching allocator (kernels/memory.h).
struct Storage {
  Storage(int64_t count, Device device);
  ~Storage();
  Storage(const Storage&) = delete;
  Storage& operator=(const Storage&) = delete;
  float* data = nullptr;
  int64_t count = 0;
  Device device = Device::CPU;
};

struct History;  // gradient + the op that made the tensor (below)

// A handle: copying a Tensor copies two pointers, never the numbers.
// Beware: const is shallow. A `const Tensor&` cannot be pointed elsewhere, but its numbers can be written.
struct Tensor {
  Tensor() = default;
  explicit Tensor(Shape shape, Device device = Device::CPU);  // zeros

  static Tensor empty(Shape shape,
                      Device device);  // numbers undefined: for outputs that are overwritten whole
  static Tensor full(Shape shape, float value, Device device = Device::CPU);
  static Tensor from(Shape shape, const std::vector<float>& values, Device device = Device::CPU);

  Shape shape;
  std::shared_ptr<Storage> storage;  // shared with every reshape() of this tensor
  std::shared_ptr<History> history;  // null: this tensor takes no part in backprop

  bool defined() const { return storage != nullptr; }
  float* data() const { return storage->data; }  // of a CUDA tensor: for kernels only, use to_vector()
  Device device() const { return storage ? storage->device : throw_undefined(); }
  int64_t numel() const { return storage ? storage->count : 0; }
  int64_t rank() const { return int64_t(shape.size()); }
  int64_t dim(int64_t axis) const;  // dim(-1) is the last one
  float item() const;               // the number of a one-number tensor
  std::vector<float> to_vector() const;
  void copy_from(const Tensor& other) const;  // overwrites the numbers; shapes must agree
  void fill(float value) const;

  bool requires_grad() const { return history != nullptr; }
  void set_requires_grad(bool on = true);  // make it a leaf (a parameter), or cut it loose
  Tensor grad() const;                     // dL/d(this), same shape; zeros until someone adds to it
  bool has_grad() const;                   // someone has asked for grad() since zero_grad()
  void zero_grad() const;                  // forgets the gradient
  void retain_grad() const;                // keep an intermediate's gradient after backward()
  Tensor detach() const;                   // same numbers, no history
  Tensor clone() const;                    // a copy of the numbers, no history
  Tensor to(Device device) const;  // a copy on another device, no history; *this if it is there already
  void backward() const;           // *this is the loss: exactly one number

 private:
  [[noreturn]] static Device throw_undefined();  // an op was given a Tensor that nothing was put in
};

// One op that ran. A subclass keeps, as named members, what its backward needs:
//   struct LayerNormNode : Node { Tensor x, weight, bias, mean, rstd; ... };
// A node may hold its inputs but never its own output: that would be a shared_ptr cycle.
// If backward needs the output (softmax), save y.detach(): the numbers without the history.
struct Node {
  virtual ~Node() = default;
  virtual const char* name() const = 0;
  virtual std::vector<Tensor> inputs() const = 0;
  virtual void backward(const Tensor& dy) = 0;  // dL/dy in; adds (+=) into the inputs' grad()
};

struct History {
  Tensor grad;                    // empty until the first grad()
  std::shared_ptr<Node> made_by;  // null for a leaf, and once backward() has passed
  bool retain_grad = false;
  bool released = false;  // backward() has passed: the op is gone, a second walk would silently stop here
};

bool wants_grad(std::initializer_list<Tensor> inputs);    // any requires_grad(), and no NoGrad alive
void set_history(Tensor& y, std::shared_ptr<Node> node);  // y was made by node
float* grad_or_null(const Tensor& x);                     // x.grad().data(), or null when x takes no part

// Scope in which ops record nothing.
struct NoGrad {
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
};
bool grad_enabled();

// Scope in which ops record again although a NoGrad is alive (a checkpointed block run inside backward).
struct EnableGrad {
  EnableGrad();
  ~EnableGrad();
  EnableGrad(const EnableGrad&) = delete;
  int outer_depth;
};

// Walks the graph of y from dL/dy = dy down to the leaves, adding into their grad(), and releases it on the way.
void run_backward(const Tensor& y, const Tensor& dy);

}  // namespace chalk
