// cuda against plain for the ops that work row by row (norms, softmax, cross-entropy) and those that move numbers
// (embedding, columns, transpose, broadcast).

#include <array>

#include "kernels/broadcast.h"
#include "kernels/columns.h"
#include "kernels/cross_entropy.h"
#include "kernels/embedding.h"
#include "kernels/layernorm.h"
#include "kernels/rmsnorm.h"
#include "kernels/softmax.h"
#include "kernels/transpose.h"
#include "tests/kernels/cuda_check.h"

namespace chalk {
namespace {
using test::Both;
using test::BothIds;
using test::eps;
using test::expect_same;

// Rows shorter than a warp, whole warps, one and several warps per row, every block size of row_threads().
const std::vector<std::array<int64_t, 2>> matrices = {{0, 4},   {1, 1},   {3, 5},   {33, 32}, {4, 33},
                                                      {5, 256}, {3, 257}, {2, 700}, {2, 5003}};

std::string name(const char* op, int64_t N, int64_t C) {
  return std::string(op) + " N=" + std::to_string(N) + " C=" + std::to_string(C);
}

// A mean of C numbers of size s in float errs by at most about eps · s · (C/32 + 8): a thread adds up to 32 of them in
// a row when C < 8192, then trees. Normalised numbers are below √C; rstd magnifies the error of x − mean.
double norm_tolerance(int64_t C, double rstd) {
  return 4 * eps * (double(C) / 32 + 8) * std::sqrt(double(C)) * std::max(1.0, rstd);
}

TEST(CudaRows, LayerNorm) {
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], C = shape[1];
    Both x(N * C, 1, 2), weight(C, 2), bias(C, 3), dy(N * C, 4), y(N * C, 5), mean(N, 6), rstd(N, 7);
    const auto plain_forward = [&] {
      plain::layernorm_forward<float>(y.host.data(), mean.host.data(), rstd.host.data(), x.host.data(),
                                      weight.host.data(), bias.host.data(), N, C, 1e-5f);
    };
    plain_forward();
    const double r = test::largest(rstd.host), tol = norm_tolerance(C, r);
    expect_same(
        {&y, &mean, &rstd},
        [&] {
          cuda::layernorm_forward(y.device(), mean.device(), rstd.device(), x.device(), weight.device(),
                                  bias.device(), N, C, 1e-5f);
        },
        plain_forward,
        [&](size_t o, int64_t, double want) { return o == 2 ? tol * std::abs(want) : 4 * tol; },
        name("layernorm", N, C));
    mean.upload(), rstd.upload();
    Both dx(N * C, 8), dweight(C, 9), dbias(C, 10);
    for (int mask = 0; mask < 8; ++mask) {
      const bool a = mask & 1, b = mask & 2, c = mask & 4;
      expect_same(
          {&dx, &dweight, &dbias},
          [&] {
            cuda::layernorm_backward(a ? dx.device() : nullptr, b ? dweight.device() : nullptr,
                                     c ? dbias.device() : nullptr, dy.device(), x.device(), weight.device(),
                                     mean.device(), rstd.device(), N, C);
          },
          [&] {
            plain::layernorm_backward<float>(a ? dx.host.data() : nullptr, b ? dweight.host.data() : nullptr,
                                             c ? dbias.host.data() : nullptr, dy.host.data(), x.host.data(),
                                             weight.host.data(), mean.host.data(), rstd.host.data(), N, C);
          },
          [&](size_t o, int64_t, double) {
            return 16 * tol * (o == 0 ? std::max(1.0, r) : std::sqrt(double(N + 1)));
          },
          name("layernorm backward", N, C));
    }
  }
}

TEST(CudaRows, RmsNorm) {
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], C = shape[1];
    Both x(N * C, 1, 2), weight(C, 2), dy(N * C, 4), y(N * C, 5), rstd(N, 7);
    const auto plain_forward = [&] {
      plain::rmsnorm_forward<float>(y.host.data(), rstd.host.data(), x.host.data(), weight.host.data(), N, C,
                                    1e-5f);
    };
    plain_forward();
    const double r = test::largest(rstd.host), tol = norm_tolerance(C, 1);
    expect_same(
        {&y, &rstd},
        [&] { cuda::rmsnorm_forward(y.device(), rstd.device(), x.device(), weight.device(), N, C, 1e-5f); },
        plain_forward,
        [&](size_t o, int64_t, double want) { return o == 1 ? tol * std::abs(want) : 4 * tol; },
        name("rmsnorm", N, C));
    rstd.upload();
    Both dx(N * C, 8), dweight(C, 9);
    for (int mask = 0; mask < 4; ++mask) {
      const bool a = mask & 1, b = mask & 2;
      expect_same(
          {&dx, &dweight},
          [&] {
            cuda::rmsnorm_backward(a ? dx.device() : nullptr, b ? dweight.device() : nullptr, dy.device(),
                                   x.device(), weight.device(), rstd.device(), N, C);
          },
          [&] {
            plain::rmsnorm_backward<float>(a ? dx.host.data() : nullptr, b ? dweight.host.data() : nullptr,
                                           dy.host.data(), x.host.data(), weight.host.data(),
                                           rstd.host.data(), N, C);
          },
          [&](size_t o, int64_t, double) {
            return 16 * tol * (o == 0 ? std::max(1.0, r) : std::sqrt(double(N + 1)));
          },
          name("rmsnorm backward", N, C));
    }
  }
}

