#pragma once
// Comparing many numbers at once: EXPECT_TRUE(all_near(got, expected, tolerance)) names the worst place.
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "autograd/tensor.h"

namespace chalk {

// |got − expected| ≤ tolerance everywhere; a NaN on either side fails.
inline testing::AssertionResult all_near(const std::vector<float>& got, const std::vector<float>& expected,
                                         double tolerance) {
  if (got.size() != expected.size())
    return testing::AssertionFailure() << got.size() << " numbers, expected " << expected.size();
  double worst = 0;
  size_t place = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(double(got[i]) - double(expected[i]));
    if (!std::isnan(worst) && !(difference <= worst)) worst = difference, place = i;
  }
  if (worst <= tolerance) return testing::AssertionSuccess() << "worst difference " << worst;
  return testing::AssertionFailure() << "at index " << place << ": got " << got[place] << ", expected "
                                     << expected[place] << ", difference " << worst << " > " << tolerance;
}

inline testing::AssertionResult all_near(const Tensor& got, const Tensor& expected, double tolerance) {
  if (got.shape != expected.shape)
    return testing::AssertionFailure() << to_string(got.shape) << ", expected " << to_string(expected.shape);
  return all_near(got.to_vector(), expected.to_vector(), tolerance);
}

// The message of the Error that `action` must throw.
template <class Action>
std::string error_text(Action action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  ADD_FAILURE() << "accepted what it should refuse";
  return "";
}

#define EXPECT_MENTIONS(text, part) EXPECT_NE(std::string(text).find(part), std::string::npos) << (text)

// The two backends that exist everywhere: a test suite runs on both.
inline std::string device_test_name(const testing::TestParamInfo<Device>& info) {
  return device_name(info.param);
}

}  // namespace chalk
