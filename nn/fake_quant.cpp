// LSQ's constants, the fake-quantised projection, and its codes.

#include "nn/fake_quant.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "autograd/random.h"

namespace chalk {

// ---- LSQ ----

CodeRange signed_codes(int bits, bool full) {
  check(bits >= 2 && bits < 16, "signed codes of {} bits do not exist: 2 to 15", bits);
  const int high = (1 << (bits - 1)) - 1;
  return {full ? -high - 1 : -high, high};
}

float lsq_step_scale(int64_t n, int high) {
  // gradient scale = 1 / √(n · Qp)
  return float(1 / std::sqrt(double(n) * high));
}

namespace {

// Σ (x̂ − x)² of a set rounded with this step.
double squared_error(const float* x, int64_t n, CodeRange codes, float step) {
  std::vector<float> y(size_t(n), 0);
  plain::fake_quant_forward<float>(y.data(), x, &step, nullptr, nullptr, 1, n, float(codes.low),
                                   float(codes.high));
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += (double(y[i]) - x[i]) * (double(y[i]) - x[i]);
  return sum;
}

}  // namespace

std::vector<float> lsq_initial_steps(const float* x, int64_t G, int64_t n, CodeRange codes, StepInit init) {
  std::vector<float> steps;
  for (int64_t g = 0; g < G; ++g) {
    const float* set = x + g * n;
    double sum = 0, largest = 0;  // of |x|
    for (int64_t i = 0; i < n; ++i) {
      sum += std::abs(double(set[i]));
      largest = std::max(largest, std::abs(double(set[i])));
    }
    // s = 2 · mean|x| / √Qp
    const float from_mean =
        plain::at_least_min_step(float(2 * sum / double(n) / std::sqrt(double(codes.high))));
    // s = max|x| / Qp
    const float from_max = plain::at_least_min_step(float(largest / codes.high));
    const bool mean_is_better = init == StepInit::Best && squared_error(set, n, codes, from_mean) <
                                                              squared_error(set, n, codes, from_max);
    steps.push_back(init == StepInit::MeanAbs || mean_is_better ? from_mean : from_max);
  }
  return steps;
}

// ---- the projection ----

FakeQuantLinear::FakeQuantLinear(const Linear& linear, const FakeQuantOptions& options,
                                 const std::vector<int>& widths)
    : weight(linear.weight), bias(linear.bias), options(options) {
  const int64_t in = weight.dim(1), n = set_size();
  check(n > 0 && weight.numel() % n == 0 && (n >= in || in % n == 0),
        "fake quantization: groups of {} weights do not divide a row of {}", options.group_size, in);
  if (!options.learned_steps || options.custom_weights) return;
  const std::vector<float> w = weight.to_vector();
  for (int bits : widths) {
    if (bits >= 16) continue;
    const CodeRange codes = signed_codes(bits, options.full_range);
    const int64_t G = weight.numel() / n;
    Tensor step =
        Tensor::from({G}, lsq_initial_steps(w.data(), G, n, codes, options.step_init), weight.device());
    step.set_requires_grad();
    steps[bits] = step;
  }
}

int64_t FakeQuantLinear::set_size() const {
  if (options.group_size > 0) return options.group_size;
  return options.group_size == 0 ? weight.numel() : weight.dim(1);
}

Tensor FakeQuantLinear::quantized_weight() const {
  const int bits = precision.weights;
  if (bits >= 16) return weight;
  if (options.custom_weights) return straight_through(weight, options.custom_weights(weight, bits));
  if (!options.learned_steps) return fake_quant(weight, bits, options.weight_grid, set_size(), options.pass);
  const auto step = steps.find(bits);
  check(step != steps.end(), "fake quantization: no steps were made for {} bits", bits);
  const CodeRange codes = signed_codes(bits, options.full_range);
  return fake_quant_learned(weight, step->second, {}, codes.low, codes.high,
                            lsq_step_scale(set_size(), codes.high));
}

Tensor FakeQuantLinear::forward(const Tensor& x) {
  const int64_t token = options.per_token ? x.dim(-1) : 0;
  const Tensor x_hat = fake_quant(x, precision.activations, options.activation_grid, token, options.pass);
  const Tensor y = linear(x_hat, quantized_weight(), bias);
  if (precision.gradients >= 16 || !y.requires_grad()) return y;
  return quantize_gradient(y, precision.gradients, options.stochastic_gradients, dropout_seeds().next());
}

void FakeQuantLinear::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  visitor(prefix + "weight", weight);
  if (bias.defined()) visitor(prefix + "bias", bias);
  for (auto& [bits, step] : steps) visitor(prefix + "steps_" + std::to_string(bits), step);
}

QuantizedMatrix FakeQuantLinear::codes() const {
  const int bits = precision.weights;
  check(bits <= 8, "fake quantization: weights of {} bits have no codes of a byte", bits);
  check(!options.custom_weights, "fake quantization: custom rounding has no codes");
  const bool asymmetric = !options.learned_steps && options.weight_grid == FakeQuantGrid::Asymmetric;
  check(options.learned_steps || options.weight_grid != FakeQuantGrid::Range,
        "fake quantization: the range grid's offset is no whole number of steps, so it has no zero to store");

  const int64_t n = set_size(), columns = weight.dim(1), per_row = std::max<int64_t>(1, columns / n);
  QuantizedMatrix matrix =
      make_quantized_matrix(weight.dim(0), columns, {.bits = bits, .group_size = options.group_size});
  const int64_t G = weight.numel() / n;
  const std::vector<float> w = weight.to_vector();
  std::vector<float> step(size_t(G), 0), zero(size_t(G), 0);
  if (options.learned_steps) step = steps.at(bits).to_vector();
  if (asymmetric) plain::fake_quant_asymmetric(step.data(), zero.data(), w.data(), G, n, bits);
  if (!options.learned_steps && !asymmetric) plain::fake_quant_symmetric(step.data(), w.data(), G, n, bits);

  const CodeRange range = signed_codes(bits, options.learned_steps && options.full_range);
  for (int64_t i = 0; i < weight.numel(); ++i) {
    const int64_t g = i / n, row = i / columns, column = i % columns;
    const float s = plain::at_least_min_step(step[g]);
    const float low = asymmetric ? -zero[g] : float(range.low);
    const float high = asymmetric ? float((1 << bits) - 1) - zero[g] : float(range.high);
    const float k = plain::fake_quant_place(w[i] / s, low, high, GradientPass::Inside).k;
    // The stored code is k + zero; symmetric grids store k + 2^(bits−1).
    const int zero_code = asymmetric ? int(zero[g]) : 1 << (bits - 1);
    const int64_t group = row * per_row + (n >= columns ? 0 : column / n);
    matrix.codes[i] = uint8_t(int(k) + zero_code);
    matrix.scales[group] = s;
    matrix.zeros[group] = uint8_t(zero_code);
  }
  return matrix;
}

// ---- a whole model ----

bool all_but_the_head(const std::string& slot) {
  return slot != "lm_head";
}

std::vector<FakeQuantLinear*> put_fake_quant(Module& model, const FakeQuantOptions& options,
                                             const std::vector<int>& widths,
                                             const std::function<bool(const std::string& slot)>& wanted) {
  std::vector<FakeQuantLinear*> layers;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    auto* linear = dynamic_cast<Linear*>(slot->layer.get());
    if (!linear || !wanted(slot->name)) continue;
    auto layer = std::make_unique<FakeQuantLinear>(*linear, options, widths);
    layers.push_back(layer.get());
    slot->layer = std::move(layer);
  }
  return layers;
}

}  // namespace chalk
