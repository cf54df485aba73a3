#pragma once
// GPTQ: ACCURATE POST-TRAINING QUANTIZATION FOR GENERATIVE PRE-TRAINED TRANSFORMERS
// Frantar, Ashkboos, Hoefler, Alistarh; ICLR 2023; arXiv 2210.17323
//
// 1. CLAIM
// A trained transformer's weights can be stored in 3 or 4 bits, with no training and a few hundred sentences of sample
// text, at a small loss in perplexity, where rounding each weight to its nearest grid point ruins the model at 3 bits. Two
// ideas: after one column of a weight matrix is rounded, the columns not yet rounded are moved so that the layer's *output*
// on the sample text changes least; and because all rows take the columns in the same order, one Cholesky factorisation
// holds every step of that compensation for all of them.
//
// 2. IDEA
//   H = Σ x·xᵀ over the inputs x of the layer             U = upper factor of (H + λI)⁻¹
//   for each column j of W, left to right:
//     q_j  = nearest grid point of w_j
//     e    = (w_j − q_j) / U_jj                            how wrong the output is now, whatever comes after
//     w_k −= e · U_jk   for all k > j                      the columns still free repair what they can
//
// 3. GLOSSARY
//   W (R, C)      weight (out, in): R rows, C columns      X (C, N)     inputs; here x (N, C), one row per token
//   H             Hessian::h, (2/n)·XXᵀ, n = sequences     H_d = H + λI damped; λ = damping · mean(diag H)
//   U             Factor::u, UᵀU = H_d⁻¹, upper            Hinv (authors' code) the same: a factor, not an inverse
//   Q             Result::weight, codes on a grid          E            Result::errors, (W − Q) column by column / U_jj
//   B, i1, i2     block_size; a block's first column and the one after its last
//   g             group_size, inputs of one row that share a scale
//   perm          Factor::order, column order[j] of W is rounded j-th (act-order)
//
// 4. EQUATIONS
//   Eq. (1)  ‖WX − ŴX‖² = tr(D·XXᵀ·Dᵀ), D = W − Ŵ              test: GptqModel.LayerErrorsBelowRounding, Gptq.OutputErrorIsThatOfTheOutputs
//   Eq. (2)  δ = −(w_j − q_j) / [H_F⁻¹]_jj · (H_F⁻¹)_j,:        test: Gptq.IsObqInNaturalOrder
//   Eq. (3)  H_−j⁻¹ = H⁻¹ − H⁻¹_:,j·H⁻¹_j,: / [H⁻¹]_jj          test: Gptq.FactorRowsAreEliminationSteps
//   Eq. (4)  a whole block's compensation of what follows it    test: Gptq.CodesDoNotDependOnTheBlockSize
//   I1  W − Q = E·U                                             test: Gptq.ErrorsTimesFactorIsTheDifference
//   I2  tr((W − Q)·H_d·(W − Q)ᵀ) = ‖E‖²                         test: Gptq.LossIsTheDampedOutputError
//   I3  q_j = quant(w_j − Σ_i<j E_i·U_ij): nearest plane on U   test: Gptq.IsSuccessiveCancellation
//   I4  E[GPTQ error] / E[RTN error] = Σ 1/U_jj² / Σ (H_d)_jj   test: Gptq.ErrorRatioIsPredicted
// Why one factor is enough: row j of U, from the diagonal on, is row j of the inverse after columns 0 … j−1 have been
// removed by Eq. (3), divided by the root of its diagonal. So U_jj² = [H_F⁻¹]_jj, and Eq. (2) is −(w_j − q_j)/U_jj · U_j,:.
// I1 to I4 are not in the paper: they follow from that line. I3 says what GPTQ is in the language of lattices (Babai's
// nearest plane algorithm); I4 assumes rounding errors that are uniform and independent.
//
// 5. DEVIATIONS
//   paper / authors' code                       here                            why
//   H⁻¹ is formed, then factored                U from H_d directly             one factorisation, no inverse; same U
//                                               (kernels/cholesky.h)
//   a failed Cholesky ends the program          damping ×10 until it succeeds,  nearly equal inputs make H singular in
//                                               and the result says so          float; what happened must be seen
//   Cholesky in float                           sums in double                  fewer failures, codes the same
//   code: a group's grid is found from the      GroupGrid::BlockStart (default) reproduces published checkpoints; only
//     weights at the start of the block, which  and ::Compensated, from the     groups smaller than the block, or not
//     miss the block's own updates              weights as they are then        aligned with it, differ
//   code: argsort may permute equal diagonals   stable sort                     the same codes on every machine
//   code: ternary grid (maxq = −1)              not here                        the shared quantizer has no such grid
//   code: 128 sequences of C4                   sample text is an argument      small models know little of C4
//
// Traps: the scale of H does not matter (damping is relative); the grid of an ungrouped row is found before dead columns are
// set to 0; groups + act-order = runs of *permuted* columns, which a file must list (g_idx) unless the groups are static.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "autograd/ops.h"
#include "kernels/cholesky.h"
#include "kernels/cpu/parallel.h"
#include "models/calibration.h"
#include "models/io/dtype.h"
#include "models/io/weights.h"
#include "nn/group_quant_linear.h"
#include "nn/quantizer.h"

