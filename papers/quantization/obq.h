#pragma once
// OPTIMAL BRAIN DAMAGE (LeCun, Denker, Solla 1990), OPTIMAL BRAIN SURGEON (Hassibi, Stork 1993) and
// OPTIMAL BRAIN COMPRESSION (Frantar, Alistarh; NeurIPS 2022; arXiv 2208.11580): the quantizer OBQ
//
// 1. CLAIM
// How much a trained network suffers from a change δ of its weights is ½·δᵀHδ, H the second derivatives of its error. So the
// weight to delete is not the smallest one, and the others can be moved to make up for it (Surgeon; Damage looks at the
// diagonal of H alone and moves nothing). For one linear layer's output on sample inputs H = 2XXᵀ is exact and the same
// for every row, which makes the step affordable: delete, or round to a grid point, one weight at a time, each time the one
// that costs least, and repair. OBQ is the best of this family and the slowest, C³ steps for each row; GPTQ is OBQ with
// the order given up (papers/quantization/gptq.h), so that all rows can share the work.
//
// 2. IDEA
//   for each row w of W, with its own copy of H⁻¹:
//     while a weight is free:
//       q = the free weight whose rounding costs least        (w_q − quant(w_q))² / [H⁻¹]_qq
//       w += −(w_q − quant(w_q)) / [H⁻¹]_qq · column q of H⁻¹
//       remove q from H⁻¹                                       one step of Gaussian elimination
//
// 3. GLOSSARY
//   W (R, C)   weight (out, in)          H        hessian (C, C), in double          F      the weights still free
//   H_F⁻¹      inverse: rows and columns of weights that are done are 0               e_q    the q-th unit vector
//   L_q        saliency: what deleting weight q costs                                 score  2·L_q, for rounding
//
// 4. EQUATIONS (labels are ours: the three papers number differently)
//   E1  ΔE ≈ ½·δᵀHδ, exact for a layer's squared output change                 test: Obq.StepCostsAddUpToTheError
//   E2  Damage: L_q = ½·h_qq·w_q²                                               test: Obq.DiagonalHessianMakesSurgeonDamage
//   E3  Surgeon: δ = −(w_q / [H⁻¹]_qq)·H⁻¹e_q, the best δ with w_q + δ_q = 0    test: Obq.StepReachesItsTargetAtLeastCost
//   E4  Surgeon: L_q = ½·w_q² / [H⁻¹]_qq                                        test: Obq.StepReachesItsTargetAtLeastCost
//   E5  OBQ: score_q = (quant(w_q) − w_q)² / [H_F⁻¹]_qq                          test: Obq.StepCostsAddUpToTheError
//   E6  OBQ: δ_F = −(w_q − quant(w_q)) / [H_F⁻¹]_qq · (H_F⁻¹)_:,q                test: Obq.NaturalOrderIsGptq
//   E7  removing q: H⁻¹ ← H⁻¹ − H⁻¹_:,q·H⁻¹_q,: / [H⁻¹]_qq                        test: Obq.RemovedIndexGivesTheInverseOfTheRest
//
// 5. DEVIATIONS
//   authors' code                          here                         why
//   H in double, its inverse in float      all in double                this is the slow reference
//   rows in batches on a GPU               one row at a time            a debugger can follow it
//   if Cholesky fails, I is added          the same
//   outlier rule: not in the paper         Options::outlier_rule        a weight pushed out of the grid's range only gets
//                                                                       further out: it is rounded at once
//   weights that are 0 stay 0              Options::keep_zeros          quantization after pruning
//
// The formulas of Damage and Surgeon are quoted from memory, those of OBQ were checked against the authors' code.

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "autograd/check.h"
#include "kernels/cholesky.h"
#include "kernels/cpu/parallel.h"
#include "nn/quantizer.h"

