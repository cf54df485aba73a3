// cpu against plain for the ops that work row by row: norms, softmax, cross-entropy.

#include "kernels/cross_entropy.h"
#include "kernels/layernorm.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;

// f(N, C, misalignment) over every row length in [1, 2 lanes] and realistic sizes.
void for_each_matrix(const std::function<void(int64_t, int64_t, int64_t)>& f) {
  for (int64_t C = 1; C <= 2 * cpu::simd::lanes; ++C) {
    for (int64_t misalignment : {0, 1, 3}) f(3, C, misalignment);
  }
  f(512, 128, 0);
  f(129, 344, 1);
  f(7, 5003, 0);
}

std::string name(const char* op, int64_t N, int64_t C) {
  return std::string(op) + " N=" + std::to_string(N) + " C=" + std::to_string(C);
}

// A mean of C numbers of size s in float errs by at most about eps · s · (C/64 + 6): 64 running sums, then a
// tree. Normalised numbers are below √C; rstd magnifies the error of x − mean by itself.
double norm_tolerance(int64_t C, double rstd) {
  return 4 * eps * (double(C) / 64 + 6) * std::sqrt(double(C)) * std::max(1.0, rstd);
}

TEST(CpuRows, LayerNorm) {
  for_each_matrix([](int64_t N, int64_t C, int64_t misalignment) {
    Buffer x(N * C, misalignment, 1, 2.0f), weight(C, misalignment + 1, 2), bias(C, 0, 3), dy(N * C, 1, 4);
    Buffer y(N * C, misalignment, 5), mean(N, 1, 6), rstd(N, 2, 7);
    const auto forward = [&] {
      plain::layernorm_forward<float>(y, mean, rstd, x, weight, bias, N, C, 1e-5f);
    };
    forward();
    const double tol = norm_tolerance(C, test::largest(rstd.numbers()));
    expect_same(
        {&y, &mean, &rstd}, [&] { cpu::layernorm_forward(y, mean, rstd, x, weight, bias, N, C, 1e-5f); },
        forward, [&](size_t o, int64_t, double want) { return o == 2 ? tol * std::abs(want) : 4 * tol; },
        name("layernorm", N, C));

    Buffer dx(N * C, misalignment, 8), dweight(C, misalignment + 1, 9), dbias(C, misalignment + 2, 10);
    for (int mask = 0; mask < 8; ++mask) {
      float *a = mask & 1 ? dx.data() : nullptr, *b = mask & 2 ? dweight.data() : nullptr;
      float* c = mask & 4 ? dbias.data() : nullptr;
      // dx: rstd times numbers below 4 · 4 · √C; dweight, dbias: N terms below 4 · √C.
      const double dx_tol = 16 * tol * std::max(1.0, test::largest(rstd.numbers())),
                   dw_tol = 16 * tol * std::sqrt(double(N));
      expect_same(
          {&dx, &dweight, &dbias}, [&] { cpu::layernorm_backward(a, b, c, dy, x, weight, mean, rstd, N, C); },
          [&] { plain::layernorm_backward<float>(a, b, c, dy, x, weight, mean, rstd, N, C); },
          [&](size_t o, int64_t, double) { return o == 0 ? dx_tol : dw_tol; },
          name("layernorm_backward", N, C));
    }
  });
}

TEST(CpuRows, RmsNorm) {
  for_each_matrix([](int64_t N, int64_t C, int64_t misalignment) {
    Buffer x(N * C, misalignment, 1, 2.0f), weight(C, misalignment + 1, 2), dy(N * C, 1, 4);
    Buffer y(N * C, misalignment, 5), rstd(N, 2, 7);
    const auto forward = [&] { plain::rmsnorm_forward<float>(y, rstd, x, weight, N, C, 1e-5f); };
    forward();
    const double r = test::largest(rstd.numbers()), tol = norm_tolerance(C, 1);
    expect_same(
        {&y, &rstd}, [&] { cpu::rmsnorm_forward(y, rstd, x, weight, N, C, 1e-5f); }, forward,
        [&](size_t o, int64_t, double want) { return o == 1 ? tol * std::abs(want) : 4 * tol; },
        name("rmsnorm", N, C));

    Buffer dx(N * C, misalignment, 8), dweight(C, misalignment + 1, 9);
    for (int mask = 0; mask < 4; ++mask) {
      float *a = mask & 1 ? dx.data() : nullptr, *b = mask & 2 ? dweight.data() : nullptr;
      const double dx_tol = 16 * tol * std::max(1.0, r), dw_tol = 16 * tol * std::sqrt(double(N));
      expect_same(
          {&dx, &dweight}, [&] { cpu::rmsnorm_backward(a, b, dy, x, weight, rstd, N, C); },
          [&] { plain::rmsnorm_backward<float>(a, b, dy, x, weight, rstd, N, C); },
          [&](size_t o, int64_t, double) { return o == 0 ? dx_tol : dw_tol; },
          name("rmsnorm_backward", N, C));
    }
  });
}

