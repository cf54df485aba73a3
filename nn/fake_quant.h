#pragma once
// A linear layer that trains while it already sees rounded weights, activations and gradients.
//
//   ŵ = FQ(weight)     x̂ = FQ(x)     y = x̂ · ŵᵀ + bias
//   FQ: round to a grid, stay float (kernels/fake_quant.h)
//
// Backward goes through the roundings by the straight-through estimator; the optimiser moves the float
// weight. The widths can be switched at any moment, and a width of 16 or more is an exact pass-through: at
// 16-16-16 this is Linear, bit for bit.

#include <functional>
#include <map>
#include <vector>

#include "nn/linear.h"
#include "nn/quantizer.h"

namespace chalk {

// ---- LSQ: learned step size quantization (Esser et al., ICLR 2020, arXiv 1902.08153) --------------------
//
//   ŵ = s · R(clip(w / s, Qn, Qp))
// The step s is a parameter. Its gradient, ∂ŵ/∂s = R(v) − v inside and Qn or Qp where clipped, is in
// kernels/fake_quant.h. What is left:

// The whole numbers a code may be: [−Qn, Qp] in the paper's notation.
struct CodeRange {
  int low = 0, high = 0;  // Qn ≤ 0 < Qp
};
// ±(2^(bits−1) − 1); full: [−2^(bits−1), 2^(bits−1) − 1].
CodeRange signed_codes(int bits, bool full = false);

// The gradient of a step shared by n numbers is multiplied by 1 / √(n · Qp), so that it is of the size of a
// weight's. Adam divides such constants out again; they matter for SGD and for clipping by the global norm.
float lsq_step_scale(int64_t n, int high);

// Where a step starts.
enum class StepInit {
  MeanAbs,  // 2 · mean|x| / √Qp, the paper's rule; at 8 bits it clips at 18 standard deviations, far too wide
  AbsMax,  // max|x| / Qp: ParetoQ's for 3 and more bits
  Best,    // whichever of the two rounds the set with the smaller squared error
};
// The first steps (G) of x (G, n).
std::vector<float> lsq_initial_steps(const float* x, int64_t G, int64_t n, CodeRange codes, StepInit init);

// ---- the projection -------------------------------------------------------------------------------------

// Bits of weights, input activations and output gradients; 16 or more: untouched.
struct LayerBits {
  int weights = 16, activations = 16, gradients = 16;
  bool operator==(const LayerBits&) const = default;
};

struct FakeQuantOptions {
  // Weights: learned steps, or the range of the weights at each forward pass.
  bool learned_steps = true;
  FakeQuantGrid weight_grid = FakeQuantGrid::Symmetric;  // without learned steps
  // Consecutive inputs of a row that share a step; −1: the whole row, 0: the whole matrix.
  int64_t group_size = -1;
  StepInit step_init = StepInit::Best;
  bool full_range = false;  // LSQ also uses the code −2^(bits−1)
  // Replaces the built-in rounding: numbers for (weight, bits). The gradient passes straight through.
  std::function<Tensor(const Tensor& weight, int bits)> custom_weights = {};

  // Activations: the range of each token, or of the whole batch, found anew at every call.
  FakeQuantGrid activation_grid = FakeQuantGrid::Asymmetric;
  bool per_token = true;

  GradientPass pass = GradientPass::RoundedInside;  // of all roundings but LSQ's, which has its own rule
  bool stochastic_gradients = true;                 // output gradients: unbiased rounding, or to the nearest
};

struct FakeQuantLinear : Projection {
  Tensor weight;                // (out, in), what the optimiser moves
  Tensor bias;                  // (out) or undefined; stays float
  std::map<int, Tensor> steps;  // LSQ: bits -> (out · groups), private to each width
  LayerBits precision;          // what forward() does now
  FakeQuantOptions options;

  // Takes over the Linear's parameters. Learned steps are made for each of `widths` below 16, from the
  // weights as they are. Throws Error when the group size does not divide the inputs, or a width is below 2.
  FakeQuantLinear(const Linear& linear, const FakeQuantOptions& options, const std::vector<int>& widths);

  Tensor forward(const Tensor& x) override;
  // ŵ (out, in) at precision.weights; its history leads to the weight and the steps.
  Tensor quantized_weight() const;

  // The codes of ŵ: dequantize(codes()) is quantized_weight(), bit for bit. Throws Error above 8 bits, for
  // custom rounding and for FakeQuantGrid::Range, whose offset is no whole number of steps.
  QuantizedMatrix codes() const;

  int64_t in_features() const override { return weight.dim(1); }
  int64_t out_features() const override { return weight.dim(0); }
  // "weight", "bias", and "steps_4" for the steps of 4 bits.
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override;

 private:
  int64_t set_size() const;  // weights that share a step
};

// Puts a FakeQuantLinear into every projection slot that holds a Linear and whose name `wanted` accepts, in
// order. The usual choice is every slot but the head: embeddings and the head stay float.
std::vector<FakeQuantLinear*> put_fake_quant(Module& model, const FakeQuantOptions& options,
                                             const std::vector<int>& widths,
                                             const std::function<bool(const std::string& slot)>& wanted);
bool all_but_the_head(const std::string& slot);

}  // namespace chalk