namespace chalk::obq {

enum class Order {
  Greedy,   // the cheapest weight next: OBQ
  Natural,  // column 0, 1, …: GPTQ, the slow way
};

struct Options {
  QuantizerOptions quantizer = {};  // grids are found once, from the weights before the first step
  Order order = Order::Greedy;
  bool outlier_rule = true;  // greedy only
  bool keep_zeros =
      true;            // weights that are exactly 0 were pruned: they stay, and nothing is pushed onto them
  double damping = 0;  // λ / mean(diag H), as in GPTQ; OBQ's default is none
};

// ---- 1. H and its inverse ----

// H = 2XXᵀ of inputs x (N, C).
inline std::vector<double> hessian_of(const float* x, int64_t N, int64_t C) {
  std::vector<double> h(size_t(C * C));
  for (int64_t n = 0; n < N; ++n) {
    const float* x_n = x + n * C;
    for (int64_t i = 0; i < C; ++i) {
      for (int64_t j = 0; j < C; ++j) h[size_t(i * C + j)] += 2.0 * double(x_n[i]) * double(x_n[j]);
    }
  }
  return h;
}

// H⁻¹, damped; a dead input (h_qq = 0) gets h_qq = 1. If H has no Cholesky factor, the identity is added until it has.
inline std::vector<double> inverse_of(std::vector<double> h, int64_t C, double damping) {
  double mean = 0;
  for (int64_t q = 0; q < C; ++q) {
    double& h_qq = h[size_t(q * C + q)];
    check(std::isfinite(h_qq), "OBQ: input {} is not finite", q);
    if (h_qq == 0) h_qq = 1;
    mean += h_qq / double(C);
  }
  for (int64_t q = 0; q < C; ++q) h[size_t(q * C + q)] += damping * mean;
  std::vector<double> workspace(size_t(cholesky_workspace(C)) / sizeof(double)), factor = h;
  for (int tries = 0; cpu::cholesky(factor.data(), C, workspace.data()) >= 0; ++tries) {
    check(tries < 100, "OBQ: the Hessian is not positive definite");
    for (int64_t q = 0; q < C; ++q) h[size_t(q * C + q)] += 1;
    factor = h;
  }
  std::vector<double> inverse(size_t(C * C));
  cpu::cholesky_inverse(inverse.data(), factor.data(), C);
  return inverse;
}

// What is left is the inverse of H without row and column q; those are set to 0.
inline void remove_index(std::vector<double>& inverse, int64_t C, int64_t q) {
  const std::vector<double> row(inverse.begin() + q * C, inverse.begin() + (q + 1) * C);  // = column q
  const double pivot = row[size_t(q)];
  for (int64_t i = 0; i < C; ++i) {
    if (row[size_t(i)] == 0) continue;
    double* inverse_i = inverse.data() + i * C;
    const double factor = row[size_t(i)] / pivot;
    for (int64_t j = 0; j < C; ++j) inverse_i[j] -= factor * row[size_t(j)];  // E7
  }
  for (int64_t i = 0; i < C; ++i) inverse[size_t(i * C + q)] = inverse[size_t(q * C + i)] = 0;
}

// ---- 2. one step ----

inline double damage_saliency(double h_qq, double w_q) {
  return 0.5 * h_qq * w_q * w_q;
}  // E2
inline double surgeon_saliency(double inverse_qq, double w_q) {
  return 0.5 * w_q * w_q / inverse_qq;
}  // E4

// Moves weight q of w (C) to `target` and the free others to where they make up for it best. Deleting is target 0,
// rounding is target quant(w_q). Returns what that costs.
inline double move_weight(std::vector<double>& w, const std::vector<double>& inverse, int64_t q,
                          double target) {
  const int64_t C = int64_t(w.size());
  const double* column = inverse.data() + q * C;  // symmetric: row q
  const double error = w[size_t(q)] - target;
  for (int64_t i = 0; i < C; ++i) w[size_t(i)] -= error / column[q] * column[i];  // E3, E6
  w[size_t(q)] = target;                                                          // exactly
  return surgeon_saliency(column[q], error);
}

// ---- 3. pruning a row: Damage and Surgeon ----

enum class Pruner { Damage, Surgeon };

// Deletes `count` weights of the row w (C), the cheapest first. Returns the sum of what each was expected to cost.
inline double prune_row(std::vector<double>& w, const std::vector<double>& hessian, int64_t count,
                        Pruner pruner) {
  const int64_t C = int64_t(w.size());
  check(count >= 0 && count <= C, "pruning: {} weights of {}", count, C);
  std::vector<double> inverse = pruner == Pruner::Surgeon ? inverse_of(hessian, C, 0) : std::vector<double>{};
  std::vector<char> deleted(size_t(C), 0);
  double cost = 0;
  for (int64_t step = 0; step < count; ++step) {
    int64_t best = -1;
    double least = std::numeric_limits<double>::infinity();
    for (int64_t q = 0; q < C; ++q) {
      if (deleted[size_t(q)]) continue;
      const double saliency = pruner == Pruner::Damage
                                  ? damage_saliency(hessian[size_t(q * C + q)], w[size_t(q)])
                                  : surgeon_saliency(inverse[size_t(q * C + q)], w[size_t(q)]);
      if (saliency < least) least = saliency, best = q;
    }
    check(best >= 0, "pruning: weight or Hessian is not finite");
    cost += least;
    deleted[size_t(best)] = 1;
    if (pruner == Pruner::Damage) {
      w[size_t(best)] = 0;
    } else {
      move_weight(w, inverse, best, 0);
      remove_index(inverse, C, best);
    }
  }
  return cost;
}

// ---- 4. rounding a row: OBQ ----

struct Row {
  std::vector<double> w;        // (C)
  std::vector<double> inverse;  // (C, C)
  std::vector<char> done;       // (C)
  std::vector<Scale> grids;     // (C) of each weight
};

inline double rounding_error(const Row& row, int64_t q) {
  return row.w[size_t(q)] - double(round_to_grid(float(row.w[size_t(q)]), row.grids[size_t(q)]));
}

// The free weight to round next.
inline int64_t cheapest(const Row& row, bool outlier_rule) {
  const int64_t C = int64_t(row.w.size());
  int64_t best = -1, outlier = -1;
  double least = std::numeric_limits<double>::infinity(), largest = 0;
  for (int64_t q = 0; q < C; ++q) {
    if (row.done[size_t(q)]) continue;
    const double error = rounding_error(row, q), half_step = 0.5 * double(row.grids[size_t(q)].scale);
    const double score = error * error / row.inverse[size_t(q * C + q)];  // E5
    if (score < least) least = score, best = q;
    // Beyond half a step: pushed out of the range of the grid.
    if (std::abs(error) > half_step && std::abs(error) > largest) largest = std::abs(error), outlier = q;
  }
  const bool take_outlier = outlier_rule && outlier >= 0 && best >= 0 && row.w[size_t(best)] != 0;
  return take_outlier ? outlier : best;
}

// Rounds row.w; codes (C) comes out. Returns the sum of the steps' costs, ½·score each (E1: what the row's output changed).
inline double quantize_row(Row row, const Options& options, uint8_t* codes) {
  const int64_t C = int64_t(row.w.size());
  double cost = 0;
  for (int64_t q = 0; q < C; ++q) {
    if (!options.keep_zeros || row.w[size_t(q)] != 0) continue;
    codes[q] = uint8_t(encode(0, row.grids[size_t(q)]));
    row.done[size_t(q)] = 1;
    remove_index(row.inverse, C, q);
  }
  for (int64_t j = 0; j < C; ++j) {
    const int64_t q = options.order == Order::Natural ? j : cheapest(row, options.outlier_rule);
    if (q < 0 || row.done[size_t(q)]) continue;
    codes[q] = uint8_t(encode(float(row.w[size_t(q)]), row.grids[size_t(q)]));
    cost += move_weight(row.w, row.inverse, q, double(decode(codes[q], row.grids[size_t(q)])));
    remove_index(row.inverse, C, q);
    row.done[size_t(q)] = 1;
  }
  return cost;
}

struct Result {
  QuantizedMatrix weight;
  std::vector<double> costs;  // (R) Σ ½·score
};

// weight (R, C), hessian (C, C) = 2XXᵀ. C³ operations for each row: for small layers.
inline Result quantize(const float* weight, int64_t R, int64_t C, const std::vector<double>& hessian,
                       const Options& options) {
  check(int64_t(hessian.size()) == C * C, "OBQ: a Hessian of {} numbers for {} columns", hessian.size(), C);
  Result result{.weight = round_to_nearest(weight, R, C, options.quantizer),
                .costs = std::vector<double>(size_t(R))};
  QuantizedMatrix& q = result.weight;
  const std::vector<double> inverse = inverse_of(hessian, C, options.damping);
  const int32_t maximum = (1 << q.bits) - 1, minimum = options.quantizer.grid == Grid::AbsMax;
  cpu::parallel_for(R, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      Row row{.w = {weight + r * C, weight + (r + 1) * C},
              .inverse = inverse,
              .done = std::vector<char>(size_t(C)),
              .grids = {}};
      for (int64_t i = 0; i < C; ++i) {
        const size_t g = size_t(r * q.groups() + q.group(i));
        row.grids.push_back({q.scales[g], q.zeros[g], maximum, minimum});
        if (hessian[size_t(i * C + i)] == 0) row.w[size_t(i)] = 0;  // a dead input
      }
      result.costs[size_t(r)] = quantize_row(std::move(row), options, q.codes.data() + r * C);
    }
  });
  return result;
}

// ½·δᵀHδ for the rows of weight − changed, summed: E1, (R, C) both.
inline double output_error(const float* weight, const std::vector<float>& changed,
                           const std::vector<double>& hessian, int64_t R, int64_t C) {
  double error = 0;
  for (int64_t r = 0; r < R; ++r) {
    for (int64_t i = 0; i < C; ++i) {
      double sum = 0;
      for (int64_t j = 0; j < C; ++j) {
        sum += hessian[size_t(i * C + j)] * (double(weight[r * C + j]) - double(changed[size_t(r * C + j)]));
      }
      error += 0.5 * sum * (double(weight[r * C + i]) - double(changed[size_t(r * C + i)]));
    }
  }
  return error;
}

}  // namespace chalk::obq

// 7. WHAT THE TESTS PROVE (tests/papers/obq_test.cpp)
// The table of section 4; with a diagonal H, OBQ is round-to-nearest; the repaired deletion never costs more than the plain one;
// OBQ's error is below round-to-nearest's in nearly every row and always in the sum; zeros stay zeros; natural order without
// the outlier rule gives GPTQ's codes.
