// Attention: the plain backward against complex step over masks and head groupings; its invariants.

#include "kernels/attention.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

int64_t q_count(const AttentionShape& s) {
  return s.B * s.Tq * s.H * s.D;
}
int64_t kv_count(const AttentionShape& s) {
  return s.B * std::max(s.Tk, s.kv_capacity) * s.K * s.D;
}

const AttentionShape shapes[] = {
    {.B = 1, .Tq = 1, .Tk = 1, .H = 1, .K = 1, .D = 1, .scale = 1},
    {.B = 2, .Tq = 4, .Tk = 4, .H = 2, .K = 2, .D = 3, .scale = 0.5f},                    // MHA
    {.B = 1, .Tq = 5, .Tk = 5, .H = 4, .K = 2, .D = 2, .scale = 0.7f},                    // GQA
    {.B = 2, .Tq = 3, .Tk = 3, .H = 3, .K = 1, .D = 4, .scale = 0.5f},                    // MQA
    {.B = 1, .Tq = 4, .Tk = 6, .H = 2, .K = 1, .D = 2, .scale = 0.6f, .causal = false},   // cross
    {.B = 1, .Tq = 2, .Tk = 5, .H = 2, .K = 2, .D = 3, .scale = 0.6f},                    // a chunk
    {.B = 1, .Tq = 1, .Tk = 5, .H = 2, .K = 1, .D = 3, .scale = 0.6f, .kv_capacity = 8},  // decoding
    {.B = 2, .Tq = 6, .Tk = 6, .H = 2, .K = 1, .D = 2, .scale = 0.6f, .window = 3},       // window
    {.B = 1, .Tq = 3, .Tk = 7, .H = 1, .K = 1, .D = 2, .scale = 0.6f, .window = 1},       // itself
    {.B = 2,
     .Tq = 3,
     .Tk = 5,
     .H = 2,
     .K = 1,
     .D = 2,
     .scale = 0.6f,
     .window = 4,
     .kv_capacity = 6},                                                 // all at once
    {.B = 1, .Tq = 5, .Tk = 2, .H = 1, .K = 1, .D = 2, .scale = 0.6f},  // empty rows
};

TEST(Attention, BackwardMatchesComplexStep) {
  for (const AttentionShape& s : shapes) {
    SCOPED_TRACE(testing::Message() << "Tq " << s.Tq << " Tk " << s.Tk << " H " << s.H << " K " << s.K
                                    << " window " << s.window);
    auto forward = [=](const auto& in) {
      std::vector<NumberOf<decltype(in)>> y(q_count(s)), lse(s.B * s.H * s.Tq);
      plain::attention_forward(y.data(), lse.data(), in[0].data(), in[1].data(), in[2].data(), s);
      return y;
    };
    auto backward = [=](const Gradients& d, const double* dy, const Inputs& in) {
      std::vector<double> y(q_count(s)), lse(s.B * s.H * s.Tq), workspace(s.B * s.H * s.Tq);
      plain::attention_forward(y.data(), lse.data(), in[0].data(), in[1].data(), in[2].data(), s);
      plain::attention_backward(d[0], d[1], d[2], dy, in[0].data(), in[1].data(), in[2].data(), y.data(),
                                lse.data(), workspace.data(), s);
    };
    expect_complex_step({normals(q_count(s), 1), normals(kv_count(s), 2), normals(kv_count(s), 3)}, forward,
                        backward, Nulls::Allowed);
  }
}

struct Result {
  std::vector<double> y, lse;
};

Result attention(const std::vector<double>& q, const std::vector<double>& k, const std::vector<double>& v,
                 const AttentionShape& s) {
  Result result{std::vector<double>(q_count(s), -7.0), std::vector<double>(s.B * s.H * s.Tq, -7.0)};
  plain::attention_forward(result.y.data(), result.lse.data(), q.data(), k.data(), v.data(), s);
  return result;
}

