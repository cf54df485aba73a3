// cpu against plain for the ops that work number by number.

#include <cstring>

#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/gelu.h"
#include "kernels/reduce.h"
#include "kernels/relu.h"
#include "kernels/residual.h"
#include "kernels/silu.h"
#include "kernels/swiglu.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;
using test::for_each_length;

// A result reached by a handful of float operations on numbers of size `size` errs by a few eps · size; plain
// rounds once.
auto few_roundings(int count, double size) {
  return [=](size_t, int64_t, double expected) { return count * eps * (std::abs(expected) + size); };
}

TEST(CpuElementwise, ResidualAddAndAccumulate) {
  for_each_length([](int64_t n, int64_t misalignment) {
    Buffer a(n, misalignment, 1), b(n, misalignment + 1, 2), y(n, misalignment, 3);
    const auto exact = few_roundings(0, 0);  // one addition, rounded once on both sides
    expect_same(
        {&y}, [&] { cpu::residual_forward(y, a, b, n); }, [&] { plain::residual_forward<float>(y, a, b, n); },
        exact, "residual_forward");
    expect_same(
        {&y}, [&] { cpu::accumulate(y, a, n); }, [&] { plain::accumulate<float>(y, a, n); }, exact,
        "accumulate");
    expect_same(
        {&y}, [&] { cpu::scale(y, a, 0.3f, n); }, [&] { plain::scale<float>(y, a, 0.3f, n); }, exact,
        "scale");
  });
}

using Forward = void(float*, const float*, int64_t);
using Backward = void(float*, const float*, const float*, int64_t);

void check_activation(Forward* cpu_forward, Forward* plain_forward, Backward* cpu_backward,
                      Backward* plain_backward, const char* name) {
  for_each_length([&](int64_t n, int64_t misalignment) {
    Buffer x(n, misalignment, 1, 3.0f), dy(n, misalignment + 2, 2), y(n, misalignment, 3),
        dx(n, misalignment + 1, 4);
    // Curves of |x| ≤ 15 through exp (1 ulp) and about eight more operations; the slope amplifies by at most
    // |x| + 1. y and dx lie within |x| and 2 |dy|; the errors of the inner argument, up to x³, meet an
    // exponentially small slope.
    const double size = 4;
    const std::string what = std::string(name) + " n=" + std::to_string(n);
    expect_same(
        {&y}, [&] { cpu_forward(y, x, n); }, [&] { plain_forward(y, x, n); }, few_roundings(4, size), what);
    expect_same(
        {&dx}, [&] { cpu_backward(dx, dy, x, n); }, [&] { plain_backward(dx, dy, x, n); },
        few_roundings(4, 2 * size), what + " backward");
  });
}

TEST(CpuElementwise, Relu) {
  check_activation(cpu::relu_forward, plain::relu_forward<float>, cpu::relu_backward,
                   plain::relu_backward<float>, "relu");
}
TEST(CpuElementwise, Silu) {
  check_activation(cpu::silu_forward, plain::silu_forward<float>, cpu::silu_backward,
                   plain::silu_backward<float>, "silu");
}
TEST(CpuElementwise, GeluTanh) {
  check_activation(cpu::gelu_tanh_forward, plain::gelu_tanh_forward<float>, cpu::gelu_tanh_backward,
                   plain::gelu_tanh_backward<float>, "gelu_tanh");
}
TEST(CpuElementwise, GeluErf) {
  check_activation(cpu::gelu_erf_forward, plain::gelu_erf_forward<float>, cpu::gelu_erf_backward,
                   plain::gelu_erf_backward<float>, "gelu_erf");
}

TEST(CpuElementwise, ActivationsAtExtremes) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x = {0.0f,   -0.0f,   1e-30f, -1e-30f, 88.0f, -88.0f,
                                200.0f, -200.0f, 1e10f,  -1e10f,  inf,   nan};
  for (Forward* forward :
       {cpu::relu_forward, cpu::silu_forward, cpu::gelu_tanh_forward, cpu::gelu_erf_forward}) {
    std::vector<float> y(x.size());
    forward(y.data(), x.data(), int64_t(x.size()));
    for (size_t i = 0; i + 1 < x.size(); ++i) {
      // Far out every one of them is x or 0.
      const float want = x[i] > 50 ? x[i] : 0.0f;
      EXPECT_TRUE(y[i] == want || std::abs(y[i] - want) < 1e-29f) << "x = " << x[i] << " gives " << y[i];
    }
    EXPECT_TRUE(std::isnan(y.back())) << "NaN must not be hidden";
  }
}

