// RoPE: the plain backward against complex step, what rotation preserves, and the frequencies of Llama 3.1.

#include "kernels/rope.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

// cos and sin for positions first, first + 1, ... as T = double and as Complex.
template <class T>
struct Tables {
  std::vector<T> cos, sin;
  Tables(int64_t time, int64_t D, int32_t first) {
    std::vector<double> frequencies(D / 2);
    std::vector<int32_t> positions(time);
    for (int64_t t = 0; t < time; ++t) positions[t] = first + int32_t(t);
    std::vector<float> c(time * D / 2), s(time * D / 2);
    rope_frequencies(frequencies.data(), D, 10000, {});
    rope_table(c.data(), s.data(), positions.data(), time, frequencies.data(), D);
    cos.assign(c.begin(), c.end());
    sin.assign(s.begin(), s.end());
  }
};

TEST(RoPE, BackwardMatchesComplexStep) {
  const int64_t shapes[][4] = {{1, 1, 1, 2}, {2, 3, 2, 6}, {1, 4, 3, 8}};
  for (const int64_t* s : shapes) {
    const int64_t B = s[0], time = s[1], H = s[2], D = s[3];
    for (bool interleaved : {false, true}) {
      auto forward = [=](const auto& in) {
        using T = NumberOf<decltype(in)>;
        const Tables<T> table(time, D, 3);
        std::vector<T> y(B * time * H * D);
        plain::rope_forward(y.data(), in[0].data(), table.cos.data(), table.sin.data(), B, time, H, D,
                            interleaved);
        return y;
      };
      auto backward = [=](const Gradients& d, const double* dy, const Inputs&) {
        const Tables<double> table(time, D, 3);
        plain::rope_backward(d[0], dy, table.cos.data(), table.sin.data(), B, time, H, D, interleaved);
      };
      expect_complex_step({normals(B * time * H * D, 1)}, forward, backward);
    }
  }
}

std::vector<double> rotated(const std::vector<double>& x, int32_t position, bool interleaved) {
  const int64_t D = int64_t(x.size());
  const Tables<double> table(1, D, position);
  std::vector<double> y(D);
  plain::rope_forward(y.data(), x.data(), table.cos.data(), table.sin.data(), 1, 1, 1, D, interleaved);
  return y;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// cos² + sin² is 1 up to the rounding of the float table: 2 · 2⁻²⁴ each, so 2⁻²² on a squared length.
TEST(RoPE, KeepsTheLengthOfEveryPair) {
  const int64_t D = 16;
  const std::vector<double> x = normals(D, 1);
  for (bool interleaved : {false, true}) {
    const std::vector<double> y = rotated(x, 12345, interleaved);
    for (int64_t i = 0; i < D / 2; ++i) {
      const int64_t a = interleaved ? 2 * i : i, b = interleaved ? 2 * i + 1 : i + D / 2;
      const double before = x[a] * x[a] + x[b] * x[b], after = y[a] * y[a] + y[b] * y[b];
      EXPECT_NEAR(after, before, before * 0x1p-22);
    }
  }
}

TEST(RoPE, ScoresDependOnTheDistanceOnly) {
  const std::vector<double> q = normals(32, 1), k = normals(32, 2);
  for (bool interleaved : {false, true}) {
    const double score = dot(rotated(q, 11, interleaved), rotated(k, 4, interleaved));
    const double shifted = dot(rotated(q, 18, interleaved), rotated(k, 11, interleaved));
    EXPECT_NEAR(score, shifted, 1e-5);
    const double farther = dot(rotated(q, 12, interleaved), rotated(k, 4, interleaved));
    EXPECT_GT(std::abs(score - farther), 1e-3);
  }
}

// The two layouts are one rotation under a permutation: (2i, 2i + 1) ↔ (i, i + D/2).
TEST(RoPE, LayoutsAgreeAfterPermutation) {
  const int64_t D = 12;
  const std::vector<double> x = normals(D, 1);
  std::vector<double> permuted(D);
  for (int64_t i = 0; i < D / 2; ++i) {
    permuted[i] = x[2 * i];
    permuted[i + D / 2] = x[2 * i + 1];
  }
  const std::vector<double> interleaved = rotated(x, 9, true), half = rotated(permuted, 9, false);
  for (int64_t i = 0; i < D / 2; ++i) {
    EXPECT_EQ(half[i], interleaved[2 * i]);
    EXPECT_EQ(half[i + D / 2], interleaved[2 * i + 1]);
  }
}

TEST(RoPE, Llama3ScalingMatchesThePublishedFrequencies) {
  const int64_t D = 128;
  double plain_f[64], scaled[64];
  rope_frequencies(plain_f, D, 5e5, {});
  rope_frequencies(scaled, D, 5e5, {.type = FrequencyScaling::Type::Llama3, .factor = 8});
  struct Row {
    int i;
    double f, scaled;
  };
  const Row table[] = {
      {28, 3.21144599e-03, 3.21144599e-03}, {29, 2.61609925e-03, 2.16657076e-03},
      {30, 2.13111954e-03, 1.37189357e-03}, {31, 1.73604670e-03, 8.56751413e-04},
      {32, 1.41421356e-03, 5.24846161e-04}, {33, 1.15204274e-03, 3.12693750e-04},
      {34, 9.38473870e-04, 1.78507813e-04}, {35, 7.64496988e-04, 9.55621235e-05},
      {63, 2.45514079e-06, 3.06892599e-07},
  };
  // The table has nine digits: half a unit of the ninth is at most 5e-9 relative.
  for (const Row& row : table) {
    EXPECT_NEAR(plain_f[row.i], row.f, 5e-9 * row.f) << "i = " << row.i;
    EXPECT_NEAR(scaled[row.i], row.scaled, 5e-9 * row.scaled) << "i = " << row.i;
  }
  for (int i = 0; i < 28; ++i) EXPECT_EQ(scaled[i], plain_f[i]);
  for (int i = 35; i < 64; ++i) EXPECT_EQ(scaled[i], plain_f[i] / 8);
}

TEST(RoPE, LinearScalingDividesEveryFrequency) {
  double plain_f[4], scaled[4];
  rope_frequencies(plain_f, 8, 10000, {});
  rope_frequencies(scaled, 8, 10000, {.type = FrequencyScaling::Type::Linear, .factor = 4});
  EXPECT_EQ(plain_f[0], 1);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(scaled[i], plain_f[i] / 4);
}

// A float angle near 131071 rad is off by up to 0.004: the table must come from double angles.
TEST(RoPE, TableIsExactAtLongPositions) {
  const int32_t position = 131071;
  double frequencies[2];
  float cos[2], sin[2];
  rope_frequencies(frequencies, 4, 5e5, {});
  rope_table(cos, sin, &position, 1, frequencies, 4);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(cos[i], float(std::cos(131071.0 * frequencies[i])));
    EXPECT_EQ(sin[i], float(std::sin(131071.0 * frequencies[i])));
  }
}

}  // namespace chalk
