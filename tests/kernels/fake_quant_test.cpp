// Fake quantization: LSQ's gradient is what complex step finds when rounding passes the imaginary part
// through; the grids' properties; SIMD against plain.

#include "kernels/fake_quant.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/complex_step.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
using namespace chalk::test;

namespace {

struct Sets {
  int64_t G, n;
};
const Sets set_shapes[] = {{1, 1}, {3, 1}, {1, 7}, {2, 33}};

std::vector<double> steps_of(int64_t G, double first) {
  std::vector<double> step(G);
  for (int64_t g = 0; g < G; ++g) step[g] = first * double(g + 1);
  return step;
}

// y of a MinMax grid, in float.
struct MinMax {
  std::vector<float> step, zero, offset, y;
};
MinMax minmax(const std::vector<float>& x, int64_t G, int bits, const char* grid) {
  const int64_t n = int64_t(x.size()) / G;
  const float unsigned_high = float((1 << bits) - 1), high = float((1 << (bits - 1)) - 1);
  MinMax q{std::vector<float>(G), std::vector<float>(G, 0), std::vector<float>(G, 0),
           std::vector<float>(x.size())};
  const std::string kind = grid;
  if (kind == "symmetric") plain::fake_quant_symmetric(q.step.data(), x.data(), G, n, bits);
  if (kind == "asymmetric") plain::fake_quant_asymmetric(q.step.data(), q.zero.data(), x.data(), G, n, bits);
  if (kind == "range") plain::fake_quant_range(q.step.data(), q.offset.data(), x.data(), G, n, bits);
  plain::fake_quant_forward(q.y.data(), x.data(), q.step.data(), q.zero.data(), q.offset.data(), G, n,
                            kind == "symmetric" ? -high : 0, kind == "symmetric" ? high : unsigned_high);
  return q;
}

std::vector<float> float_normals(int64_t count, uint64_t seed) {
  return to_float(normals(count, seed));
}

}  // namespace

// R's imaginary part is its argument's, so the derivative of step · R(clip(v)) + offset by complex step is
// LSQ's rule: inside, dy/dstep = R(v) − v and dy/doffset = 0; clipped, the bound and 1.
TEST(FakeQuant, BackwardMatchesComplexStep) {
  for (auto [G, n] : set_shapes) {
    auto forward = [G = G, n = n](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(G * n);
      plain::fake_quant_forward(y.data(), in[0].data(), in[1].data(), {}, in[2].data(), G, n, -4.0f, 3.0f);
      return y;
    };
    auto backward = [G = G, n = n](const Gradients& d, const double* dy, const Inputs& in) {
      plain::fake_quant_backward<double>(d[0], d[1], d[2], dy, in[0].data(), in[1].data(), nullptr,
                                         in[2].data(), G, n, -4.0f, 3.0f, GradientPass::Inside, 1.0f);
    };
    expect_complex_step({normals(G * n, 1), steps_of(G, 0.3), normals(G, 2, 0.1)}, forward, backward,
                        Nulls::Allowed);
  }
}

// Sheet qat_foundations, invariant 5: s = 0.5, codes −4 … 3.
TEST(FakeQuant, LsqGoldenValues) {
  const std::vector<double> x = {-3, -0.7, 0.3, 0.74, 5}, want_y = {-2, -0.5, 0.5, 0.5, 1.5},
                            want_ds = {-4, 0.4, 0.4, -0.48, 3}, want_dx = {0, 1, 1, 1, 0};
  for (size_t i = 0; i < x.size(); ++i) {
    const double step = 0.5, dy = 1;
    double y = 0, dx = 0, dstep = 0;
    plain::fake_quant_forward<double>(&y, &x[i], &step, nullptr, nullptr, 1, 1, -4, 3);
    plain::fake_quant_backward<double>(&dx, &dstep, nullptr, &dy, &x[i], &step, nullptr, nullptr, 1, 1, -4, 3,
                                       GradientPass::Inside, 1);
    EXPECT_DOUBLE_EQ(y, want_y[i]);
    EXPECT_DOUBLE_EQ(dx, want_dx[i]);
    EXPECT_NEAR(dstep, want_ds[i], 1e-15);  // v = x / 0.5 is exact; R(v) − v rounds once
  }
}