namespace chalk::gptq {

// Which weights a dynamic group's grid is found from (see DEVIATIONS).
enum class GroupGrid { BlockStart, Compensated };

struct Options {
  // bits, grid, group_size, MSE search (off in all published runs). Paper: asymmetric, one grid per row; files: symmetric.
  QuantizerOptions quantizer = {};
  // λ as a share of mean(diag H): larger trusts the sample text less; → ∞ is round-to-nearest. 0.01 everywhere in the paper.
  double damping = 0.01;
  // Columns whose updates to the rest of the matrix are held back and done together. Codes do not depend on it (but see
  // GroupGrid); 128 keeps a block in the cache.
  int64_t block_size = 128;
  // Round the columns with the largest diag H first: their errors can still be repaired by all others. Helps when diag H is
  // uneven, can hurt when it is flat.
  bool act_order = false;
  // Find all groups' grids before the first column is rounded, on groups of neighbouring inputs: act-order then needs no g_idx.
  bool static_groups = false;
  GroupGrid group_grid = GroupGrid::BlockStart;
  // Inside a block of the model, see the inputs again after each set of layers: {q, k, v}, {o}, {gate, up}, {down}.
  bool true_sequential = false;
  // Round each scale to half precision before it is used, so that a checkpoint holds exactly this model.
  bool half_scales = false;
};

// ---- 1. the Hessian of a layer's inputs ----

// H = (2/n)·XXᵀ: a sum over tokens, a mean over sequences. The same for every row of W.
struct Hessian {
  explicit Hessian(int64_t C = 0) : C(C), h(size_t(C * C)) {}

  int64_t C;
  int64_t sequences = 0, tokens = 0;
  std::vector<float> h;  // (C, C)

