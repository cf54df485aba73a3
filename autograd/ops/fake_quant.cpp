// Saved for backward: x and its grid. The rounding is done again, which is cheaper than a mask in memory.

#include "kernels/fake_quant.h"

#include "autograd/ops/common.h"
#include "kernels/residual.h"

namespace chalk {
namespace {

// The grids of x's sets: step always, zero and offset where the kind of grid has them.
struct Grids {
  Tensor step, zero, offset;  // (G) or undefined
  int64_t G = 1, n = 0;
  float low = 0, high = 0;
};

const float* data_or_null(const Tensor& t) {
  return t.defined() ? t.data() : nullptr;
}

Grids grids_of(const Tensor& x, int bits, FakeQuantGrid kind, int64_t set_size) {
  Grids grids;
  grids.n = set_size > 0 ? set_size : x.numel();
  grids.G = set_size > 0 ? x.numel() / set_size : 1;
  const Device device = x.device();
  grids.step = Tensor::empty({grids.G}, device);
  grids.high = float((int64_t{1} << bits) - 1);
  if (kind == FakeQuantGrid::Symmetric) {
    grids.high = float((int64_t{1} << (bits - 1)) - 1);
    grids.low = -grids.high;
    auto* kernel = pick(device, plain::fake_quant_symmetric<float>, cpu::fake_quant_symmetric,
                        cuda::fake_quant_symmetric);
    kernel(grids.step.data(), x.data(), grids.G, grids.n, bits);
  } else if (kind == FakeQuantGrid::Asymmetric) {
    grids.zero = Tensor::empty({grids.G}, device);
    auto* kernel = pick(device, plain::fake_quant_asymmetric<float>, cpu::fake_quant_asymmetric,
                        cuda::fake_quant_asymmetric);
    kernel(grids.step.data(), grids.zero.data(), x.data(), grids.G, grids.n, bits);
  } else {
    grids.offset = Tensor::empty({grids.G}, device);
    auto* kernel =
        pick(device, plain::fake_quant_range<float>, cpu::fake_quant_range, cuda::fake_quant_range);
    kernel(grids.step.data(), grids.offset.data(), x.data(), grids.G, grids.n, bits);
  }
  return grids;
}

Tensor rounded(const Tensor& x, const Grids& g) {
  Tensor y = Tensor::empty(x.shape, x.device());
  auto* kernel =
      pick(x.device(), plain::fake_quant_forward<float>, cpu::fake_quant_forward, cuda::fake_quant_forward);
  kernel(y.data(), x.data(), g.step.data(), data_or_null(g.zero), data_or_null(g.offset), g.G, g.n, g.low,
         g.high);
  return y;
}

void check_bits(const char* op, int bits, int least) {
  check(bits >= least, "{}: {} bits, but this grid needs at least {}", op, bits, least);
}

}  // namespace

struct FakeQuantNode : Node {
  Tensor x;
  Grids grids;  // fake_quant_learned: the step and offset are inputs
  bool learned = false;
  GradientPass pass = GradientPass::RoundedInside;
  float step_scale = 1;