// Invariant 6. A difference of y over the step: clipped, it is the bound, as LSQ says; inside it is R(v), and
// LSQ subtracts v by design.
TEST(FakeQuant, LsqStepGradientIsTrueWhereClipped) {
  const double step = 0.5, h = 1e-6, dy = 1;
  for (double x : {-3.0, 5.0, -0.7, 0.3, 0.74}) {
    double above = 0, below = 0, dstep = 0;
    const double wide = step + h, narrow = step - h;
    plain::fake_quant_forward<double>(&above, &x, &wide, nullptr, nullptr, 1, 1, -4, 3);
    plain::fake_quant_forward<double>(&below, &x, &narrow, nullptr, nullptr, 1, 1, -4, 3);
    plain::fake_quant_backward<double>(nullptr, &dstep, nullptr, &dy, &x, &step, nullptr, nullptr, 1, 1, -4,
                                       3, GradientPass::Inside, 1);
    const double difference = (above - below) / (2 * h), v = x / step;
    const bool clipped = v <= -4 || v >= 3;
    // y is linear in the step here, so only rounding is left: eps / h.
    EXPECT_NEAR(difference, clipped ? dstep : dstep + v, 1e-9);
    if (!clipped) {
      EXPECT_NEAR(difference, std::nearbyint(v), 1e-9);
    }
  }
}

// The three rules differ in the last half step (sheet, gotcha 1): v = 3.25 with the bound 3.
TEST(FakeQuant, GradientPassesDifferInTheLastHalfStep) {
  const float step = 1, dy = 2;
  const auto dx_at = [&](float v, GradientPass pass) {
    float dx = 0;
    plain::fake_quant_backward<float>(&dx, nullptr, nullptr, &dy, &v, &step, nullptr, nullptr, 1, 1, -4, 3,
                                      pass, 1);
    return dx;
  };
  EXPECT_EQ(dx_at(3.25f, GradientPass::Inside), 0);
  EXPECT_EQ(dx_at(3.25f, GradientPass::RoundedInside), 2);
  EXPECT_EQ(dx_at(3.75f, GradientPass::RoundedInside), 0);
  EXPECT_EQ(dx_at(3.75f, GradientPass::All), 2);
  EXPECT_EQ(dx_at(3.0f, GradientPass::Inside), 0);
  EXPECT_EQ(dx_at(2.9f, GradientPass::Inside), 2);
}

// Invariant 1: with the same step and zero a second rounding changes nothing; with a step found again on the
// symmetric grid it moves by rounding errors only: two in the step, one in the product.
TEST(FakeQuant, SecondRoundingChangesNothing) {
  const std::vector<float> x = float_normals(64, 3);
  for (const char* grid : {"symmetric", "asymmetric"}) {
    const MinMax q = minmax(x, 2, 4, grid);
    std::vector<float> again(x.size());
    const bool symmetric = std::string(grid) == "symmetric";
    plain::fake_quant_forward(again.data(), q.y.data(), q.step.data(), q.zero.data(), q.offset.data(), 2, 32,
                              symmetric ? -7.0f : 0.0f, symmetric ? 7.0f : 15.0f);
    EXPECT_EQ(again, q.y) << grid;
    if (!symmetric) continue;
    const MinMax fresh = minmax(q.y, 2, 4, grid);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(fresh.y[i], q.y[i], 2 * eps * std::abs(q.y[i]));
  }
}