TEST(CudaRows, Softmax) {
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], C = shape[1];
    Both x(N * C, 1, 4), dy(N * C, 2), y(N * C, 3), dx(N * C, 4);
    for (float& v : x.host) v += 1000;  // safe only if the maximum is subtracted
    x.upload();
    // x − max is exact (Sterbenz, or of size 1000: half an ulp is 3e-5, the same on both sides); e^ and the sum of C of them
    // err by a few eps and C/32 eps.
    const double relative = eps * (double(C) / 32 + 16);
    for (bool log : {false, true}) {
      expect_same(
          {&y},
          [&] { (log ? cuda::log_softmax_forward : cuda::softmax_forward)(y.device(), x.device(), N, C); },
          [&] {
            (log ? plain::log_softmax_forward<float> : plain::softmax_forward<float>)(y.host.data(),
                                                                                      x.host.data(), N, C);
          },
          [&](size_t, int64_t, double want) { return relative * (log ? std::abs(want) + 2 : want); },
          name("softmax", N, C));
      y.upload();
      // The dot product of a row: normal dy with weights that sum to 1, or Σ dy of size 5 √C times e^y ≤ 1.
      const double dot = log ? 5 * std::sqrt(double(C)) : 5;
      expect_same(
          {&dx},
          [&] {
            (log ? cuda::log_softmax_backward : cuda::softmax_backward)(dx.device(), dy.device(), y.device(),
                                                                        N, C);
          },
          [&] {
            (log ? plain::log_softmax_backward<float>
                 : plain::softmax_backward<float>)(dx.host.data(), dy.host.data(), y.host.data(), N, C);
          },
          [&](size_t, int64_t, double) { return relative * (dot + 10); }, name("softmax backward", N, C));
    }
  }
}

TEST(CudaRows, CrossEntropy) {
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], V = shape[1];
    Both logits(N * V, 1, 3), loss(N, 2), log_sum(N, 3), dloss(N, 4), dlogits(N * V, 5);
    std::vector<int32_t> ids;
    for (int64_t n = 0; n < N; ++n) ids.push_back(n % 3 == 1 ? -100 : int32_t(n * 7919 % V));
    BothIds targets(ids);
    const double tol = eps * (double(V) / 32 + 16) * 30;  // logits below 15, their differences below 30
    expect_same(
        {&loss, &log_sum},
        [&] {
          cuda::cross_entropy_forward(loss.device(), log_sum.device(), logits.device(), targets.block, -100,
                                      N, V);
        },
        [&] {
          plain::cross_entropy_forward<float>(loss.host.data(), log_sum.host.data(), logits.host.data(),
                                              ids.data(), -100, N, V);
        },
        [&](size_t, int64_t, double) { return tol; }, name("cross_entropy", N, V));
    log_sum.upload();
    expect_same(
        {&dlogits},
        [&] {
          cuda::cross_entropy_backward(dlogits.device(), dloss.device(), logits.device(), log_sum.device(),
                                       targets.block, -100, N, V);
        },
        [&] {
          plain::cross_entropy_backward<float>(dlogits.host.data(), dloss.host.data(), logits.host.data(),
                                               log_sum.host.data(), ids.data(), -100, N, V);
        },
        [&](size_t, int64_t, double) { return 5 * tol; }, name("cross_entropy backward", N, V));
  }
}

TEST(CudaRows, NaNReachesTheLoss) {
  for (int64_t V : {5, 300}) {
    Both logits(V), loss(1), log_sum(1);
    for (int64_t at : {int64_t(0), V - 1}) {
      logits.host.assign(size_t(V), 1.0f);
      logits.host[size_t(at)] = NAN;
      logits.upload();
      BothIds targets({1});
      cuda::cross_entropy_forward(loss.device(), log_sum.device(), logits.device(), targets.block, -100, 1,
                                  V);
      EXPECT_TRUE(std::isnan(loss.download()[0])) << "V=" << V << " NaN at " << at;
    }
  }
}

