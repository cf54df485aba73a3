#pragma once
// A projection whose weight stays in small integers: y = x · Ŵᵀ + bias with Ŵ = scale · (code − zero), packed as
// kernels/group_quant_matmul.h says, unpacked in registers while it is read. 1 to 8 bits; scales are half precision.
// There is a gradient to x (adapters can be trained through it), none to the weight.

#include <memory>

#include "autograd/ops.h"
#include "kernels/group_quant_matmul.h"
#include "nn/device_buffer.h"
#include "nn/linear.h"
#include "nn/quantized_projection.h"

namespace chalk {

// A QuantizedMatrix in the kernels' layout. Codes of 3, 5, 6 and 7 bits are split into planes of 4, 2 and 1.
struct PackedGroups {
  // Throws Error when the matrix does not hold together or a scale does not fit half precision.
  PackedGroups(const QuantizedMatrix& matrix, Device device);

  QuantizedMatrix unpack() const;  // what went in, scales rounded to half precision
  int64_t bytes() const;           // all buffers

  QuantizedMatrix facts;  // sizes, group_of and one_scale; its codes, scales and zeros are empty
  std::vector<GroupQuantWeight> planes;  // least significant bits first; they point into `buffers`

 private:
  template <class T>
  T* keep(const std::vector<T>& values);  // on the device
  template <class T>
  std::vector<T> fetch(const T* values, int64_t count) const;  // from there
  void add_plane(const QuantizedMatrix& matrix, int bits, int shift);

  Device device;
  std::vector<DeviceBuffer> buffers;
};

// linear() with a weight that is the sum of packed planes (kernels/group_quant_matmul.h); it gets no gradient. A graph that
// needs the planes keeps `owner`, and with it their numbers, alive. Throws Error on shapes that do not fit.
Tensor group_quant_matmul(const Tensor& x, const std::vector<GroupQuantWeight>& planes, const Tensor& bias,
                          const std::shared_ptr<const void>& owner);

struct GroupQuantLinear : QuantizedProjection {
  std::shared_ptr<const PackedGroups> weight;  // (out, in)
  Tensor bias;                                 // (out), or undefined

  // Packs the matrix; bias may be undefined.
  GroupQuantLinear(const QuantizedMatrix& matrix, const Tensor& bias, Device device);

  Tensor forward(const Tensor& x) override { return group_quant_matmul(x, weight->planes, bias, weight); }
  int64_t in_features() const override { return weight->facts.columns; }
  int64_t out_features() const override { return weight->facts.rows; }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    if (bias.defined()) visitor(prefix + "bias", bias);
  }
  StorageCost storage() const override { return cost; }
  int64_t resident_bytes() const override { return weight->bytes(); }
  std::vector<float> dequantized() const override { return dequantize(weight->unpack()); }

 private:
  StorageCost cost;
};

// The Linear in a slot, for methods that work on float weights. Throws Error when something else sits there.
Linear& float_linear(const Slot& slot);
// Puts the packed matrix in the place of the slot's Linear, whose bias it keeps. Throws Error when sizes differ.
void put_quantized(Slot& slot, const QuantizedMatrix& matrix);

}  // namespace chalk