  // x (N, C): the inputs at N tokens of `new_sequences` sequences.
  void add(const float* x, int64_t N, int64_t new_sequences = 1);
};

inline void Hessian::add(const float* x, int64_t N, int64_t new_sequences) {
  const double n_old = double(sequences), n = double(sequences + new_sequences);
  const float root = float(std::sqrt(2 / n)), keep = float(n_old / n);
  sequences += new_sequences;
  tokens += N;
  const NoGrad no_grad;
  const Tensor scaled = Tensor::empty({N, C}, Device::CPU);
  for (int64_t i = 0; i < N * C; ++i) scaled.data()[i] = root * x[i];
  const Tensor product = matmul(scaled, scaled, true, false);  // (C, N) · (N, C)
  // H ← (n_old/n)·H + (2/n)·XXᵀ
  for (int64_t i = 0; i < C * C; ++i) h[size_t(i)] = keep * h[size_t(i)] + product.data()[i];
}

// ---- 2. its factor: everything that all rows share ----

struct Factor {
  std::vector<int64_t> order;  // column order[j] of W is rounded j-th
  std::vector<char> dead;      // (C) by column of W: 1 when the input was 0 at every token
  std::vector<float> u;        // (C, C) in the order of rounding
  double damping = 0;          // λ / mean(diag H) that was used
  int raises = 0;              // how often it was raised tenfold because H_d was not positive definite
  double trace = 0;            // Σ (H_d)_jj
};

inline Factor factor_hessian(const Hessian& hessian, const Options& options) {
  const int64_t C = hessian.C;
  check(hessian.tokens > 0, "GPTQ: the Hessian has seen no inputs");
  std::vector<float> h = hessian.h;
  Factor f;
  f.dead.resize(size_t(C));
  f.order.resize(size_t(C));
  std::iota(f.order.begin(), f.order.end(), 0);
  double mean = 0;
  for (int64_t j = 0; j < C; ++j) {
    float& h_jj = h[size_t(j * C + j)];
    check(std::isfinite(h_jj), "GPTQ: input {} is not finite", j);
    f.dead[size_t(j)] = h_jj == 0;
    if (h_jj == 0) h_jj = 1;  // nothing depends on this column: any pivot will do
    mean += double(h_jj) / double(C);
  }
  if (options.act_order) {
    std::stable_sort(f.order.begin(), f.order.end(),
                     [&](int64_t a, int64_t b) { return h[size_t(a * C + a)] > h[size_t(b * C + b)]; });
  }

  std::vector<float> damped(size_t(C * C));
  std::vector<double> workspace(size_t(cholesky_workspace(C)) / sizeof(double));
  f.u.resize(size_t(C * C));
  for (f.damping = options.damping;; ++f.raises) {
    for (int64_t i = 0; i < C; ++i) {
      const float* row = h.data() + f.order[size_t(i)] * C;
      for (int64_t j = 0; j < C; ++j) damped[size_t(i * C + j)] = row[f.order[size_t(j)]];
      damped[size_t(i * C + i)] += float(f.damping * mean);  // H_d = H + λI
    }
    // Eq. (3), C times over: row j of u is row j of the inverse without columns 0 … j−1, / √[H_F⁻¹]_jj
    if (cpu::inverse_cholesky_upper(f.u.data(), damped.data(), C, workspace.data()) < 0) break;
    check(f.damping < 1e4, "GPTQ: H + λI is not positive definite even with λ = {:.0e} · mean(diag H)",
          f.damping);
    f.damping = std::max(10 * f.damping, 1e-6);
  }
  f.trace = double(C) * mean * (1 + f.damping);
  return f;
}

// What GPTQ's error should be as a share of round-to-nearest's, from the inputs alone. 1 exactly when H_d is diagonal.
inline double predicted_error_ratio(const Factor& f) {
  const int64_t C = int64_t(f.order.size());
  double sum = 0;
  for (int64_t j = 0; j < C; ++j) sum += 1 / (double(f.u[size_t(j * C + j)]) * f.u[size_t(j * C + j)]);
  return sum / f.trace;  // I4
}

// ---- 3. rounding one matrix ----

struct Result {
  QuantizedMatrix weight;
  std::vector<float> errors;  // E (R, C), in the order of rounding
  double loss = 0;            // ½‖E‖², the number that the authors' program prints
};

// The loops below share these.
struct Rounding {
  int64_t R, C;
  const Factor& factor;
  const Options& options;
  bool dynamic_groups;   // grids are found on the way
  std::vector<float> w;  // (R, C) in the order of rounding: W, compensated by all blocks that are done
  Result result;

