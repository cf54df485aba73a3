// Philox: the known answer of its authors, ranges and moments.

#include "kernels/philox.h"

#include <gtest/gtest.h>

#include "tests/complex_step.h"

namespace chalk {
using namespace chalk::test;

// Random123's known-answer vector for counter 0, key 0.
TEST(Philox, MatchesTheKnownAnswer) {
  const std::array<uint32_t, 4> want = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
  EXPECT_EQ(philox(0, 0), want);
}

TEST(Philox, WordsAreTheFourLanesInOrder) {
  for (uint64_t i = 0; i < 16; ++i) EXPECT_EQ(random_word(42, i), philox(42, i / 4)[i % 4]);
}

TEST(Philox, UniformsAndNormalsHaveTheirMoments) {
  const int count = 100000;
  double uniform_sum = 0, normal_sum = 0, normal_squares = 0;
  for (int i = 0; i < count; ++i) {
    const float u = random_uniform(3, uint64_t(i));
    const double z = random_normal(3, uint64_t(i));
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    uniform_sum += u;
    normal_sum += z;
    normal_squares += z * z;
  }
  // Five standard errors: 1/√12 for a uniform, 1 for a normal, √2 for its square, each over √count.
  const double root = std::sqrt(double(count));
  EXPECT_NEAR(uniform_sum / count, 0.5, 5 * std::sqrt(1.0 / 12) / root);
  EXPECT_NEAR(normal_sum / count, 0, 5 / root);
  EXPECT_NEAR(normal_squares / count, 1, 5 * std::sqrt(2.0) / root);
}

TEST(Philox, DerivedSeedsDiffer) {
  EXPECT_NE(derive_seed(1, 0), derive_seed(1, 1));
  EXPECT_NE(derive_seed(1, 0), derive_seed(2, 0));
}

}  // namespace chalk
