// cuda attention and matmul against plain: heads of any width up to 256, MHA / GQA / MQA, causal, windows, one query
// against a cache; both matrix products with every transpose.

#include "kernels/attention.h"
#include "kernels/cuda/gemm.h"
#include "kernels/matmul.h"
#include "tests/kernels/cuda_check.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;
using test::expect_same;

void check_attention(AttentionShape s) {
  s.scale = 1 / std::sqrt(float(s.D));
  const int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk, rows = s.B * s.H * s.Tq;
  const int64_t q_size = rows * s.D, kv_size = s.B * capacity * s.K * s.D;
  Both q(q_size, 1), k(kv_size, 2), v(kv_size, 3), dy(q_size, 4), y(q_size, 5), lse(rows, 6);
  // Rows beyond Tk are not part of the cache yet: whatever is there must not matter.
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t i = (b * capacity + s.Tk) * s.K * s.D; i < (b + 1) * capacity * s.K * s.D; ++i)
      k.host[size_t(i)] = v.host[size_t(i)] = NAN;
  }
  k.upload(), v.upload();
  const std::string what = "B=" + std::to_string(s.B) + " Tq=" + std::to_string(s.Tq) +
                           " Tk=" + std::to_string(s.Tk) + " H=" + std::to_string(s.H) +
                           " K=" + std::to_string(s.K) + " D=" + std::to_string(s.D) +
                           " causal=" + std::to_string(s.causal) + " window=" + std::to_string(s.window);
  // As for the cpu backend: a score errs by eps/2 · √D · 5, which is the relative error of p; y is a mean of v (< 5) with
  // weights p, added key by key.
  const double relative = eps * (3 * std::sqrt(double(s.D)) + 2 * std::sqrt(double(s.Tk)) + 16);
  const auto plain_forward = [&] {
    plain::attention_forward<float>(y.host.data(), lse.host.data(), q.host.data(), k.host.data(),
                                    v.host.data(), s);
  };
  expect_same(
      {&y, &lse},
      [&] { cuda::attention_forward(y.device(), lse.device(), q.device(), k.device(), v.device(), s); },
      plain_forward, [&](size_t, int64_t, double want) { return relative * (5 + std::abs(want)); }, what);
  plain_forward();
  y.upload(), lse.upload();

  Both dq(q_size, 7), dk(kv_size, 8), dv(kv_size, 9), workspace(attention_backward_workspace(s) / 4);
  for (int mask : {7, 1, 4}) {
    const bool a = mask & 1, b = mask & 2, c = mask & 4;
    const double dq_tol = 8 * relative * 5 * std::sqrt(double(s.D)), sum = double(s.Tq * s.H / s.K);
    expect_same(
        {&dq, &dk, &dv},
        [&] {
          cuda::attention_backward(a ? dq.device() : nullptr, b ? dk.device() : nullptr,
                                   c ? dv.device() : nullptr, dy.device(), q.device(), k.device(), v.device(),
                                   y.device(), lse.device(), workspace.device(), s);
        },
        [&] {
          plain::attention_backward<float>(a ? dq.host.data() : nullptr, b ? dk.host.data() : nullptr,
                                           c ? dv.host.data() : nullptr, dy.host.data(), q.host.data(),
                                           k.host.data(), v.host.data(), y.host.data(), lse.host.data(),
                                           workspace.host.data(), s);
        },
        [&](size_t o, int64_t, double) { return o == 0 ? dq_tol : dq_tol * std::sqrt(sum + 1); }, what);
  }
  workspace.download();  // its guards
}

TEST(CudaAttention, AnyHeadWidth) {
  for (int64_t D : {1, 5, 8, 32, 33, 64, 100, 128, 200, 256})
    check_attention({.B = 1, .Tq = 9, .Tk = 9, .H = 2, .K = 2, .D = D, .scale = 1});
  std::vector<float> nothing(1);
  EXPECT_THROW(
      cuda::attention_forward(nothing.data(), nothing.data(), nothing.data(), nothing.data(), nothing.data(),
                              {.B = 1, .Tq = 2, .Tk = 2, .H = 1, .K = 1, .D = 257, .scale = 1}),
      std::runtime_error);
}