// Invariant 2.
TEST(FakeQuant, CountsItsCodes) {
  const int64_t G = 3, n = 4096;
  const std::vector<float> x = float_normals(G * n, 4);
  for (int bits : {2, 3, 4, 8}) {
    for (const char* grid : {"symmetric", "asymmetric", "range"}) {
      const MinMax q = minmax(x, G, bits, grid);
      const size_t most = (size_t{1} << bits) - (std::string(grid) == "symmetric" ? 1 : 0);
      for (int64_t g = 0; g < G; ++g) {
        const std::set<float> values(q.y.begin() + g * n, q.y.begin() + (g + 1) * n);
        EXPECT_LE(values.size(), most) << grid << " " << bits;
        if (bits <= 4) {
          EXPECT_GE(values.size(), most - 1);  // 4096 normals reach all codes but perhaps one
        }
        if (std::string(grid) == "symmetric") {
          EXPECT_GE(*values.begin(), -q.step[g] * float((1 << (bits - 1)) - 1));  // −2^(b−1) never occurs
        }
      }
    }
  }
}

// Invariant 3: |y − x| ≤ step / 2 inside, and 0 gives 0. One rounding in v (|v| ≤ 255) and two in y: 255 · 2
// eps steps.
TEST(FakeQuant, ErrsByAtMostHalfAStep) {
  std::vector<float> x = float_normals(600, 5);
  x[7] = 0;
  for (const char* grid : {"symmetric", "asymmetric", "range"}) {
    for (int bits : {2, 4, 8}) {
      const MinMax q = minmax(x, 2, bits, grid);
      for (size_t i = 0; i < x.size(); ++i) {
        // The asymmetric grid rounds its zero too, so its ends may be half a step inside the range.
        const double half_steps = std::string(grid) == "asymmetric" ? 2 : 1;
        EXPECT_LE(std::abs(double(q.y[i]) - x[i]), q.step[i / 300] * (0.5 * half_steps + 510 * eps))
            << grid << bits;
      }
      if (std::string(grid) != "range") {
        EXPECT_EQ(q.y[7], 0);
      }
    }
  }
}

// Invariant 4. Powers of two scale exactly; the restricted symmetric grid is odd.
TEST(FakeQuant, ScalesAndFlipsWithItsInput) {
  const std::vector<float> x = float_normals(96, 6);
  std::vector<float> scaled, flipped;
  for (float v : x) scaled.push_back(8 * v), flipped.push_back(-v);
  for (const char* grid : {"symmetric", "asymmetric", "range"}) {
    const MinMax q = minmax(x, 3, 4, grid), q8 = minmax(scaled, 3, 4, grid);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(q8.y[i], 8 * q.y[i]) << grid;
  }
  const MinMax q = minmax(x, 3, 4, "symmetric"), negative = minmax(flipped, 3, 4, "symmetric");
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(negative.y[i], -q.y[i]);
}

// Invariant 10: the error falls with every bit; from 4 to 8 bits by about (127 / 7)² = 329. With n = 20000
// numbers the ratio of two means of squares that vary by 0.9 of their mean (uniform errors) is known to 2 ·
// 0.9 / √n = 1.3 %; at 4 bits the error is not quite uniform inside a step, which the wide bar 10 % covers.
TEST(FakeQuant, ErrorFallsWithEveryBit) {
  const std::vector<float> x = float_normals(20000, 7);
  std::vector<double> squares;
  for (int bits = 2; bits <= 8; ++bits) {
    const MinMax q = minmax(x, 1, bits, "symmetric");
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += std::pow(double(q.y[i]) - x[i], 2);
    if (!squares.empty()) {
      EXPECT_LT(sum, squares.back());
    }
    squares.push_back(sum);
  }
  EXPECT_NEAR(squares[2] / squares[6], 329, 33);
}