// Textbook attention with the whole row of scores in memory and its own mask rule; no max is subtracted.
Result naive_attention(const std::vector<double>& q, const std::vector<double>& k,
                       const std::vector<double>& v, const AttentionShape& s) {
  Result result{std::vector<double>(q_count(s), 0.0), std::vector<double>(s.B * s.H * s.Tq)};
  for (int64_t b = 0; b < s.B; ++b) {
    for (int64_t h = 0; h < s.H; ++h) {
      for (int64_t i = 0; i < s.Tq; ++i) {
        const double* q_i = &q[((b * s.Tq + i) * s.H + h) * s.D];
        std::vector<double> e(s.Tk, 0.0);
        double denominator = 0;
        for (int64_t j = 0; j < s.Tk; ++j) {
          const int64_t distance = i + s.Tk - s.Tq - j;  // how far key j lies behind query i
          if (s.causal && distance < 0) continue;
          if (s.window > 0 && distance >= s.window) continue;
          const double* k_j = &k[((b * s.Tk + j) * s.K + h * s.K / s.H) * s.D];
          double score = 0;
          for (int64_t d = 0; d < s.D; ++d) score += q_i[d] * k_j[d];
          e[j] = std::exp(double(s.scale) * score);
          denominator += e[j];
        }
        result.lse[(b * s.H + h) * s.Tq + i] = std::log(denominator);
        for (int64_t j = 0; j < s.Tk; ++j) {
          for (int64_t d = 0; d < s.D; ++d) {
            result.y[((b * s.Tq + i) * s.H + h) * s.D + d] +=
                e[j] / denominator * v[((b * s.Tk + j) * s.K + h * s.K / s.H) * s.D + d];
          }
        }
      }
    }
  }
  return result;
}

// Float: y is a sum of Tk terms p·v whose partial sums stay below max|v|, so it is off by at most
// (Tk + 1) · 2⁻²⁴ · max|v|.
TEST(Attention, ForwardEqualsNaiveAttention) {
  for (int64_t D : {16, 32, 64, 128}) {
    for (bool causal : {true, false}) {
      for (int64_t window : {0, 5}) {
        const AttentionShape s{.B = 2,
                               .Tq = 19,
                               .Tk = 23,
                               .H = 4,
                               .K = 2,
                               .D = D,
                               .scale = 1 / std::sqrt(float(D)),
                               .causal = causal,
                               .window = window};
        std::vector<double> q = normals(q_count(s), 1), k = normals(kv_count(s), 2),
                            v = normals(kv_count(s), 3);
        const Result naive = naive_attention(q, k, v, s), result = attention(q, k, v, s);
        const std::vector<float> qf = to_float(q), kf = to_float(k), vf = to_float(v);
        std::vector<float> yf(q_count(s)), lsef(s.B * s.H * s.Tq);
        plain::attention_forward(yf.data(), lsef.data(), qf.data(), kf.data(), vf.data(), s);
        const double tolerance = double(s.Tk + 1) * 0x1p-24 * max_abs(v);
        for (size_t i = 0; i < naive.y.size(); ++i) {
          ASSERT_NEAR(result.y[i], naive.y[i], 1e-13);
          ASSERT_NEAR(yf[i], naive.y[i], tolerance);
        }
        for (size_t i = 0; i < naive.lse.size(); ++i) ASSERT_NEAR(result.lse[i], naive.lse[i], 1e-13);
      }
    }
  }
}

// k_j + c adds q_i·c to every score of row i: p and y stay, lse moves by that much.
TEST(Attention, AConstantAddedToAllScoresOfARowChangesNothing) {
  const AttentionShape s{.B = 1, .Tq = 6, .Tk = 6, .H = 1, .K = 1, .D = 4, .scale = 0.5f};
  const std::vector<double> q = normals(24, 1), k = normals(24, 2), v = normals(24, 3), c = normals(4, 4, 10);
  std::vector<double> k_shifted = k;
  for (int i = 0; i < 24; ++i) k_shifted[i] += c[i % 4];
  const Result before = attention(q, k, v, s), after = attention(q, k_shifted, v, s);
  for (int i = 0; i < 24; ++i) EXPECT_NEAR(after.y[i], before.y[i], 1e-13);
  for (int i = 0; i < 6; ++i) {
    double shift = 0;
    for (int d = 0; d < 4; ++d) shift += 0.5 * q[i * 4 + d] * c[d];
    EXPECT_NEAR(after.lse[i], before.lse[i] + shift, 1e-12);
  }
}