TEST(CpuRows, Softmax) {
  for_each_matrix([](int64_t N, int64_t C, int64_t misalignment) {
    Buffer x(N * C, misalignment, 1, 4.0f), dy(N * C, 1, 2), y(N * C, misalignment + 1, 3), dx(N * C, 2, 4);
    for (int64_t i = 0; i < N * C; ++i) x[i] += 1000;  // safe only if the maximum is subtracted
    // e^(x − max): x − max is exact to eps/2 · 16; the sum of C ≤ 1 numbers in 16 lanes errs by eps · C/16
    // relative.
    const double relative = eps * (16 + double(C) / 16);
    expect_same(
        {&y}, [&] { cpu::softmax_forward(y, x, N, C); }, [&] { plain::softmax_forward<float>(y, x, N, C); },
        [&](size_t, int64_t, double want) { return relative * want + 1e-38; }, name("softmax", N, C));
    expect_same(
        {&dx}, [&] { cpu::softmax_backward(dx, dy, y, N, C); },
        [&] { plain::softmax_backward<float>(dx, dy, y, N, C); },
        [&](size_t, int64_t, double want) { return relative * (std::abs(want) + 4); },
        name("softmax_backward", N, C));
    // log-softmax: numbers up to 40 from one subtraction of 16 and a log near log C; the sum's relative error
    // is absolute here.
    expect_same(
        {&y}, [&] { cpu::log_softmax_forward(y, x, N, C); },
        [&] { plain::log_softmax_forward<float>(y, x, N, C); },
        [&](size_t, int64_t, double want) { return relative + 4 * eps * (std::abs(want) + 10); },
        name("log_softmax", N, C));
    // Σ dy: C numbers of size 4.
    expect_same(
        {&dx}, [&] { cpu::log_softmax_backward(dx, dy, y, N, C); },
        [&] { plain::log_softmax_backward<float>(dx, dy, y, N, C); },
        [&](size_t, int64_t, double) { return relative * 4 * (std::sqrt(double(C)) + 4); },
        name("log_softmax_backward", N, C));
  });
}

TEST(CpuRows, SoftmaxOfMaskedNumbers) {
  const float inf = std::numeric_limits<float>::infinity();
  const std::vector<float> x = {1, -inf, 2, -inf, -inf, 0, -inf};
  std::vector<float> y(x.size());
  cpu::softmax_forward(y.data(), x.data(), 1, int64_t(x.size()));
  for (size_t i = 0; i < x.size(); ++i) {
    if (x[i] == -inf) {
      EXPECT_EQ(y[i], 0);
    } else {
      EXPECT_NEAR(y[i], std::exp(x[i]) / (std::exp(1) + std::exp(2) + 1), 4 * eps);
    }
  }
}

TEST(CpuRows, CrossEntropy) {
  for_each_matrix([](int64_t N, int64_t V, int64_t misalignment) {
    Buffer logits(N * V, misalignment, 1, 4.0f), dloss(N, 1, 2), loss(N, 2, 3), log_sum(N, 3, 4),
        dlogits(N * V, misalignment, 5);
    std::vector<int32_t> targets;
    for (int64_t n = 0; n < N; ++n)
      targets.push_back(n % 5 == 1 ? -100 : int32_t(random_word(9, uint64_t(n)) % uint64_t(V)));
    const double relative = eps * (16 + double(V) / 16);  // as for softmax
    const auto forward = [&] {
      plain::cross_entropy_forward<float>(loss, log_sum, logits, targets.data(), -100, N, V);
    };
    expect_same(
        {&loss, &log_sum},
        [&] { cpu::cross_entropy_forward(loss, log_sum, logits, targets.data(), -100, N, V); }, forward,
        [&](size_t, int64_t, double want) { return relative + 4 * eps * (std::abs(want) + 20); },
        name("cross_entropy", N, V));
    // e^(logits − log_sum) errs by its argument's rounding, eps/2 · 40, relative to a probability ≤ 1.
    forward();
    expect_same(
        {&dlogits},
        [&] { cpu::cross_entropy_backward(dlogits, dloss, logits, log_sum, targets.data(), -100, N, V); },
        [&] {
          plain::cross_entropy_backward<float>(dlogits, dloss, logits, log_sum, targets.data(), -100, N, V);
        },
        [&](size_t, int64_t, double want) { return 24 * eps * 4 + 2 * eps * std::abs(want); },
        name("cross_entropy_backward", N, V));
  });
}

}  // namespace
}  // namespace chalk
