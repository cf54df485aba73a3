// The product as a differentiable op, packing a QuantizedMatrix, and putting it into slots.

#include "nn/group_quant_linear.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops/common.h"

namespace chalk {
namespace {

// The inputs of each group, in order.
std::vector<std::vector<int32_t>> inputs_by_group(const QuantizedMatrix& q) {
  std::vector<std::vector<int32_t>> inputs(static_cast<size_t>(q.groups()));
  for (int64_t k = 0; k < q.columns; ++k) inputs[size_t(q.group(k))].push_back(int32_t(k));
  return inputs;
}

// 3 bits are a plane of 2 and one of 1; 1, 2, 4 and 8 are one plane. The largest comes first: it holds the low bits.
std::vector<int> plane_widths(int bits) {
  std::vector<int> widths;
  for (int width : {8, 4, 2, 1}) {
    if (bits & width) widths.push_back(width);
  }
  return widths;
}

std::vector<uint16_t> half_scales(const QuantizedMatrix& q) {
  std::vector<uint16_t> halves;
  for (float scale : q.scales) {
    halves.push_back(float_to_half(scale));
    check(std::isfinite(half_to_float(halves.back())),
          "GroupQuantLinear: scale {} does not fit half precision", scale);
  }
  return halves;
}

}  // namespace

PackedGroups::PackedGroups(const QuantizedMatrix& matrix, Device device) : device(device) {
  validate(matrix);
  facts.bits = matrix.bits;
  facts.rows = matrix.rows;
  facts.columns = matrix.columns;
  facts.group_size = matrix.group_size;
  facts.group_of = matrix.group_of;
  facts.one_scale = matrix.one_scale;
  int shift = 0;
  for (int bits : plane_widths(matrix.bits)) {
    add_plane(matrix, bits, shift);
    shift += bits;
  }
  const uint16_t* scales = keep(half_scales(matrix));
  for (GroupQuantWeight& plane : planes) plane.scales = scales;
  // value = s · (Σ_planes 2^shift · code − zero): the zero belongs to the first plane only.
  planes[0].zeros = matrix.symmetric() ? nullptr : keep(matrix.zeros);
  planes[0].zero = 1 << (matrix.bits - 1);
}

template <class T>
T* PackedGroups::keep(const std::vector<T>& values) {
  DeviceBuffer& buffer = buffers.emplace_back(int64_t(values.size() * sizeof(T)), device);
  copy_memory(buffer.data, device, values.data(), Device::CPU, buffer.bytes);
  return static_cast<T*>(buffer.data);
}

template <class T>
std::vector<T> PackedGroups::fetch(const T* values, int64_t count) const {
  std::vector<T> on_host(static_cast<size_t>(count));
  copy_memory(on_host.data(), Device::CPU, values, device, count * int64_t(sizeof(T)));
  return on_host;
}

void PackedGroups::add_plane(const QuantizedMatrix& q, int bits, int shift) {
  const std::vector<std::vector<int32_t>> inputs = inputs_by_group(q);
  size_t largest = 0;
  for (const auto& group : inputs) largest = std::max(largest, group.size());

  GroupQuantWeight plane;
  plane.N = q.rows, plane.K = q.columns, plane.bits = bits;
  plane.groups = q.groups();
  plane.stride = group_positions(int64_t(largest), bits);
  plane.zero = 0;
  plane.unit = float(1 << shift);
  std::vector<int32_t> input_of(size_t(plane.positions()), -1);
  for (size_t g = 0; g < inputs.size(); ++g) {
    std::copy(inputs[g].begin(), inputs[g].end(), input_of.begin() + int64_t(g) * plane.stride);
  }
  std::vector<uint8_t> codes(size_t(q.rows * plane.row_bytes()));
  for (int64_t n = 0; n < q.rows; ++n) {
    for (int64_t p = 0; p < plane.positions(); ++p) {
      if (input_of[size_t(p)] < 0) continue;
      const int32_t code = q.codes[size_t(n * q.columns + input_of[size_t(p)])] >> shift & ((1 << bits) - 1);
      put_code(codes.data() + n * plane.row_bytes(), bits, p, code);
    }
  }
  bool in_order = true;  // input p at position p: no table needed
  for (int64_t p = 0; p < plane.positions(); ++p) in_order &= input_of[size_t(p)] == (p < q.columns ? p : -1);
  plane.codes = keep(codes);
  plane.input_of = in_order ? nullptr : keep(input_of);
  planes.push_back(plane);
}

QuantizedMatrix PackedGroups::unpack() const {
  QuantizedMatrix q = facts;
  q.codes.assign(size_t(q.rows * q.columns), 0);
  int shift = 0;
  for (GroupQuantWeight plane : planes) {
    const std::vector<uint8_t> codes = fetch(plane.codes, plane.N * plane.row_bytes());
    std::vector<int32_t> input_of;
    plane.codes = codes.data();
    if (plane.input_of) {
      input_of = fetch(plane.input_of, plane.positions());
      plane.input_of = input_of.data();
    }
    for (int64_t p = 0; p < plane.positions(); ++p) {
      const int64_t k = plane.input_at(p);
      for (int64_t n = 0; k >= 0 && n < q.rows; ++n) {
        q.codes[size_t(n * q.columns + k)] |= uint8_t(plane.code(n, p) << shift);
      }
    }
    shift += plane.bits;
  }
  const GroupQuantWeight& first = planes[0];
  const int64_t groups = q.rows * q.groups();
  for (uint16_t scale : fetch(first.scales, groups)) q.scales.push_back(half_to_float(scale));
  q.zeros =
      first.zeros ? fetch(first.zeros, groups) : std::vector<uint8_t>(size_t(groups), uint8_t(first.zero));
  return q;
}

int64_t PackedGroups::bytes() const {
  int64_t sum = 0;
  for (const DeviceBuffer& buffer : buffers) sum += buffer.bytes;
  return sum;
}

GroupQuantLinear::GroupQuantLinear(const QuantizedMatrix& matrix, const Tensor& bias, Device device)
    : weight(std::make_shared<PackedGroups>(matrix, device)), bias(bias), cost(storage_cost(matrix)) {
  check(!bias.defined() || bias.numel() == matrix.rows,
        "GroupQuantLinear: bias has shape {} but there are {} outputs", to_string(bias.shape), matrix.rows);
}

// ---- the op; saved for backward: the packed weight, shared, and of x only its place in the graph ----

struct GroupQuantMatmulNode : Node {
  Tensor x;                              // (..., in)
  std::vector<GroupQuantWeight> planes;  // each (out, in)
  std::shared_ptr<const void> owner;     // of what the planes point at