TEST(Attention, ScoresOfTenThousandGiveNoNaN) {
  const AttentionShape s{.B = 1, .Tq = 3, .Tk = 3, .H = 1, .K = 1, .D = 1, .scale = 1, .causal = false};
  const std::vector<float> q = {100, -100, 100}, k = {100, -100, 99}, v = {1, 2, 3};
  std::vector<float> y(3), lse(3), dq(3), dk(3), dv(3), workspace(3), dy(3, 1);
  plain::attention_forward(y.data(), lse.data(), q.data(), k.data(), v.data(), s);
  plain::attention_backward(dq.data(), dk.data(), dv.data(), dy.data(), q.data(), k.data(), v.data(),
                            y.data(), lse.data(), workspace.data(), s);
  EXPECT_EQ(y, (std::vector<float>{1, 2, 1}));
  EXPECT_EQ(lse, (std::vector<float>{1e4f, 1e4f, 1e4f}));
  // The runner-up of rows 0 and 2 keeps p = e^−100, a subnormal float.
  EXPECT_NEAR(dv[0], 2, 1e-40);
  EXPECT_EQ(dv[1], 1);
  EXPECT_NEAR(dv[2], 0, 1e-40);
  for (int i = 0; i < 3; ++i) EXPECT_NEAR(dq[i], 0, 1e-40);
}

// With channel D−1 of every key equal to 1, that channel of dq_i is scale · Σ_j ds_ij, which must vanish.
TEST(Attention, ScoreGradientsOfARowSumToZero) {
  const AttentionShape s{.B = 1, .Tq = 7, .Tk = 9, .H = 2, .K = 1, .D = 5, .scale = 0.45f};
  const std::vector<double> q = normals(q_count(s), 1), v = normals(kv_count(s), 3),
                            dy = normals(q_count(s), 4);
  std::vector<double> k = normals(kv_count(s), 2), dq(q_count(s)), workspace(14);
  for (int64_t j = 0; j < s.Tk; ++j) k[j * 5 + 4] = 1;
  const Result r = attention(q, k, v, s);
  plain::attention_backward<double>(dq.data(), nullptr, nullptr, dy.data(), q.data(), k.data(), v.data(),
                                    r.y.data(), r.lse.data(), workspace.data(), s);
  for (int64_t row = 0; row < 14; ++row) EXPECT_NEAR(dq[row * 5 + 4], 0, 1e-14 * max_abs(dy) * s.Tk);
}

TEST(Attention, ValuesOfOneGiveOne) {
  for (const AttentionShape& s : shapes) {
    const std::vector<double> v(kv_count(s), 1.0);
    const Result r = attention(normals(q_count(s), 1, 3), normals(kv_count(s), 2, 3), v, s);
    for (int64_t i = 0; i < q_count(s); ++i) {
      const int64_t query = i / (s.D * s.H) % s.Tq;
      const bool empty = query + s.Tk - s.Tq < 0;
      EXPECT_NEAR(r.y[i], empty ? 0 : 1, 1e-14);
    }
  }
}

// Five queries, two keys, aligned at the end: 00 00 00 10 11.
TEST(Attention, RowsWithNoKeyGiveZeroAndNoGradient) {
  const AttentionShape s{.B = 1, .Tq = 5, .Tk = 2, .H = 1, .K = 1, .D = 1, .scale = 1};
  const std::vector<double> q = normals(5, 1), k = normals(2, 2), v = {3, 4}, dy(5, 1.0);
  const Result r = attention(q, k, v, s);
  std::vector<double> dq(5), dk(2), dv(2), workspace(5);
  plain::attention_backward(dq.data(), dk.data(), dv.data(), dy.data(), q.data(), k.data(), v.data(),
                            r.y.data(), r.lse.data(), workspace.data(), s);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(r.y[i], 0);
    EXPECT_EQ(r.lse[i], std::numeric_limits<double>::infinity());
    EXPECT_EQ(dq[i], 0);
  }
  EXPECT_EQ(r.y[3], 3);
  EXPECT_NEAR(dv[0] + dv[1], 2, 1e-15);  // two rows with keys, each handing out weight 1
}