TEST(CudaRows, EmbeddingAddsRepeatedIdsInOrder) {
  const auto exact = [](size_t, int64_t, double) { return 0.0; };
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], C = shape[1];
    const int64_t V = 6;
    std::vector<int32_t> ids;
    for (int64_t n = 0; n < N; ++n) ids.push_back(int32_t(n * n % V));
    BothIds both(ids);
    Both weight(V * C, 1), y(N * C, 2), dweight(V * C, 3), dy(N * C, 4);
    expect_same(
        {&y}, [&] { cuda::embedding_forward(y.device(), weight.device(), both.block, N, C); },
        [&] { plain::embedding_forward<float>(y.host.data(), weight.host.data(), ids.data(), N, C); }, exact,
        "embedding");
    expect_same(
        {&dweight}, [&] { cuda::embedding_backward(dweight.device(), dy.device(), both.block, N, V, C); },
        [&] { plain::embedding_backward<float>(dweight.host.data(), dy.host.data(), ids.data(), N, V, C); },
        exact, "embedding backward");
  }
}

TEST(CudaRows, ColumnsAndTranspose) {
  const auto exact = [](size_t, int64_t, double) { return 0.0; };
  for (const auto& shape : matrices) {
    const int64_t N = shape[0], C = shape[1];
    Both x(N * (C + 3), 1), y(N * (C + 5), 2);
    expect_same(
        {&y}, [&] { cuda::columns_copy(y.device(), C + 5, 2, x.device(), C + 3, 1, N, C); },
        [&] { plain::columns_copy<float>(y.host.data(), C + 5, 2, x.host.data(), C + 3, 1, N, C); }, exact,
        "columns_copy");
    expect_same(
        {&y}, [&] { cuda::columns_add(y.device(), C + 5, 2, x.device(), C + 3, 1, N, C); },
        [&] { plain::columns_add<float>(y.host.data(), C + 5, 2, x.host.data(), C + 3, 1, N, C); }, exact,
        "columns_add");
    const int64_t B = 2;
    Both a(B * N * C, 3), b(B * N * C, 4);
    expect_same(
        {&b}, [&] { cuda::transpose_forward(b.device(), a.device(), B, N, C); },
        [&] { plain::transpose_forward<float>(b.host.data(), a.host.data(), B, N, C); }, exact, "transpose");
    expect_same(
        {&b}, [&] { cuda::transpose_backward(b.device(), a.device(), B, N, C); },
        [&] { plain::transpose_backward<float>(b.host.data(), a.host.data(), B, N, C); }, exact,
        "transpose backward");
  }
}

TEST(CudaRows, BroadcastOverEveryPairOfAxes) {
  const int64_t dim[4] = {2, 3, 40, 5};
  const int64_t count = 2 * 3 * 40 * 5;
  for (int stretched = 0; stretched < 16; ++stretched) {  // axes along which b is stretched
    BroadcastShape s;
    int64_t a_size = 1, b_size = 1;
    for (int axis = 3; axis >= 0; --axis) {
      const bool once = stretched >> axis & 1;
      s.dim[axis] = dim[axis];
      s.a_stride[axis] = a_size, s.b_stride[axis] = once ? 0 : b_size;
      a_size *= dim[axis], b_size *= once ? 1 : dim[axis];
    }
    Both a(count, 1), b(b_size, 2), y(count, 3), dy(count, 4), da(count, 5), db(b_size, 6);
    // Sums of up to `count` numbers below 25, plain's one by one, ours 32 at a time.
    const double tol = eps * 5 * std::sqrt(double(count)) * (double(count) / double(b_size) + 8);
    const auto tolerance = [&](size_t, int64_t, double) { return tol; };
    expect_same(
        {&y}, [&] { cuda::add_forward(y.device(), a.device(), b.device(), s); },
        [&] { plain::add_forward<float>(y.host.data(), a.host.data(), b.host.data(), s); },
        [](size_t, int64_t, double) { return 0.0; }, "add");
    expect_same(
        {&y}, [&] { cuda::mul_forward(y.device(), a.device(), b.device(), s); },
        [&] { plain::mul_forward<float>(y.host.data(), a.host.data(), b.host.data(), s); },
        [](size_t, int64_t, double) { return 0.0; }, "mul");
    expect_same(
        {&da, &db}, [&] { cuda::add_backward(da.device(), db.device(), dy.device(), s); },
        [&] { plain::add_backward<float>(da.host.data(), db.host.data(), dy.host.data(), s); }, tolerance,
        "add backward");
    expect_same(
        {&da, &db},
        [&] { cuda::mul_backward(da.device(), db.device(), dy.device(), a.device(), b.device(), s); },
        [&] {
          plain::mul_backward<float>(da.host.data(), db.host.data(), dy.host.data(), a.host.data(),
                                     b.host.data(), s);
        },
        tolerance, "mul backward");
  }
}

}  // namespace
}  // namespace chalk