  QuantizedMatrix& q() { return result.weight; }
  const float* u_row(int64_t j) const { return factor.u.data() + j * C; }
};

inline float storable(float scale, const Options& options) {
  // 2⁻²⁴ is the smallest half: a scale of 0 has no grid.
  return options.half_scales ? std::max(half_to_float(float_to_half(scale)), 0x1p-24f) : scale;
}

// Steps j … end − 1 have begun a new group: its grid, for row r. `block` holds the row's columns [i1, i2) as they are now.
// False when a weight has run away.
inline bool find_group_grid(Rounding& s, int64_t r, int64_t j, const std::vector<float>& block, int64_t i1) {
  const int64_t end = std::min(j + s.q().group_size, s.C), i2 = i1 + int64_t(block.size());
  const float* row = s.w.data() + r * s.C;
  std::vector<float> x(row + j, row + end);  // as at the start of the block
  if (s.options.group_grid == GroupGrid::Compensated) {
    const float* e = s.result.errors.data() + r * s.C;
    for (int64_t k = j; k < end; ++k) {
      if (k < i2) x[size_t(k - j)] = block[size_t(k - i1)];
      for (int64_t i = i1; k >= i2 && i < j; ++i) x[size_t(k - j)] -= e[i] * s.u_row(i)[k];
    }
  }
  for (float value : x) {
    if (!(std::abs(value) < 1e30f)) return false;
  }
  const Scale grid = find_scale(x.data(), int64_t(x.size()), s.options.quantizer);
  const size_t at = size_t(r * s.q().groups() + j / s.q().group_size);
  s.q().scales[at] = storable(grid.scale, s.options);
  s.q().zeros[at] = uint8_t(grid.zero);
  return true;
}

// One row through the columns [i1, i2), then its later columns. False when a weight has run away.
inline bool round_block(Rounding& s, int64_t r, int64_t i1, int64_t i2) {
  float* row = s.w.data() + r * s.C;
  float* e = s.result.errors.data() + r * s.C;
  std::vector<float> block(row + i1, row + i2);  // `row` itself stays as it is until the block is done
  Scale grid{.maximum = (1 << s.q().bits) - 1, .minimum = s.options.quantizer.grid == Grid::AbsMax};
  for (int64_t j = i1; j < i2; ++j) {
    const int64_t column = s.factor.order[size_t(j)], groups = s.q().groups();
    if (s.dynamic_groups && j % s.q().group_size == 0 && !find_group_grid(s, r, j, block, i1)) return false;
    const size_t g = size_t(r * groups + (s.dynamic_groups ? j : column) / s.q().group_size);
    grid.scale = s.q().scales[g], grid.zero = s.q().zeros[g];

    const float w_j = block[size_t(j - i1)];
    const int32_t code = encode(w_j, grid);             // I3: w_j is W_j − Σ_i<j E_i·U_ij by now
    e[j] = (w_j - decode(code, grid)) / s.u_row(j)[j];  // I1: column j of E
    // δ = −e_j · U_j,:
    for (int64_t k = j; k < i2; ++k) block[size_t(k - i1)] -= e[j] * s.u_row(j)[k];  // Eq. (2)
    s.q().codes[size_t(r * s.C + column)] = uint8_t(code);
  }
  // W_:,i2… −= E_block · U_block,i2…
  for (int64_t j = i1; j < i2; ++j) {
    for (int64_t k = i2; k < s.C; ++k) row[k] -= e[j] * s.u_row(j)[k];  // Eq. (4)
  }
  return std::isfinite(e[i2 - 1]);
}

// The grids that are known before the first column is rounded are those of round-to-nearest.
inline QuantizedMatrix fixed_grids(std::vector<float> weight, int64_t R, int64_t C, const Factor& f,
                                   const Options& options) {
  const bool grouped = options.quantizer.group_size > 0;
  for (int64_t i = 0; grouped && i < R * C; ++i) {
    if (f.dead[size_t(i % C)])
      weight[size_t(i)] = 0;  // a row's own grid, without groups, still sees dead columns
  }
  QuantizedMatrix q = round_to_nearest(weight.data(), R, C, options.quantizer);
  for (float& scale : q.scales) scale = storable(scale, options);
  return q;
}

// Rounds weight (R, C). Throws Error on weights that are not finite or run away (too little damping).
inline Result quantize(const float* weight, int64_t R, int64_t C, const Factor& f, const Options& options) {
  check(int64_t(f.order.size()) == C, "GPTQ: a weight of {} columns and a Hessian of {}", C, f.order.size());
  check(options.block_size > 0, "GPTQ: block size {}", options.block_size);
  Rounding s{.R = R, .C = C, .factor = f, .options = options, .dynamic_groups = false, .w = {}, .result = {}};
  s.dynamic_groups = options.quantizer.group_size > 0 && !options.static_groups;
  s.q() = fixed_grids({weight, weight + R * C}, R, C, f, options);
  s.result.errors.resize(size_t(R * C));
  s.w.resize(size_t(R * C));
  for (int64_t i = 0; i < R * C; ++i) {
    const int64_t column = f.order[size_t(i % C)];
    s.w[size_t(i)] = f.dead[size_t(column)] ? 0 : weight[i / C * C + column];
  }
  if (s.dynamic_groups && options.act_order) {  // groups are runs in the order of rounding
    s.q().group_of.resize(size_t(C));
    for (int64_t j = 0; j < C; ++j)
      s.q().group_of[size_t(f.order[size_t(j)])] = int32_t(j / s.q().group_size);
  }

  std::vector<char> finite(size_t(R), 1);
  for (int64_t i1 = 0; i1 < C; i1 += options.block_size) {
    const int64_t i2 = std::min(i1 + options.block_size, C);
    cpu::parallel_for(R, cpu::grain_rows(cpu::memory_grain, C * (i2 - i1)), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r)
        finite[size_t(r)] = finite[size_t(r)] && round_block(s, r, i1, i2);
    });
  }
  for (int64_t r = 0; r < R; ++r)
    check(finite[size_t(r)], "GPTQ: the weights of row {} run away; raise the damping", r);
  for (float e : s.result.errors) s.result.loss += 0.5 * double(e) * double(e);  // I2
  return s.result;
}

