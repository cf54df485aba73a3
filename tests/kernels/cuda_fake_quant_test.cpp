// cuda against plain: ranges, forward, backward with every rule and every null, stochastic rounding.

#include "kernels/fake_quant.h"
#include "tests/kernels/cuda_check.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;
using test::expect_same;

struct Sets {
  int64_t G, n;
  std::string name() const { return "G=" + std::to_string(G) + " n=" + std::to_string(n); }
};
// Shorter and longer than a warp, a block, and what a block's threads own; 1500 sets are more than one block of numbers.
const Sets set_shapes[] = {{1, 1}, {3, 7}, {1500, 1}, {5, 33}, {2, 256}, {3, 1023}, {1, 5003}, {0, 4}};

const auto exact = [](size_t, int64_t, double) { return 0.0; };

// Numbers with a NaN among them where there is room.
std::vector<float> with_nan(std::vector<float> x) {
  if (x.size() > 20) x[x.size() / 2] = NAN;
  return x;
}

// Minima, maxima and one division: the same bits.
TEST(CudaFakeQuant, RangesAreExact) {
  for (const Sets& s : set_shapes) {
    const int64_t G = s.G, n = s.n;
    Both x(G * n, 1), step(G, 2), second(G, 3);
    x.host = with_nan(x.host);
    x.upload();
    for (int bits : {2, 4, 8, 15}) {
      expect_same(
          {&step}, [&] { cuda::fake_quant_symmetric(step.device(), x.device(), G, n, bits); },
          [&] { plain::fake_quant_symmetric<float>(step.host.data(), x.host.data(), G, n, bits); }, exact,
          "symmetric " + s.name());
      expect_same(
          {&step, &second},
          [&] { cuda::fake_quant_asymmetric(step.device(), second.device(), x.device(), G, n, bits); },
          [&] {
            plain::fake_quant_asymmetric<float>(step.host.data(), second.host.data(), x.host.data(), G, n,
                                                bits);
          },
          exact, "asymmetric " + s.name());
      expect_same(
          {&step, &second},
          [&] { cuda::fake_quant_range(step.device(), second.device(), x.device(), G, n, bits); },
          [&] {
            plain::fake_quant_range<float>(step.host.data(), second.host.data(), x.host.data(), G, n, bits);
          },
          exact, "range " + s.name());
    }
  }
}

TEST(CudaFakeQuant, EmptySetsAndConstants) {
  Both step(2), second(2), nothing(0), constant(2 * 40);
  cuda::fake_quant_range(step.device(), second.device(), nothing.device(), 2, 0, 4);
  EXPECT_EQ(step.download(), std::vector<float>(2, fake_quant_min_step));
  EXPECT_EQ(second.download(), std::vector<float>(2, 0.0f));
  constant.host.assign(80, -2.5f);
  constant.upload();
  cuda::fake_quant_range(step.device(), second.device(), constant.device(), 2, 40, 4);
  EXPECT_EQ(step.download(), std::vector<float>(2, fake_quant_min_step));
  EXPECT_EQ(second.download(), std::vector<float>(2, -2.5f));
}

// x, and grids that clip a part of it; one step lies below the smallest allowed.
struct Case {
  Case(int64_t G, int64_t n) : x(G * n, 1), step(G, 2), zero(G, 3), offset(G, 4, 0.2f) {
    x.host = with_nan(x.host);
    x.upload();
    for (float& s : step.host) s = 0.05f + 0.2f * std::abs(s);
    if (G > 1) step.host[1] = -1;
    step.upload();
    for (float& z : zero.host) z = std::nearbyint(3 * z);
    zero.upload();
  }
  Both x, step, zero, offset;
};

// step · k + offset is fused on a GPU and not on the host: half an ulp of the product, and one of the sum.
double output_tolerance(double y, double offset) {
  return eps * (2 * std::abs(y) + std::abs(offset));
}