TEST(CpuElementwise, Curves) {
  // Largest errors of the vector functions over a fine grid, against double. The bounds are the ones promised
  // in simd.h.
  double worst_exp = 0, worst_erf = 0, worst_sigmoid = 0;
  for (double x = -87; x <= 88; x += 0.000917) {
    const float v = float(x);
    const auto lane0 = [&](auto f) { return double(cpu::simd::hn::GetLane(f(cpu::simd::set(v)))); };
    const double e = std::exp(double(v));
    worst_exp = std::max(worst_exp, std::abs(lane0(cpu::simd::exp) - e) / e);
    worst_sigmoid = std::max(worst_sigmoid, std::abs(lane0(cpu::simd::sigmoid) - 1 / (1 + 1 / e)));
    const float w = v / 16;
    const double erf_w = double(cpu::simd::hn::GetLane(cpu::simd::erf(cpu::simd::set(w))));
    worst_erf = std::max(worst_erf, std::abs(erf_w - std::erf(double(w))));
  }
  EXPECT_LT(worst_exp, eps);
  EXPECT_LT(worst_sigmoid, eps);
  EXPECT_LT(worst_erf, 1.5e-7);
}

TEST(CpuElementwise, SwiGlu) {
  for_each_length([](int64_t n, int64_t misalignment) {
    Buffer gate(n, misalignment, 1, 3.0f), up(n, misalignment + 1, 2), dy(n, misalignment, 3);
    Buffer y(n, misalignment + 3, 4), dgate(n, misalignment, 5), dup(n, misalignment + 2, 6);
    const auto tolerance =
        few_roundings(4, 16);  // |gate|, |up|, |dy| up to about 4: products up to 16 · slope
    expect_same(
        {&y}, [&] { cpu::swiglu_forward(y, gate, up, n); },
        [&] { plain::swiglu_forward<float>(y, gate, up, n); }, tolerance, "swiglu");
    for (int mask = 0; mask < 4; ++mask) {
      float *dg = mask & 1 ? dgate.data() : nullptr, *du = mask & 2 ? dup.data() : nullptr;
      expect_same(
          {&dgate, &dup}, [&] { cpu::swiglu_backward(dg, du, dy, gate, up, n); },
          [&] { plain::swiglu_backward<float>(dg, du, dy, gate, up, n); }, tolerance, "swiglu_backward");
    }
  });
}

TEST(CpuElementwise, DropoutHasTheSameBitsAsPlain) {
  const auto exact = few_roundings(0, 0);
  for (float p : {0.0f, 0.1f, 0.5f, 0.999f}) {
    for_each_length([&](int64_t n, int64_t misalignment) {
      Buffer x(n, misalignment, 1), y(n, misalignment + 1, 2);
      const uint64_t seed = 0x123456789abcdef0u + uint64_t(n);
      expect_same(
          {&y}, [&] { cpu::dropout_forward(y, x, n, p, seed); },
          [&] { plain::dropout_forward<float>(y, x, n, p, seed); }, exact, "dropout_forward");
      expect_same(
          {&y}, [&] { cpu::dropout_backward(y, x, n, p, seed); },
          [&] { plain::dropout_backward<float>(y, x, n, p, seed); }, exact, "dropout_backward");
    });
  }
}

TEST(CpuElementwise, AdamW) {
  for (int64_t t : {1, 2, 1000}) {
    for_each_length([&](int64_t n, int64_t misalignment) {
      Buffer w(n, misalignment, 1), m(n, misalignment + 1, 2, 0.1f), v(n, misalignment + 2, 3, 0.1f);
      Buffer grad(n, misalignment, 4);
      for (int64_t i = 0; i < n; ++i) v[i] = v[i] * v[i];  // a second moment is never negative
      const AdamWStep step = {.lr = 1e-3f,
                              .beta1 = 0.9f,
                              .beta2 = 0.95f,
                              .eps = 1e-8f,
                              .weight_decay = 0.1f,
                              .t = t,
                              .grad_scale = 0.7f};
      // m, v: three roundings of numbers below |expected| + 1. w: one more, the update itself is below 1e-3 ·
      // 40.
      expect_same(
          {&w, &m, &v}, [&] { cpu::adamw_step(w, m, v, grad, n, step); },
          [&] { plain::adamw_step<float>(w, m, v, grad, n, step); }, few_roundings(3, 1), "adamw");
    });
  }
}

}  // namespace
}  // namespace chalk