// tr(D·H·Dᵀ), D = weight − dequantized (R, C): with H = (2/n)·XXᵀ, 2/n times the squared change of the outputs.
inline double output_error(const float* weight, const QuantizedMatrix& q, const Hessian& hessian) {
  const int64_t R = q.rows, C = q.columns;
  std::vector<float> d = dequantize(q);
  for (int64_t i = 0; i < R * C; ++i) d[size_t(i)] = weight[i] - d[size_t(i)];
  const NoGrad no_grad;
  const Tensor D = Tensor::from({R, C}, d);
  const Tensor DH = matmul(D, Tensor::from({C, C}, hessian.h));
  double error = 0;
  for (int64_t i = 0; i < R * C; ++i) error += double(DH.data()[i]) * double(d[size_t(i)]);  // Eq. (1)
  return error;
}

// ---- 4. a whole model, block by block ----

struct LayerReport {
  std::string slot;
  int64_t rows = 0, columns = 0, tokens = 0;
  double error = 0;      // Eq. (1) on the sample text
  double rtn_error = 0;  // the same for round-to-nearest on the same kind of grid
  double predicted = 0;  // of error / rtn_error, by I4
  double damping = 0;
  int raises = 0;
};

struct ModelResult {
  std::vector<QuantizedWeight> layers;
  std::vector<LayerReport> reports;
};

// Rounds what sits in the slot and puts the dequantized weights in its place.
inline void quantize_slot(Slot& slot, const Hessian& hessian, const Factor& factor, const Options& options,
                          ModelResult& result) {
  Linear& linear = float_linear(slot);
  const int64_t R = linear.out_features(), C = linear.in_features();
  const std::vector<float> weight = linear.weight.to_vector();
  Result rounded = quantize(weight.data(), R, C, factor, options);
  const QuantizedMatrix rtn = round_to_nearest(weight.data(), R, C, options.quantizer);
  result.reports.push_back({.slot = slot.name,
                            .rows = R,
                            .columns = C,
                            .tokens = hessian.tokens,
                            .error = output_error(weight.data(), rounded.weight, hessian),
                            .rtn_error = output_error(weight.data(), rtn, hessian),
                            .predicted = predicted_error_ratio(factor),
                            .damping = factor.damping,
                            .raises = factor.raises});
  linear.weight.copy_from(Tensor::from({R, C}, dequantize(rounded.weight), linear.weight.device()));
  result.layers.push_back({slot.name, std::move(rounded.weight)});
}

using SlotSets = std::vector<std::vector<std::string>>;  // slots that share an input, together

// One Hessian per set, under the name of its first slot.
inline std::map<std::string, Hessian> observe_hessians(BlockWalk& walk, const SlotSets& sets) {
  std::vector<std::string> first;
  for (const std::vector<std::string>& set : sets) first.push_back(set[0]);
  std::map<std::string, Hessian> hessians;
  walk.observe(first, [&](const std::string& slot, const float* x, int64_t tokens, int64_t in) {
    hessians.try_emplace(slot, in).first->second.add(x, tokens);
  });
  return hessians;
}

// Quantizes every projection inside the blocks, front to back; embeddings, norms, biases and the head stay as they are.
// Each block sees the sample text as the quantized blocks before it pass it on. batches: ids (B, T) of the sample text.
inline ModelResult quantize_model(LanguageModel& model, const std::vector<IntTensor>& batches,
                                  const Options& options) {
  ModelResult result;
  const NoGrad no_grad;
  for (BlockWalk walk(model, batches); !walk.done(); walk.advance()) {
    const SlotSets sets = slots_by_input(walk.block());
    // Without true-sequential one pass shows the inputs of all: o sees what q, k and v were before they were rounded.
    std::map<std::string, Hessian> hessians;
    if (!options.true_sequential) hessians = observe_hessians(walk, sets);
    for (const std::vector<std::string>& set : sets) {
      if (options.true_sequential) hessians = observe_hessians(walk, {set});
      const Hessian& hessian = hessians.at(set[0]);
      const Factor factor = factor_hessian(hessian, options);
      for (const std::string& slot : set)
        quantize_slot(find_slot(walk.block(), slot), hessian, factor, options, result);
    }
  }
  return result;
}

}  // namespace chalk::gptq

// 7. WHAT THE TESTS PROVE (tests/papers/gptq_test.cpp)
// The table of section 4; codes equal to those of AutoGPTQ, an independent implementation, on a stored layer with six
// settings, to round-to-nearest's when H is diagonal or the damping enormous, and to OBQ's in natural order; independence of
// block size and H's scale; dead columns, grid points, equal inputs, act-order, static groups, a Hessian that no Cholesky factors.