TEST(CudaFakeQuant, Forward) {
  for (const Sets& s : set_shapes) {
    const int64_t G = s.G, n = s.n;
    Case c(G, n);
    Both y(G * n, 5);
    for (int mask = 0; mask < 4; ++mask) {
      const bool zero = mask & 1, offset = mask & 2;
      expect_same(
          {&y},
          [&] {
            cuda::fake_quant_forward(y.device(), c.x.device(), c.step.device(),
                                     zero ? c.zero.device() : nullptr, offset ? c.offset.device() : nullptr,
                                     G, n, -4, 7);
          },
          [&] {
            plain::fake_quant_forward<float>(y.host.data(), c.x.host.data(), c.step.host.data(),
                                             zero ? c.zero.host.data() : nullptr,
                                             offset ? c.offset.host.data() : nullptr, G, n, -4, 7);
          },
          [&](size_t, int64_t i, double want) {
            return output_tolerance(want, offset ? c.offset.host[size_t(i / n)] : 0);
          },
          "forward " + s.name());
    }
  }
}

TEST(CudaFakeQuant, BackwardByEveryRuleWithEveryNull) {
  for (const Sets& s : set_shapes) {
    const int64_t G = s.G, n = s.n;
    Case c(G, n);
    c.x.host.assign(c.x.host.size(), 0);  // no NaN: sums of it would hide everything
    for (size_t i = 0; i < c.x.host.size(); ++i) c.x.host[i] = random_normal(9, i);
    c.x.upload();
    Both dy(G * n, 5), dx(G * n, 6), dstep(G, 7), doffset(G, 8);
    // A set's sum: terms of at most 7 + |zero| < 20 steps times |dy|; in float every 32nd to 256th number one after the
    // other, then the lanes.
    const double tol = eps * (double(n) / 32 + 16) * 20 * test::largest(dy.host) * std::sqrt(double(n)) * 5;
    for (GradientPass pass : {GradientPass::All, GradientPass::RoundedInside, GradientPass::Inside}) {
      for (int mask = 0; mask < 16; ++mask) {
        const bool sums = pass != GradientPass::All;
        const bool to_x = mask & 1, to_step = sums && mask & 2, to_offset = sums && mask & 4, zero = mask & 8;
        expect_same(
            {&dx, &dstep, &doffset},
            [&] {
              cuda::fake_quant_backward(to_x ? dx.device() : nullptr, to_step ? dstep.device() : nullptr,
                                        to_offset ? doffset.device() : nullptr, dy.device(), c.x.device(),
                                        c.step.device(), zero ? c.zero.device() : nullptr, c.offset.device(),
                                        G, n, -4, 7, pass, 0.5f);
            },
            [&] {
              plain::fake_quant_backward<float>(
                  to_x ? dx.host.data() : nullptr, to_step ? dstep.host.data() : nullptr,
                  to_offset ? doffset.host.data() : nullptr, dy.host.data(), c.x.host.data(),
                  c.step.host.data(), zero ? c.zero.host.data() : nullptr, c.offset.host.data(), G, n, -4, 7,
                  pass, 0.5f);
            },
            [&](size_t o, int64_t, double want) { return o == 0 ? 0 : tol + eps * std::abs(want); },
            "backward " + s.name() + " pass " + std::to_string(int(pass)) + " mask " + std::to_string(mask));
      }
    }
  }
}

// The draws are the same on every backend, so the codes are.
TEST(CudaFakeQuant, StochasticRoundingDrawsTheSameNumbers) {
  for (const Sets& s : set_shapes) {
    const int64_t G = s.G, n = s.n;
    Case c(G, n);
    Both y(G * n, 5);
    expect_same(
        {&y},
        [&] {
          cuda::fake_quant_stochastic(y.device(), c.x.device(), c.step.device(), c.offset.device(), G, n, -4,
                                      7, 17);
        },
        [&] {
          plain::fake_quant_stochastic<float>(y.host.data(), c.x.host.data(), c.step.host.data(),
                                              c.offset.host.data(), G, n, -4, 7, 17);
        },
        [&](size_t, int64_t i, double want) { return output_tolerance(want, c.offset.host[size_t(i / n)]); },
        "stochastic " + s.name());
  }
}

}  // namespace
}  // namespace chalk