// Sheet cyclic_precision, invariant 7: the range grid is exact at both ends, and a constant set gives its
// value.
TEST(FakeQuant, RangeGridIsExactAtItsEnds) {
  for (int bits : {2, 3, 8}) {
    std::vector<float> x = float_normals(50, 8);
    const auto [least, most] = std::minmax_element(x.begin(), x.end());
    const size_t low = size_t(least - x.begin()), high = size_t(most - x.begin());
    const MinMax q = minmax(x, 1, bits, "range");
    EXPECT_EQ(q.y[low], x[low]);
    // max = min + levels · ((max − min) / levels): three roundings at the size of the range.
    EXPECT_NEAR(q.y[high], x[high], 3 * eps * (x[high] - x[low]));
  }
  EXPECT_EQ(minmax({2.5f, 2.5f, 2.5f}, 1, 3, "range").y, (std::vector<float>{2.5f, 2.5f, 2.5f}));
}

// Sheet cyclic_precision, invariant 8: the mean over draws is the clipped number. One draw errs by at most a
// step, with a standard deviation of at most half a step; the mean of N draws by five times that over √N.
TEST(FakeQuant, StochasticRoundingIsUnbiased) {
  const int64_t n = 40, draws = 4000;
  const std::vector<float> x = float_normals(n, 9);
  const float step = 0.5f, offset = -1;  // codes 0 … 3 reach from −1 to 0.5: some numbers are clipped
  std::vector<double> sum(n, 0);
  for (int64_t d = 0; d < draws; ++d) {
    std::vector<float> y(n);
    plain::fake_quant_stochastic(y.data(), x.data(), &step, &offset, 1, n, 0, 3, uint64_t(d));
    for (int64_t i = 0; i < n; ++i) sum[i] += y[i];
  }
  for (int64_t i = 0; i < n; ++i) {
    const double clipped = std::clamp(double(x[i]), -1.0, 0.5);
    EXPECT_NEAR(sum[i] / double(draws), clipped, 5 * 0.5 * step / std::sqrt(double(draws)));
  }
}

TEST(FakeQuant, EmptySetsZerosAndNaN) {
  float step = -1, zero = -1, offset = -1;
  plain::fake_quant_symmetric<float>(&step, nullptr, 1, 0, 4);
  EXPECT_EQ(step, fake_quant_min_step);
  plain::fake_quant_range<float>(&step, &offset, nullptr, 1, 0, 4);
  EXPECT_EQ(offset, 0);
  plain::fake_quant_asymmetric<float>(&step, &zero, nullptr, 1, 0, 4);
  EXPECT_EQ(zero, 0);
  EXPECT_EQ(minmax({0, 0, 0}, 1, 4, "symmetric").y, (std::vector<float>{0, 0, 0}));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const char* grid : {"symmetric", "asymmetric", "range"}) {
    const MinMax q = minmax({nan, 1, -1}, 1, 4, grid);
    EXPECT_TRUE(std::isnan(q.y[0])) << grid;
    EXPECT_FALSE(std::isnan(q.y[1])) << grid;
  }
}

// ---- cpu against plain ----

namespace {
const Sets cpu_shapes[] = {{0, 5}, {3, 0}, {1, 1}, {5, 3}, {7, 16}, {4, 33}, {300, 64}, {1, 40001}};
}

