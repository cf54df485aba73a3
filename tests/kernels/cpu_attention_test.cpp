// cpu attention against plain: heads of any width, MHA / GQA / MQA, causal, windows, and one query against a
// cache.

#include "kernels/attention.h"
#include "tests/kernels/cpu_check.h"

namespace chalk {
namespace {
using test::Buffer;
using test::eps;
using test::expect_same;

void check(AttentionShape s) {
  s.scale = 1 / std::sqrt(float(s.D));
  const int64_t capacity = s.kv_capacity > 0 ? s.kv_capacity : s.Tk, rows = s.B * s.H * s.Tq;
  const int64_t q_size = rows * s.D, kv_size = s.B * capacity * s.K * s.D;
  Buffer q(q_size, 1, 1), k(kv_size, 2, 2), v(kv_size, 3, 3), dy(q_size, 1, 4), y(q_size, 2, 5),
      lse(rows, 3, 6);
  // Rows beyond Tk are not part of the cache yet: whatever is there must not matter.
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t i = (b * capacity + s.Tk) * s.K * s.D; i < (b + 1) * capacity * s.K * s.D; ++i)
      k[i] = v[i] = NAN;
  }
  const std::string what = "B=" + std::to_string(s.B) + " Tq=" + std::to_string(s.Tq) +
                           " Tk=" + std::to_string(s.Tk) + " H=" + std::to_string(s.H) +
                           " K=" + std::to_string(s.K) + " D=" + std::to_string(s.D) +
                           " causal=" + std::to_string(s.causal) + " window=" + std::to_string(s.window);
  // A score is a dot product of D normal numbers times 1/√D: size about 5, error eps/2 · √D · 5. It is the
  // relative error of p, to which exp and the sum of p over blocks of 64 keys add a few eps; y is a mean of v
  // (< 5) with weights p. Plain adds y in float key by key, which costs another eps/2 · Tk at worst, about
  // √Tk in practice.
  const double relative = eps * (3 * std::sqrt(double(s.D)) + 2 * std::sqrt(double(s.Tk)) + 16);
  const auto forward = [&] { plain::attention_forward<float>(y, lse, q, k, v, s); };
  expect_same(
      {&y, &lse}, [&] { cpu::attention_forward(y, lse, q, k, v, s); }, forward,
      [&](size_t, int64_t, double want) { return relative * (5 + std::abs(want)); }, what);

  Buffer dq(q_size, 2, 7), dk(kv_size, 3, 8), dv(kv_size, 1, 9),
      workspace(attention_backward_workspace(s) / 4);
  forward();
  for (int mask = 0; mask<8; mask += s.Tq * s.Tk> 1000 ? 7 : 1) {
    float *a = mask & 1 ? dq.data() : nullptr, *b = mask & 2 ? dk.data() : nullptr,
          *c = mask & 4 ? dv.data() : nullptr;
    // dp_ij and D_i are dot products of D normal numbers: size 5 √D. dq sums ds · k with Σ p = 1; dk and dv
    // sum over the queries of the group, whose p may all be near 1.
    const double dq_tol = 8 * relative * 5 * std::sqrt(double(s.D)), sum = double(s.Tq * s.H / s.K);
    expect_same(
        {&dq, &dk, &dv}, [&] { cpu::attention_backward(a, b, c, dy, q, k, v, y, lse, workspace, s); },
        [&] { plain::attention_backward<float>(a, b, c, dy, q, k, v, y, lse, workspace, s); },
        [&](size_t o, int64_t, double) { return o == 0 ? dq_tol : dq_tol * std::sqrt(sum + 1); }, what);
  }
  ASSERT_TRUE(workspace.guards_intact());
}

TEST(CpuAttention, AnyHeadWidth) {
  for (int64_t D : {1, 2, 5, 6, 7, 8, 15, 16, 17, 32, 33, 64, 128, 200, 256, 300}) {
    check({.B = 2, .Tq = 19, .Tk = 19, .H = 2, .K = 2, .D = D, .scale = 1});
  }
}

TEST(CpuAttention, GroupsWindowsAndMasks) {
  for (int64_t K : {1, 2, 4}) {
    for (bool causal : {false, true}) {
      for (int64_t window : {0, 1, 5, 70}) {
        check({.B = 2,
               .Tq = 90,
               .Tk = 90,
               .H = 4,
               .K = K,
               .D = 8,
               .scale = 1,
               .causal = causal,
               .window = window});
        check({.B = 1,
               .Tq = 13,
               .Tk = 90,
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

TEST(CpuAttention, EveryLengthAroundTheBlocks) {
  for (int64_t T : {1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200}) {
    check({.B = 1, .Tq = T, .Tk = T, .H = 2, .K = 1, .D = 32, .scale = 1});
  }
}

TEST(CpuAttention, DecodingAgainstACache) {
  for (int64_t Tk : {1, 2, 17, 64, 65, 300}) {
    for (int64_t Tq : {1, 2, 5}) {
      if (Tq <= Tk)
        check({.B = 2, .Tq = Tq, .Tk = Tk, .H = 4, .K = 2, .D = 16, .scale = 1, .kv_capacity = Tk + 9});
    }
  }
}

TEST(CpuAttention, QueriesBeforeTheFirstKeyGiveZero) {
  // Three queries, one key, causal: queries 0 and 1 stand before it.
  check({.B = 1, .Tq = 3, .Tk = 1, .H = 1, .K = 1, .D = 4, .scale = 1});
  check({.B = 1, .Tq = 20, .Tk = 3, .H = 1, .K = 1, .D = 4, .scale = 1});
  float y[12], lse[3], x[12] = {1, 2, 3, 4};
  cpu::attention_forward(y, lse, x, x, x, {.B = 1, .Tq = 3, .Tk = 1, .H = 1, .K = 1, .D = 4, .scale = 1});
  EXPECT_EQ(y[0], 0);
  EXPECT_EQ(lse[0], INFINITY);
  EXPECT_EQ(y[8], 1);
}

}  // namespace
}  // namespace chalk