// One query against a cache equals the last row of the whole causal result.
TEST(Attention, DecodingEqualsTheLastRow) {
  const AttentionShape whole{.B = 2, .Tq = 7, .Tk = 7, .H = 4, .K = 2, .D = 3, .scale = 0.6f, .window = 5};
  AttentionShape decode = whole;
  decode.Tq = 1;
  decode.kv_capacity = 10;
  const std::vector<double> q = normals(q_count(whole), 1), k = normals(kv_count(whole), 2),
                            v = normals(kv_count(whole), 3);
  const Result full = attention(q, k, v, whole);
  std::vector<double> last_q(2 * 12), k_cache(2 * 10 * 6, 1e9),
      v_cache(2 * 10 * 6, 1e9);  // 1e9: must not be read
  for (int b = 0; b < 2; ++b) {
    std::copy_n(&q[(b * 7 + 6) * 12], 12, &last_q[b * 12]);
    std::copy_n(&k[b * 7 * 6], 7 * 6, &k_cache[b * 10 * 6]);
    std::copy_n(&v[b * 7 * 6], 7 * 6, &v_cache[b * 10 * 6]);
  }
  const Result step = attention(last_q, k_cache, v_cache, decode);
  for (int b = 0; b < 2; ++b) {
    for (int i = 0; i < 12; ++i) EXPECT_EQ(step.y[b * 12 + i], full.y[(b * 7 + 6) * 12 + i]);
    for (int h = 0; h < 4; ++h) EXPECT_EQ(step.lse[b * 4 + h], full.lse[(b * 4 + h) * 7 + 6]);
  }
}

// Keys split into chunks: y = Σ_s e^(lse_s − lse) y_s with lse = log Σ_s e^lse_s, wherever the cut lies.
TEST(Attention, ChunksOfKeysCombineThroughTheirLogSumExp) {
  const int64_t Tk = 9, D = 3;
  const AttentionShape whole{.B = 1, .Tq = 2, .Tk = Tk, .H = 1, .K = 1, .D = D, .scale = 2, .causal = false};
  const std::vector<double> q = normals(2 * D, 1), k = normals(Tk * D, 2), v = normals(Tk * D, 3);
  const Result want = attention(q, k, v, whole);
  for (int64_t cut = 1; cut < Tk; ++cut) {
    AttentionShape left = whole, right = whole;
    left.Tk = cut;
    right.Tk = Tk - cut;
    const Result a = attention(q, k, v, left);
    const Result b = attention(q, {k.begin() + cut * D, k.end()}, {v.begin() + cut * D, v.end()}, right);
    for (int i = 0; i < 2; ++i) {
      const double lse = std::log(std::exp(a.lse[i]) + std::exp(b.lse[i]));
      EXPECT_NEAR(lse, want.lse[i], 1e-14 * std::max(1.0, std::abs(lse)));
      for (int64_t d = 0; d < D; ++d) {
        const double y =
            std::exp(a.lse[i] - lse) * a.y[i * D + d] + std::exp(b.lse[i] - lse) * b.y[i * D + d];
        EXPECT_NEAR(y, want.y[i * D + d], 1e-13);
      }
    }
  }
}

// Repeating every key/value head g times turns GQA into MHA with the same result.
TEST(Attention, GroupedHeadsEqualRepeatedHeads) {
  const AttentionShape grouped{.B = 2, .Tq = 4, .Tk = 4, .H = 6, .K = 2, .D = 2, .scale = 0.7f};
  AttentionShape full = grouped;
  full.K = 6;
  const std::vector<double> q = normals(q_count(grouped), 1), k = normals(kv_count(grouped), 2),
                            v = normals(kv_count(grouped), 3);
  std::vector<double> k_repeated(kv_count(full)), v_repeated(kv_count(full));
  for (int64_t row = 0; row < 2 * 4; ++row) {
    for (int64_t h = 0; h < 6; ++h) {
      std::copy_n(&k[(row * 2 + h / 3) * 2], 2, &k_repeated[(row * 6 + h) * 2]);
      std::copy_n(&v[(row * 2 + h / 3) * 2], 2, &v_repeated[(row * 6 + h) * 2]);
    }
  }
  EXPECT_EQ(attention(q, k, v, grouped).y, attention(q, k_repeated, v_repeated, full).y);
}

}  // namespace chalk