  const char* name() const override { return "fake_quant"; }
  std::vector<Tensor> inputs() const override {
    return learned ? std::vector<Tensor>{x, grids.step, grids.offset} : std::vector<Tensor>{x};
  }
  void backward(const Tensor& dy) override {
    float* dx = grad_or_null(x);
    float* dstep = learned ? grad_or_null(grids.step) : nullptr;
    float* doffset = learned && grids.offset.defined() ? grad_or_null(grids.offset) : nullptr;
    auto* kernel = pick(x.device(), plain::fake_quant_backward<float>, cpu::fake_quant_backward,
                        cuda::fake_quant_backward);
    kernel(dx, dstep, doffset, dy.data(), x.data(), grids.step.data(), data_or_null(grids.zero),
           data_or_null(grids.offset), grids.G, grids.n, grids.low, grids.high, pass, step_scale);
  }
};

Tensor fake_quant(const Tensor& x, int bits, FakeQuantGrid grid, int64_t set_size, GradientPass pass) {
  check(x.defined(), "fake_quant: x is undefined");
  if (bits >= 16) return x;
  check_bits("fake_quant", bits, grid == FakeQuantGrid::Symmetric ? 2 : 1);
  check(set_size >= 0 && (set_size == 0 || x.numel() % set_size == 0),
        "fake_quant: x of shape {} cannot be cut into sets of {} numbers", to_string(x.shape), set_size);
  auto node = std::make_shared<FakeQuantNode>();
  node->x = x, node->grids = grids_of(x, bits, grid, set_size), node->pass = pass;
  Tensor y = rounded(x, node->grids);
  if (wants_grad({x})) set_history(y, node);
  return y;
}

Tensor fake_quant_learned(const Tensor& x, const Tensor& step, const Tensor& offset, int low, int high,
                          float step_scale) {
  check(x.defined() && step.defined() && step.numel() > 0 && x.numel() % step.numel() == 0,
        "fake_quant_learned: x of shape {} cannot be cut into one set for each step of shape {}",
        to_string(x.shape), to_string(step.shape));
  check(!offset.defined() || offset.numel() == step.numel(),
        "fake_quant_learned: offset has shape {} but step has shape {}", to_string(offset.shape),
        to_string(step.shape));
  check(low <= 0 && high > 0, "fake_quant_learned: codes from {} to {} do not hold 0 and a positive one", low,
        high);
  check_same_device("fake_quant_learned", {x, step, offset});
  auto node = std::make_shared<FakeQuantNode>();
  node->x = x, node->learned = true, node->pass = GradientPass::Inside, node->step_scale = step_scale;
  node->grids = {.step = step,
                 .zero = {},
                 .offset = offset,
                 .G = step.numel(),
                 .n = x.numel() / step.numel(),
                 .low = float(low),
                 .high = float(high)};
  Tensor y = rounded(x, node->grids);
  if (wants_grad({x, step, offset})) set_history(y, node);
  return y;
}

struct QuantizeGradientNode : Node {
  Tensor x;
  int bits = 8;
  bool stochastic = true;
  uint64_t seed = 0;

  const char* name() const override { return "quantize_gradient"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    const Grids g = grids_of(dy, bits, FakeQuantGrid::Range, 0);
    Tensor quantized = stochastic ? Tensor::empty(dy.shape, dy.device()) : rounded(dy, g);
    if (stochastic) {
      auto* kernel = pick(dy.device(), plain::fake_quant_stochastic<float>, cpu::fake_quant_stochastic,
                          cuda::fake_quant_stochastic);
      kernel(quantized.data(), dy.data(), g.step.data(), g.offset.data(), g.G, g.n, g.low, g.high, seed);
    }
    auto* add = pick(dy.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
    add(x.grad().data(), quantized.data(), x.numel());
  }
};

Tensor quantize_gradient(const Tensor& x, int bits, bool stochastic, uint64_t seed) {
  if (bits >= 16 || !wants_grad({x})) return x;
  check_bits("quantize_gradient", bits, 1);
  Tensor y = x.detach();
  auto node = std::make_shared<QuantizeGradientNode>();
  node->x = x, node->bits = bits, node->stochastic = stochastic, node->seed = seed;
  set_history(y, node);
  return y;
}

struct StraightThroughNode : Node {
  Tensor x;

  const char* name() const override { return "straight_through"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    auto* add = pick(dy.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
    add(x.grad().data(), dy.data(), x.numel());
  }
};

Tensor straight_through(const Tensor& x, const Tensor& value) {
  check(x.shape == value.shape, "straight_through: x has shape {} but value has {}", to_string(x.shape),
        to_string(value.shape));
  check_same_device("straight_through", {x, value});
  Tensor y = value.detach();
  if (wants_grad({x})) {
    auto node = std::make_shared<StraightThroughNode>();
    node->x = x;
    set_history(y, node);
  }
  return y;
}

}  // namespace chalk