TEST(CudaAttention, GroupsWindowsAndMasks) {
  for (int64_t K : {1, 2, 4}) {
    for (bool causal : {false, true}) {
      for (int64_t window : {0, 1, 5, 70}) {
        check_attention({.B = 2,
                         .Tq = 70,
                         .Tk = 70,
                         .H = 4,
                         .K = K,
                         .D = 8,
                         .scale = 1,
                         .causal = causal,
                         .window = window});
        check_attention({.B = 1,
                         .Tq = 13,
                         .Tk = 70,
                         .H = 4,
                         .K = K,
                         .D = 8,
                         .scale = 1,
                         .causal = causal,
                         .window = window});
      }
    }
  }
}

TEST(CudaAttention, EveryLengthAroundTheTiles) {
  for (int64_t T : {1, 2, 31, 32, 33, 63, 64, 65, 130})
    check_attention({.B = 1, .Tq = T, .Tk = T, .H = 2, .K = 1, .D = 16, .scale = 1});
}

TEST(CudaAttention, DecodingAgainstACache) {
  for (int64_t Tk : {1, 2, 17, 64, 65, 255, 256, 257, 600}) {
    for (int64_t Tq : {1, 2}) {
      if (Tq <= Tk)
        check_attention(
            {.B = 2, .Tq = Tq, .Tk = Tk, .H = 4, .K = 2, .D = 16, .scale = 1, .kv_capacity = Tk + 9});
    }
  }
  check_attention({.B = 1, .Tq = 1, .Tk = 300, .H = 2, .K = 1, .D = 200, .scale = 1, .window = 40});
}

TEST(CudaAttention, QueriesBeforeTheFirstKeyGiveZero) {
  check_attention({.B = 1, .Tq = 3, .Tk = 1, .H = 1, .K = 1, .D = 4, .scale = 1});
  check_attention({.B = 1, .Tq = 40, .Tk = 3, .H = 1, .K = 1, .D = 4, .scale = 1});
}

// ---- matmul ----

using Matmul = void (*)(float*, const float*, const float*, const float*, const MatmulShape&, float*);

void check_matmul(Matmul kernel, const MatmulShape& s, bool with_bias, double tolerance, uint64_t seed = 1) {
  Both a(s.M * s.K, seed), b(s.K * s.N, seed + 1), bias(s.N, 3), y(s.M * s.N, 4);
  const int64_t bytes = cuda::matmul_workspace(s);
  float* workspace = static_cast<float*>(allocate_memory(bytes, Device::CUDA));
  expect_same(
      {&y},
      [&] { kernel(y.device(), a.device(), b.device(), with_bias ? bias.device() : nullptr, s, workspace); },
      [&] {
        plain::matmul<float>(y.host.data(), a.host.data(), b.host.data(),
                             with_bias ? bias.host.data() : nullptr, s, nullptr);
      },
      [=](size_t, int64_t, double want) { return tolerance + 2 * eps * (std::abs(want) + 4); },
      "M=" + std::to_string(s.M) + " N=" + std::to_string(s.N) + " K=" + std::to_string(s.K) +
          (s.transpose_a ? " Ta" : "") + (s.transpose_b ? " Tb" : "") + (s.accumulate ? " +=" : ""));
  release_memory(workspace, bytes, Device::CUDA);
}

TEST(CudaMatmul, BothProductsAtEveryEdgeOfTheTiles) {
  const int64_t sizes[][3] = {{0, 3, 2},    {1, 1, 0},    {1, 1, 1},     {3, 5, 7},
                              {17, 16, 15}, {63, 64, 65}, {65, 130, 33}, {64, 64, 200}};
  for (Matmul kernel : {cuda::matmul, cuda::matmul_by_hand}) {
    for (const auto& [M, N, K] : sizes) {
      for (int bits = 0; bits < 16; ++bits) {
        // |error| ≤ eps/2 · Σ_k |partial sum_k|, and the partial sums of K random products stay below 5 √K.
        const double tolerance = eps / 2 * 5 * std::sqrt(double(K)) * (double(K) + 2) + 8 * eps;
        check_matmul(kernel, {M, N, K, (bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0}, (bits & 8) != 0,
                     tolerance);
      }
    }
  }
}

}  // namespace
}  // namespace chalk
