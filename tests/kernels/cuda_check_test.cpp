// The checker of the cuda kernels' tests must itself be able to fail: each planted error here is one that it has to report.

#include "tests/kernels/cuda_check.h"

#include <gtest/gtest-spi.h>

namespace chalk {
namespace {
using test::Both;
using test::expect_same;

void write(const Both& y, int64_t offset, const std::vector<float>& values) {
  copy_memory(y.device() + offset, Device::CUDA, values.data(), Device::CPU,
              int64_t(values.size() * sizeof(float)));
}

// Plain gives 1, 2, 3; "cuda" writes `values`, all of them larger by `drift` each time it runs. The tolerance is 1/4.
void check(const std::vector<float>& values, float drift = 0) {
  Both y(3);
  int runs = 0;
  const auto cuda = [&] {
    std::vector<float> shifted = values;
    for (float& v : shifted) v += drift * float(runs);
    runs += 1;
    write(y, 0, shifted);
  };
  const auto plain = [&] { y.host = {1, 2, 3}; };
  expect_same(
      {&y}, cuda, plain, [](size_t, int64_t, double) { return 0.25; }, "planted");
}

void write_and_download(int64_t offset) {
  Both y(3);
  write(y, offset, {1, 2, 3});
  y.download();
}

TEST(CudaCheck, AcceptsWhatLiesInsideTheTolerance) {
  check({1, 2, 3});
  check({1.25f, 2, 2.75f});
}

TEST(CudaCheck, ReportsAWrongNumber) {
  EXPECT_FATAL_FAILURE(check({1.3f, 2, 3}), "output 0 number 0");
  EXPECT_FATAL_FAILURE(check({1, 2, NAN}), "output 0 number 2");
}

TEST(CudaCheck, ReportsANumberThatWasNotWritten) {
  EXPECT_FATAL_FAILURE(check({1, 2}), "output 0 number 2");
}

TEST(CudaCheck, ReportsAKernelThatGivesOtherBitsWhenRunAgain) {
  EXPECT_FATAL_FAILURE(check({1, 2, 3}, 0.125f), "differs when the kernel runs again");
}

TEST(CudaCheck, ReportsWritesOutsideTheArray) {
  EXPECT_NONFATAL_FAILURE(write_and_download(-1), "written before the array");
  EXPECT_NONFATAL_FAILURE(write_and_download(1), "written behind the array");
}

}  // namespace
}  // namespace chalk