// The same operations in the same order: the same bits.
TEST(CpuFakeQuant, ForwardGivesPlainsBits) {
  const auto same = [](size_t, int64_t, double) { return 0.0; };
  for (const Sets& s : cpu_shapes) {
    const int64_t G = s.G, n = s.n;
    for (int64_t misalignment : {0, 1, 3}) {
      Buffer x(G * n, misalignment, 1, 2.0f), y(G * n, misalignment + 1, 2), step(G, misalignment), zero(G),
          offset(G);
      for (int bits : {2, 8}) {
        const float high = float((1 << bits) - 1);
        expect_same(
            {&step}, [&] { cpu::fake_quant_symmetric(step, x, G, n, bits); },
            [&] { plain::fake_quant_symmetric<float>(step, x, G, n, bits); }, same, "symmetric");
        expect_same(
            {&y}, [&] { cpu::fake_quant_forward(y, x, step, nullptr, nullptr, G, n, -3, 3); },
            [&] { plain::fake_quant_forward<float>(y, x, step, nullptr, nullptr, G, n, -3, 3); }, same,
            "forward");
        expect_same(
            {&step, &offset}, [&] { cpu::fake_quant_range(step, offset, x, G, n, bits); },
            [&] { plain::fake_quant_range<float>(step, offset, x, G, n, bits); }, same, "range");
        expect_same(
            {&y}, [&] { cpu::fake_quant_stochastic(y, x, step, offset, G, n, 0, high, 5); },
            [&] { plain::fake_quant_stochastic<float>(y, x, step, offset, G, n, 0, high, 5); }, same,
            "stochastic");
        expect_same(
            {&step, &zero}, [&] { cpu::fake_quant_asymmetric(step, zero, x, G, n, bits); },
            [&] { plain::fake_quant_asymmetric<float>(step, zero, x, G, n, bits); }, same, "asymmetric");
        expect_same(
            {&y}, [&] { cpu::fake_quant_forward(y, x, step, zero, offset, G, n, 0, high); },
            [&] { plain::fake_quant_forward<float>(y, x, step, zero, offset, G, n, 0, high); }, same,
            "with zero");
      }
    }
  }
}

TEST(CpuFakeQuant, Backward) {
  for (const Sets& s : cpu_shapes) {
    const int64_t G = s.G, n = s.n;
    for (int64_t misalignment : {0, 1, 3}) {
      Buffer x(G * n, misalignment, 1, 2.0f), dy(G * n, misalignment + 1, 2), dx(G * n, misalignment, 3),
          step(G), offset(G, 0, 5, 0.1f), zero(G), dstep(G, misalignment, 6), doffset(G, 0, 7);
      for (int64_t g = 0; g < G; ++g)
        step.data()[g] = 0.2f + 0.01f * float(g % 7), zero.data()[g] = float(g % 3);
      // A sum of n terms of at most |bound| · |dy| ≤ 8 · 5 each, in float: n roundings of partial sums below
      // √n · 40.
      const double bound = 40 * eps * (double(n) * std::sqrt(double(n)) + 1);
      const auto tolerance = [&](size_t output, int64_t, double want) {
        return output == 0 ? 0 : bound + 2 * eps * std::abs(want);
      };
      for (GradientPass pass : {GradientPass::Inside, GradientPass::RoundedInside}) {
        expect_same(
            {&dx, &dstep, &doffset},
            [&] {
              cpu::fake_quant_backward(dx, dstep, doffset, dy, x, step, zero, offset, G, n, -4, 4, pass,
                                       0.5f);
            },
            [&] {
              plain::fake_quant_backward<float>(dx, dstep, doffset, dy, x, step, zero, offset, G, n, -4, 4,
                                                pass, 0.5f);
            },
            tolerance, "backward");
      }
      expect_same(
          {&dx},
          [&] {
            cpu::fake_quant_backward(dx, nullptr, nullptr, dy, x, step, zero, offset, G, n, -4, 4,
                                     GradientPass::All, 1);
          },
          [&] {
            plain::fake_quant_backward<float>(dx, nullptr, nullptr, dy, x, step, zero, offset, G, n, -4, 4,
                                              GradientPass::All, 1);
          },
          tolerance, "backward without a mask");
    }
  }
}

TEST(CpuFakeQuant, NaNAndZeros) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x(40, 0.5f), y(40);
  x[0] = nan, x[21] = nan, x[39] = -1;
  float step = 0, offset = 0;
  cpu::fake_quant_range(&step, &offset, x.data(), 1, 40, 4);
  EXPECT_EQ(offset, -1);
  cpu::fake_quant_forward(y.data(), x.data(), &step, nullptr, &offset, 1, 40, 0, 15);
  for (size_t i = 0; i < 40; ++i) EXPECT_EQ(std::isnan(y[i]), i == 0 || i == 21) << i;
}

}  // namespace chalk
