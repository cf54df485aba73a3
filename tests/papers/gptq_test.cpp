// GPTQ on one layer: its closed identities, its limits, an independent implementation's codes. Whole models: gptq_model_test.cpp.
#include "papers/quantization/gptq.h"

#include "models/io/safetensors.h"
#include "papers/quantization/obq.h"
#include "tests/eigen.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"
#include "tests/papers/layer_problem.h"

namespace chalk {
namespace {

using gptq::Factor;
using gptq::GroupGrid;
using gptq::Hessian;
using gptq::Result;

Hessian hessian_of(const LayerProblem& p) {
  Hessian h(p.C);
  h.add(p.x.data(), p.N);
  return h;
}

Result quantize(const LayerProblem& p, const Hessian& h, const gptq::Options& options) {
  return gptq::quantize(p.w.data(), p.R, p.C, gptq::factor_hessian(h, options), options);
}

std::vector<uint8_t> codes(const LayerProblem& p, const gptq::Options& options) {
  return quantize(p, hessian_of(p), options).weight.codes;
}

QuantizedMatrix rtn(const LayerProblem& p, const QuantizerOptions& options) {
  return round_to_nearest(p.w.data(), p.R, p.C, options);
}

// H_d in double, in the order of rounding.
test::Matrix damped(const Hessian& h, const Factor& f) {
  test::Matrix H(h.C, h.C);
  double mean = 0;
  for (int64_t i = 0; i < h.C; ++i) mean += double(h.h[size_t(i * h.C + i)]) / double(h.C);
  for (int64_t i = 0; i < h.C; ++i) {
    for (int64_t j = 0; j < h.C; ++j) H(i, j) = h.h[size_t(f.order[size_t(i)] * h.C + f.order[size_t(j)])];
    H(i, i) += f.damping * mean;
  }
  return H;
}

// W − Q in double, in the order of rounding.
test::Matrix difference(const LayerProblem& p, const QuantizedMatrix& q, const Factor& f) {
  const std::vector<float> values = dequantize(q);
  test::Matrix D(p.R, p.C);
  for (int64_t r = 0; r < p.R; ++r) {
    for (int64_t j = 0; j < p.C; ++j) {
      const size_t at = size_t(r * p.C + f.order[size_t(j)]);
      D(r, j) = double(p.w[at]) - double(values[at]);
    }
  }
  return D;
}

test::Matrix matrix_of(const std::vector<float>& values, int64_t rows, int64_t columns) {
  return Eigen::Map<const Eigen::Matrix<float, -1, -1, Eigen::RowMajor>>(values.data(), rows, columns)
      .cast<double>();
}

// ---- against an independent implementation ----

// The fixture's layer (24, 48): correlated inputs of uneven size, one of them dead. tests/reference/make_gptq_fixtures.py.
TEST(Gptq, CodesAreAutoGptqs) {
  const Safetensors file = read_safetensors("tests/fixtures/gptq/layer.safetensors");
  const auto floats = [&](const std::string& name) { return to_floats(file.at(name)); };
  const std::vector<float> w = floats("w"), x = floats("x");
  Hessian hessian(48);
  for (int64_t sequence = 0; sequence < 3; ++sequence) hessian.add(x.data() + sequence * 80 * 48, 80);
  const std::vector<float> h = floats("h");
  // 80 products a sum, in float in another order: each entry within 80·2⁻²⁴ of √(H_ii·H_jj), at most 12 here.
  EXPECT_TRUE(all_near(hessian.h, h, 80 * 0x1p-24 * 12));

  const auto grouped = [](bool act_order, bool static_groups) {
    return gptq::Options{.quantizer = {.bits = 3, .group_size = 8},
                         .block_size = 16,
                         .act_order = act_order,
                         .static_groups = static_groups};
  };
  const std::pair<const char*, gptq::Options> settings[] = {
      {"rows3", {.quantizer = {.bits = 3}}},
      {"rows3_sym", {.quantizer = {.bits = 3, .grid = Grid::GptqSymmetric}}},
      {"rows2_mse", {.quantizer = {.bits = 2, .mse_search = true}}},
      {"groups", grouped(false, false)},
      {"act_order", grouped(true, false)},
      {"static", grouped(true, true)},
  };
  for (const auto& [name, options] : settings) {
    const Result result = gptq::quantize(w.data(), 24, 48, gptq::factor_hessian(hessian, options), options);
    const QuantizedMatrix& q = result.weight;
    const std::vector<float> theirs = floats(name + std::string(".q")), ours = dequantize(q);
    const std::vector<int64_t> g_idx = to_int64s(file.at(name + std::string(".g_idx")));
    EXPECT_TRUE(all_near(q.scales, floats(name + std::string(".scales")), 1e-5)) << name;
    for (int64_t i = 0; i < 48; ++i) EXPECT_EQ(q.group(i), g_idx[size_t(i)]) << name << " input " << i;
    for (int64_t i = 0; i < 24 * 48; ++i) {  // the same code: values differ by a rounding of the scale only
      ASSERT_NEAR(ours[size_t(i)], theirs[size_t(i)], 1e-4)
          << name << " weight (" << i / 48 << ", " << i % 48 << ")";
    }
  }
}

// ---- the Hessian and its factor ----

TEST(Gptq, HessianIsASumOverTokensAndAMeanOverSequences) {
  const LayerProblem p(1, 6, 30);
  Hessian h(6);
  h.add(p.x.data(), 10, 2);           // two sequences of 5 tokens
  h.add(p.x.data() + 10 * 6, 20, 1);  // one of 20
  EXPECT_EQ(h.sequences, 3);
  EXPECT_EQ(h.tokens, 30);
  const test::Matrix X = matrix_of(p.x, 30, 6);
  const test::Matrix want = 2.0 / 3 * X.transpose() * X;
  const std::vector<float> expected(want.data(), want.data() + 36);
  EXPECT_TRUE(all_near(h.h, expected, 30 * 0x1p-23 * want.maxCoeff()));
}

TEST(Gptq, FactorRowsAreEliminationSteps) {
  const LayerProblem p(1, 24, 400);
  const Hessian h = hessian_of(p);
  const Factor f = gptq::factor_hessian(h, {});
  const test::Matrix H = damped(h, f);
  const test::Matrix full = H.inverse();
  std::vector<double> inverse(full.data(), full.data() + full.size());
  for (int64_t j = 0; j < p.C; ++j) {
    const double root = std::sqrt(inverse[size_t(j * p.C + j)]);
    for (int64_t k = 0; k < p.C; ++k) {
      const double want = k < j ? 0 : inverse[size_t(j * p.C + k)] / root;
      // U is float: its own rounding, and that of H_d amplified by the condition number (below 400 for rho = 0.9).
      EXPECT_NEAR(f.u[size_t(j * p.C + k)], want, 400 * 0x1p-23 * root) << j << ", " << k;
    }
    obq::remove_index(inverse, p.C, j);
  }
}

TEST(Gptq, SingularHessianRaisesTheDampingAndSaysSo) {
  Hessian equal(2);  // two inputs that are always equal: the second pivot is 1 − 1·1/1 = 0
  equal.h = {1, 1, 1, 1};
  equal.tokens = equal.sequences = 1;
  const Factor undamped = gptq::factor_hessian(equal, {.damping = 0});
  EXPECT_EQ(undamped.raises, 1);
  EXPECT_EQ(undamped.damping, 1e-6);
  for (float u : undamped.u) EXPECT_TRUE(std::isfinite(u));
  const Factor usual = gptq::factor_hessian(equal, {});
  EXPECT_EQ(usual.raises, 0);
  EXPECT_EQ(usual.damping, 0.01);

  // A matrix that is no Hessian: an eigenvalue of about −0.5 times the diagonal needs a damping above 0.5.
  Hessian wrong(2);
  wrong.h = {1, 1.5f, 1.5f, 1};
  wrong.tokens = wrong.sequences = 1;
  const Factor rescued = gptq::factor_hessian(wrong, {});
  EXPECT_EQ(rescued.raises, 2);
  EXPECT_DOUBLE_EQ(rescued.damping, 1);
}

TEST(Gptq, RefusesWhatItCannotRound) {
  const LayerProblem p(4, 8, 50);
  EXPECT_MENTIONS(error_text([&] { gptq::factor_hessian(Hessian(8), {}); }), "no inputs");
  Hessian infinite = hessian_of(p);
  infinite.h[0] = INFINITY;
  EXPECT_MENTIONS(error_text([&] { gptq::factor_hessian(infinite, {}); }), "not finite");
  const Factor f = gptq::factor_hessian(hessian_of(p), {});
  EXPECT_MENTIONS(error_text([&] { gptq::quantize(p.w.data(), 4, 7, f, {}); }), "columns");
  std::vector<float> broken = p.w;
  broken[3] = NAN;
  EXPECT_THROW(gptq::quantize(broken.data(), 4, 8, f, {}), Error);
}

// ---- identities ----

struct Identity {
  LayerProblem p{24, 48, 400};
  Hessian h = hessian_of(p);
  gptq::Options options{.quantizer = {.bits = 3}, .block_size = 16, .act_order = true};
  Factor f = gptq::factor_hessian(h, options);
  Result result = gptq::quantize(p.w.data(), p.R, p.C, f, options);
  test::Matrix D = difference(p, result.weight, f), E = matrix_of(result.errors, p.R, p.C),
               U = matrix_of(f.u, p.C, p.C);
};

TEST(Gptq, ErrorsTimesFactorIsTheDifference) {
  const Identity i;
  // Every weight is the result of at most C subtractions of numbers below 8, each rounded to 2⁻²² at worst.
  EXPECT_LE((i.D - i.E * i.U).cwiseAbs().maxCoeff(), double(i.p.C) * 0x1p-21);
}

TEST(Gptq, LossIsTheDampedOutputError) {
  const Identity i;
  const double error = (i.D * damped(i.h, i.f) * i.D.transpose()).trace();
  // U is float and the condition number of H_d below 400: a relative error of C·400·2⁻²⁴ at worst.
  EXPECT_NEAR(2 * i.result.loss, error, 48 * 400 * 0x1p-24 * error);
}

TEST(Gptq, IsSuccessiveCancellation) {
  const Identity i;
  for (int64_t r = 0; r < i.p.R; ++r) {
    const Scale grid{i.result.weight.scales[size_t(r)], i.result.weight.zeros[size_t(r)], 7, 0};
    for (int64_t j = 0; j < i.p.C; ++j) {
      const int64_t column = i.f.order[size_t(j)];
      double w_j = i.p.w[size_t(r * i.p.C + column)];
      for (int64_t k = 0; k < j; ++k) w_j -= i.E(r, k) * i.U(k, j);
      EXPECT_EQ(encode(float(w_j), grid), i.result.weight.codes[size_t(r * i.p.C + column)])
          << r << ", " << j;
    }
  }
}

TEST(Gptq, ErrorRatioIsPredicted) {
  for (float rho : {0.5f, 0.9f}) {
    const LayerProblem p(64, 64, 2000, rho);
    const Hessian h = hessian_of(p);
    const gptq::Options options{.quantizer = {.bits = 4}};
    const Factor f = gptq::factor_hessian(h, options);
    const test::Matrix H = damped(h, f), D = difference(p, rtn(p, options.quantizer), f);
    const double rounding = (D * H * D.transpose()).trace();
    const double ratio = 2 * gptq::quantize(p.w.data(), p.R, p.C, f, options).loss / rounding;
    const double predicted = gptq::predicted_error_ratio(f);
    EXPECT_LT(predicted, 1);
    EXPECT_NEAR(ratio, predicted, 0.4 * predicted) << "rho " << rho;
  }
  Hessian diagonal(3);
  diagonal.h = {1, 0, 0, 0, 4, 0, 0, 0, 9};
  diagonal.tokens = diagonal.sequences = 1;
  EXPECT_NEAR(gptq::predicted_error_ratio(gptq::factor_hessian(diagonal, {})), 1, 1e-6);
}

TEST(Gptq, OutputErrorIsThatOfTheOutputs) {
  const LayerProblem p(5, 12, 40);
  const QuantizedMatrix q = rtn(p, {.bits = 3});
  const std::vector<float> values = dequantize(q);
  const test::Matrix D = matrix_of(p.w, p.R, p.C) - matrix_of(values, p.R, p.C), X = matrix_of(p.x, p.N, p.C);
  const double want = 2 * (X * D.transpose()).squaredNorm();  // one sequence: H = 2·XXᵀ
  EXPECT_NEAR(gptq::output_error(p.w.data(), q, hessian_of(p)), want, 1e-4 * want);
}

// ---- limits ----

TEST(Gptq, DiagonalHessianIsRounding) {
  const LayerProblem p(24, 48, 1);
  Hessian h(p.C);
  for (int64_t i = 0; i < p.C; ++i) h.h[size_t(i * p.C + i)] = float(1 + i % 7);
  h.tokens = h.sequences = 1;
  for (int64_t group_size : {-1, 8, 20}) {
    for (bool act_order : {false, true}) {
      const gptq::Options options{.quantizer = {.bits = 3, .group_size = group_size},
                                  .act_order = act_order,
                                  .static_groups = act_order};
      const QuantizedMatrix q = quantize(p, h, options).weight, want = rtn(p, options.quantizer);
      EXPECT_EQ(q.codes, want.codes) << group_size;
      EXPECT_EQ(q.scales, want.scales) << group_size;
      EXPECT_EQ(q.zeros, want.zeros) << group_size;
    }
  }
}

TEST(Gptq, EnormousDampingIsRounding) {
  const LayerProblem p(24, 48, 400);
  const gptq::Options options{.quantizer = {.bits = 3}, .damping = 1e7};
  EXPECT_EQ(codes(p, options), rtn(p, options.quantizer).codes);
  EXPECT_NE(codes(p, {.quantizer = {.bits = 3}}), rtn(p, options.quantizer).codes);
}

TEST(Gptq, CodesDoNotDependOnTheBlockSize) {
  const LayerProblem p(24, 48, 400);
  const auto with_block = [&](int64_t block_size, int64_t group_size, GroupGrid group_grid) {
    return codes(p, {.quantizer = {.bits = 3, .group_size = group_size},
                     .block_size = block_size,
                     .group_grid = group_grid});
  };
  for (int64_t block_size : {1, 5, 16, 47}) {
    EXPECT_EQ(with_block(block_size, -1, GroupGrid::BlockStart), with_block(128, -1, GroupGrid::BlockStart));
    EXPECT_EQ(with_block(block_size, 8, GroupGrid::Compensated), with_block(128, 8, GroupGrid::Compensated));
  }
  // The authors' rule: a group inside a block has not seen the block's own updates.
  EXPECT_NE(with_block(4, 8, GroupGrid::BlockStart), with_block(16, 8, GroupGrid::BlockStart));
  EXPECT_EQ(with_block(8, 8, GroupGrid::BlockStart), with_block(8, 8, GroupGrid::Compensated));
}

TEST(Gptq, CodesDoNotDependOnTheScaleOfTheHessian) {
  const LayerProblem p(24, 48, 400);
  const gptq::Options options{.quantizer = {.bits = 3, .group_size = 16}};
  const Hessian h = hessian_of(p);
  for (float c : {0x1p-20f, 37.0f}) {
    Hessian scaled = h;
    for (float& value : scaled.h) value *= c;
    EXPECT_EQ(quantize(p, scaled, options).weight.codes, quantize(p, h, options).weight.codes) << c;
  }
}

TEST(Gptq, IsObqInNaturalOrder) {
  const LayerProblem p(12, 32, 300);
  for (int64_t group_size : {-1, 8}) {
    const QuantizerOptions quantizer{.bits = 3, .group_size = group_size};
    const std::vector<double> h = obq::hessian_of(p.x.data(), p.N, p.C);
    const QuantizedMatrix slow =
        obq::quantize(
            p.w.data(), p.R, p.C, h,
            {.quantizer = quantizer, .order = obq::Order::Natural, .outlier_rule = false, .damping = 0.01})
            .weight;
    EXPECT_EQ(codes(p, {.quantizer = quantizer, .static_groups = true}), slow.codes);
  }
}

// Columns 0 and 1 see the same input: only their sum matters, and GPTQ rounds the sum.
TEST(Gptq, EqualInputsShareTheirError) {
  LayerProblem p(40, 4, 200, 0);
  for (int64_t n = 0; n < p.N; ++n) p.x[size_t(n * 4 + 1)] = p.x[size_t(n * 4)];
  for (int64_t r = 0; r < p.R; ++r) {
    for (int64_t i : {0, 1}) p.w[size_t(r * 4 + i)] = std::tanh(p.w[size_t(r * 4 + i)]);
    p.w[size_t(r * 4 + 2)] = -3, p.w[size_t(r * 4 + 3)] = 3;  // a range in which nothing is clamped
  }
  const gptq::Options options{.quantizer = {.bits = 4}, .damping = 1e-5};
  const QuantizedMatrix q = quantize(p, hessian_of(p), options).weight, nearest = rtn(p, options.quantizer);
  const std::vector<float> ours = dequantize(q), theirs = dequantize(nearest);
  for (int64_t r = 0; r < p.R; ++r) {
    const auto pair_error = [&](const std::vector<float>& values) {
      const size_t at = size_t(r * 4);
      return std::abs(double(p.w[at]) + p.w[at + 1] - values[at] - values[at + 1]);
    };
    // Damping keeps a share of about 1e-5 of the first error from the second column.
    const double slack = 1e-4 * q.scales[size_t(r)];
    EXPECT_LE(pair_error(ours), pair_error(theirs) + slack) << r;
    EXPECT_LE(pair_error(ours), 0.5 * q.scales[size_t(r)] + slack) << r;
  }
}

TEST(Gptq, DeadColumnsBecomeZero) {
  LayerProblem p(24, 48, 400);
  for (int64_t n = 0; n < p.N; ++n) p.x[size_t(n * p.C + 7)] = 0;
  for (int64_t group_size : {-1, 8}) {
    for (bool act_order : {false, true}) {
      const QuantizedMatrix q =
          quantize(p, hessian_of(p),
                   {.quantizer = {.bits = 3, .group_size = group_size}, .act_order = act_order})
              .weight;
      const std::vector<float> values = dequantize(q);
      for (int64_t r = 0; r < p.R; ++r) EXPECT_EQ(values[size_t(r * p.C + 7)], 0);
      for (float value : values) ASSERT_TRUE(std::isfinite(value));
    }
  }
  // Without groups the grid is found before the column is set to 0: a row whose extreme sits there keeps its range.
  p.w[7] = 100;
  EXPECT_GT(quantize(p, hessian_of(p), {.quantizer = {.bits = 3}}).weight.scales[0], 10);
}

TEST(Gptq, GridPointsAreFixed) {
  LayerProblem p(24, 48, 400);
  // Multiples of 1/8 from −1 to 7/8 with both ends in every row: scale 1/8 and zero 8 exactly.
  for (int64_t i = 0; i < p.R * p.C; ++i)
    p.w[size_t(i)] = float(int(random_word(3, uint64_t(i)) % 16) - 8) / 8;
  for (int64_t r = 0; r < p.R; ++r) p.w[size_t(r * p.C)] = -1, p.w[size_t(r * p.C + 1)] = 0.875f;
  const Result result = quantize(p, hessian_of(p), {.quantizer = {.bits = 4}});
  EXPECT_EQ(dequantize(result.weight), p.w);
  EXPECT_EQ(result.errors, std::vector<float>(size_t(p.R * p.C)));
  EXPECT_EQ(result.loss, 0);
}

TEST(Gptq, ActOrder) {
  const LayerProblem p(24, 48, 400);
  Hessian h = hessian_of(p);
  for (int64_t i = 0; i < p.C; ++i)
    h.h[size_t(i * p.C + i)] = 1000;  // equal diagonal: a stable sort changes nothing
  const gptq::Options plain{.quantizer = {.bits = 3, .group_size = 8}};
  gptq::Options ordered = plain;
  ordered.act_order = true;
  EXPECT_EQ(quantize(p, h, ordered).weight.codes, quantize(p, h, plain).weight.codes);

  // Uneven inputs: largest first, and groups are runs of that order …
  LayerProblem uneven = p;
  for (int64_t i = 0; i < p.N * p.C; ++i) uneven.x[size_t(i)] *= float(1 + (i % p.C * 29) % p.C);
  const Hessian u = hessian_of(uneven);
  const Factor f = gptq::factor_hessian(u, ordered);
  for (int64_t j = 1; j < p.C; ++j) {
    EXPECT_GE(u.h[size_t(f.order[size_t(j - 1)] * (p.C + 1))], u.h[size_t(f.order[size_t(j)] * (p.C + 1))]);
  }
  const QuantizedMatrix dynamic = quantize(uneven, u, ordered).weight;
  ASSERT_EQ(dynamic.group_of.size(), size_t(p.C));
  for (int64_t j = 0; j < p.C; ++j) EXPECT_EQ(dynamic.group(f.order[size_t(j)]), j / 8);
  // … unless they are static: input i is in group i / 8 whatever the order.
  ordered.static_groups = true;
  const QuantizedMatrix fixed = quantize(uneven, u, ordered).weight;
  EXPECT_TRUE(fixed.group_of.empty());
  EXPECT_EQ(fixed.scales, rtn(uneven, ordered.quantizer).scales);
}

TEST(Gptq, HalfScalesAreHalves) {
  const LayerProblem p(24, 48, 400);
  for (int64_t group_size : {-1, 8}) {
    const QuantizedMatrix q =
        quantize(p, hessian_of(p), {.quantizer = {.bits = 3, .group_size = group_size}, .half_scales = true})
            .weight;
    for (float scale : q.scales) EXPECT_EQ(half_to_float(float_to_half(scale)), scale);
  }
}

TEST(Gptq, BelowRoundingOnCorrelatedInputs) {
  for (int bits : {2, 3, 4}) {
    const LayerProblem p(24, 48, 1000);
    const Hessian h = hessian_of(p);
    const gptq::Options options{.quantizer = {.bits = bits}};
    EXPECT_LT(gptq::output_error(p.w.data(), quantize(p, h, options).weight, h),
              0.6 * gptq::output_error(p.w.data(), rtn(p, options.quantizer), h))
        << bits;
  }
}

}  // namespace
}  // namespace chalk
