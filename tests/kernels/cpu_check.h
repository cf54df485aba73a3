#pragma once
// How the cpu kernels are tested against the plain ones: same inputs, same starting values of the outputs,
// every output inside a derived tolerance, guard numbers around each output untouched, and the same bits with
// 1, 2 and 3 threads.

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "kernels/cpu/simd.h"
#include "kernels/philox.h"

namespace chalk::test {

inline constexpr double eps =
    std::numeric_limits<float>::epsilon();  // 2⁻²³; one rounding errs by at most eps/2

// `count` normal numbers, `misalignment` floats after a 64-byte boundary, with guards on both sides.
struct Buffer {
  Buffer(int64_t count, int64_t misalignment = 0, uint64_t seed = 1, float scale = 1) : count(count) {
    storage.resize(size_t(count + 2 * guard + 32), guard_value);
    const auto address = reinterpret_cast<uintptr_t>(storage.data());
    const int64_t to_boundary = int64_t((64 - address % 64) % 64 / sizeof(float));
    start = to_boundary + guard + misalignment;
    for (int64_t i = 0; i < count; ++i) data()[i] = scale * random_normal(seed, uint64_t(i));
  }
  float* data() { return storage.data() + start; }
  operator float*() { return data(); }
  std::vector<float> numbers() { return {data(), data() + count}; }
  void set(const std::vector<float>& x) { std::copy(x.begin(), x.end(), data()); }
  bool guards_intact() {
    for (int64_t i = 0; i < int64_t(storage.size()); ++i) {
      const bool inside = i >= start && i < start + count;
      if (!inside && storage[size_t(i)] != guard_value) return false;
    }
    return true;
  }

  static constexpr int64_t guard = 16;
  static constexpr float guard_value = 12345.0f;
  int64_t count, start = 0;
  std::vector<float> storage;
};

// The largest |x|.
inline double largest(const std::vector<float>& x) {
  double largest = 0;
  for (float v : x) largest = std::max(largest, std::abs(double(v)));
  return largest;
}

// Runs both kernels on the same outputs. tolerance(o, i): allowed |cpu − plain| at number i of output o,
// given plain's value.
inline void expect_same(const std::vector<Buffer*>& outputs, const std::function<void()>& cpu,
                        const std::function<void()>& plain,
                        const std::function<double(size_t output, int64_t i, double expected)>& tolerance,
                        const std::string& what) {
  std::vector<std::vector<float>> before, expected, first;
  for (Buffer* o : outputs) before.push_back(o->numbers());
  plain();
  for (Buffer* o : outputs) expected.push_back(o->numbers());
  const int most_threads = omp_get_max_threads();
  for (int threads = 1; threads <= 3; ++threads) {
    for (size_t o = 0; o < outputs.size(); ++o) outputs[o]->set(before[o]);
    omp_set_num_threads(threads);
    cpu();
    omp_set_num_threads(most_threads);
    for (size_t o = 0; o < outputs.size(); ++o) {
      const std::vector<float> got = outputs[o]->numbers();
      ASSERT_TRUE(outputs[o]->guards_intact())
          << what << ": output " << o << " was written outside its bounds";
      if (threads == 1) first.push_back(got);
      ASSERT_EQ(0, got.empty() ? 0 : std::memcmp(got.data(), first[o].data(), got.size() * sizeof(float)))
          << what << ": output " << o << " depends on the number of threads";
      for (int64_t i = 0; i < int64_t(got.size()); ++i) {
        const double want = expected[o][size_t(i)], tol = tolerance(o, i, want);
        if (double(got[size_t(i)]) == want) continue;  // also ∞ = ∞
        ASSERT_LE(std::abs(double(got[size_t(i)]) - want), tol)
            << what << ": output " << o << " number " << i << " is " << got[size_t(i)] << ", plain gives "
            << want;
      }
    }
  }
}

// f(count, misalignment) for every length around one and two vectors, three misalignments, and one realistic
// size.
inline void for_each_length(const std::function<void(int64_t, int64_t)>& f) {
  for (int64_t count = 0; count <= 2 * cpu::simd::lanes; ++count) {
    for (int64_t misalignment : {0, 1, 3}) f(count, misalignment);
  }
  f(100003, 1);
}

}  // namespace chalk::test
