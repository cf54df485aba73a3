#pragma once
// Every differentiable op, grouped. Each checks its arguments, picks one kernel (kernels/NAME.h has the formula), and
// records one node (autograd/ops/NAME.cpp). All throw Error naming op, argument, got and expected.

#include <functional>
#include <optional>
#include <vector>

#include "autograd/tensor.h"
#include "kernels/fake_quant.h"
#include "kernels/rope.h"

namespace chalk {

// Token ids or targets: whole numbers never travel in a Tensor.
struct IntTensor {
  Shape shape;
  std::vector<int32_t> values;
};

// ---- products ----
// y (..., out) = x (..., in) · weightᵀ + bias; weight (out, in), bias (out) or undefined.
Tensor linear(const Tensor& x, const Tensor& weight, const Tensor& bias = {});
// y (..., M, N) = op(a) · op(b). Leading axes of a and b are equal, or b is a plain matrix used for all of them.
Tensor matmul(const Tensor& a, const Tensor& b, bool transpose_a = false, bool transpose_b = false);

// ---- normalisation, over the last axis C; weight, bias (C) ----
Tensor layernorm(const Tensor& x, const Tensor& weight, const Tensor& bias, float eps = 1e-5f);
Tensor rmsnorm(const Tensor& x, const Tensor& weight, float eps = 1e-5f);

// ---- element-wise, any shape ----
Tensor gelu_tanh(const Tensor& x);
Tensor gelu_erf(const Tensor& x);
Tensor silu(const Tensor& x);
Tensor relu(const Tensor& x);
Tensor swiglu(const Tensor& gate, const Tensor& up);  // silu(gate) · up
Tensor scale(const Tensor& x, float factor);
Tensor dropout(const Tensor& x, float p, uint64_t seed);  // p = 0 returns x itself

// ---- two tensors; NumPy broadcasting up to four axes ----
Tensor add(const Tensor& a, const Tensor& b);
Tensor mul(const Tensor& a, const Tensor& b);

// ---- over the last axis ----
Tensor softmax(const Tensor& x);
Tensor log_softmax(const Tensor& x);

// ---- to one number, shape () ----
Tensor sum(const Tensor& x);
Tensor mean(const Tensor& x);

// ---- language-model ends ----
// y (ids.shape..., C) = weight (V, C)[ids]; an id outside [0, V) throws.
Tensor embedding(const Tensor& weight, const IntTensor& ids);

constexpr int32_t ignore_index = -100;  // the target that does not count
// Loss of each row, shape (N): −log softmax(logits)[target]; logits (..., V) with N rows, targets N ids or ignore_index.
Tensor cross_entropy_rows(const Tensor& logits, const std::vector<int32_t>& targets);
// The mean over rows that count (NaN-free: 0 when none does), or with weights: Σ weight_n · loss_n / divisor.
Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets);
Tensor cross_entropy(const Tensor& logits, const std::vector<int32_t>& targets,
                     const std::vector<float>& weights, float divisor);

// ---- attention ----
struct AttentionOptions {
  int64_t heads = 1, kv_heads = 1;
  std::optional<float> scale = std::nullopt;  // default 1/√D
  bool causal = true;
  int64_t window = 0;  // 0 = every earlier key
};
// y (B, Tq, H·D) from q (B, Tq, H·D), k and v (B, Tk, K·D); query i stands at key position i + Tk − Tq.
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options);
// The same against the first `length` rows of a cache: k, v (B, capacity, K·D). Records nothing: generation only.
Tensor attention_cached(const Tensor& q, const Tensor& k, const Tensor& v, int64_t length,
                        const AttentionOptions& options);

// cos and sin for given positions: computed once per forward, shared by all layers and both of q and k.
struct RopeTable {
  Tensor cos, sin;  // (T, D/2)
  bool interleaved = false;
};
RopeTable make_rope_table(const std::vector<int32_t>& positions, int64_t head_dim, double theta,
                          const FrequencyScaling& scaling, bool interleaved, Device device);
// Turns each head of x (B, T, heads·D) by its position's angles.
Tensor rope(const Tensor& x, const RopeTable& table, int64_t heads);

// ---- fake quantization (kernels/fake_quant.h): rounded to a grid, and still floats ----
enum class FakeQuantGrid {
  Symmetric,   // ±(2^(bits−1) − 1), step from the largest |x|
  Asymmetric,  // 2^bits codes over the range of x and 0, with a whole-number zero
  Range,       // 2^bits codes from min to max: the ends are exact, 0 need not be
};
// Every set of `set_size` consecutive numbers gets a step of its own from its range; 0 = all of x is one set. The steps count
// as constants in backward. bits >= 16 returns x itself.
Tensor fake_quant(const Tensor& x, int bits, FakeQuantGrid grid, int64_t set_size,
                  GradientPass pass = GradientPass::RoundedInside);
// LSQ: the steps (G), and the offsets (G) if defined, are learned; x is G equal sets, codes are whole numbers in [low, high].
// step_scale multiplies the gradient of the steps.
Tensor fake_quant_learned(const Tensor& x, const Tensor& step, const Tensor& offset, int low, int high,
                          float step_scale = 1);
// x itself, but backward rounds dy to 2^bits levels over its range, stochastically (unbiased) or to the nearest.
Tensor quantize_gradient(const Tensor& x, int bits, bool stochastic, uint64_t seed);
// The numbers of `value`, with dy passed straight through to x: for any rounding that has no op of its own.
Tensor straight_through(const Tensor& x, const Tensor& value);

// ---- shape ----
Tensor reshape(const Tensor& x, Shape shape);  // shares the numbers
Tensor transpose(const Tensor& x);             // swaps the last two axes, copies
Tensor slice(const Tensor& x, int64_t axis, int64_t start, int64_t length);  // copies
Tensor concat(const Tensor& a, const Tensor& b, int64_t axis);               // copies

// ---- memory for time ----
// y = block(x), without keeping what block records: backward runs block again (Chen et al. 2016). The block must be
// deterministic; dropout inside draws the same mask again (autograd/random.h). It may use parameters, and no other
// tensor with a history than its argument.
Tensor checkpoint(const std::function<Tensor(const Tensor&)>& block, const Tensor& x);

}  // namespace chalk