  const char* name() const override { return "group_quant_matmul"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    float* dx = grad_or_null(x);
    if (!dx) return;
    const int64_t rows = x.numel() / x.dim(-1);
    auto* workspace_bytes = pick(x.device(), plain::group_quant_matmul_workspace,
                                 cpu::group_quant_matmul_workspace, cuda::group_quant_matmul_workspace);
    auto* kernel = pick(x.device(), plain::group_quant_matmul_dx<float>, cpu::group_quant_matmul_dx,
                        cuda::group_quant_matmul_dx);
    // dx += dy · Ŵ, plane by plane
    for (const GroupQuantWeight& plane : planes) {
      const Tensor workspace = workspace_of(workspace_bytes(plane, rows), x.device());
      kernel(dx, dy.data(), plane, rows, workspace.data());
    }
  }
};

Tensor group_quant_matmul(const Tensor& x, const std::vector<GroupQuantWeight>& planes, const Tensor& bias,
                          const std::shared_ptr<const void>& owner) {
  const int64_t in = last_axis("group_quant_matmul", x), rows = x.numel() / in;
  check(!planes.empty() && planes[0].K == in,
        "group_quant_matmul: the weight has {} inputs but x has shape {}", planes.empty() ? 0 : planes[0].K,
        to_string(x.shape));
  const int64_t out = planes[0].N;
  check(!bias.defined() || bias.numel() == out,
        "group_quant_matmul: bias has shape {} but the weight has {} rows", to_string(bias.shape), out);
  check_same_device("group_quant_matmul", {x, bias});

  Shape shape = x.shape;
  shape.back() = out;
  Tensor y = Tensor::empty(shape, x.device());
  // A bias that is trained is added by add(), which knows its gradient.
  const bool train_bias = bias.defined() && wants_grad({bias});
  const float* b = bias.defined() && !train_bias ? bias.data() : nullptr;
  auto* workspace_bytes = pick(x.device(), plain::group_quant_matmul_workspace,
                               cpu::group_quant_matmul_workspace, cuda::group_quant_matmul_workspace);
  auto* kernel =
      pick(x.device(), plain::group_quant_matmul<float>, cpu::group_quant_matmul, cuda::group_quant_matmul);
  for (size_t i = 0; i < planes.size(); ++i) {
    const Tensor workspace = workspace_of(workspace_bytes(planes[i], rows), x.device());
    kernel(y.data(), x.data(), planes[i], i == 0 ? b : nullptr, rows, i > 0, workspace.data());
  }
  if (wants_grad({x})) {
    auto node = std::make_shared<GroupQuantMatmulNode>();
    node->x = x, node->planes = planes, node->owner = owner;
    set_history(y, node);
  }
  return train_bias ? add(y, bias) : y;
}

// ---- slots ----

Linear& float_linear(const Slot& slot) {
  auto* found = dynamic_cast<Linear*>(slot.layer.get());
  check(found != nullptr, "slot {} does not hold a plain Linear", slot.name);
  return *found;
}

void put_quantized(Slot& slot, const QuantizedMatrix& matrix) {
  const Linear& linear = float_linear(slot);
  check(linear.out_features() == matrix.rows && linear.in_features() == matrix.columns,
        "slot {} holds a ({}, {}) weight, not one of ({}, {})", slot.name, linear.out_features(),
        linear.in_features(), matrix.rows, matrix.columns);
  const Tensor bias = linear.bias.defined() ? linear.bias.detach() : Tensor();
  slot.layer = std::make_unique<GroupQuantLinear>(matrix, bias, linear.weight.device());
}

}  // namespace chalk
