#pragma once
// How the cuda kernels are tested against the plain ones, on cusim or on a GPU: same inputs, same starting values of the
// outputs, every output inside a derived tolerance, guard numbers around each output untouched, the same bits when run again.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "kernels/memory.h"
#include "kernels/philox.h"

namespace chalk::test {

inline constexpr double eps =
    std::numeric_limits<float>::epsilon();  // 2⁻²³; one rounding errs by at most eps/2

// `count` normal numbers, once for the host and once on the device, with guards on both sides there.
struct Both {
  explicit Both(int64_t count, uint64_t seed = 1, float scale = 1) : host(size_t(count)) {
    for (size_t i = 0; i < host.size(); ++i) host[i] = scale * random_normal(seed, i);
    block = static_cast<float*>(allocate_memory(bytes(), Device::CUDA));
    upload();
  }
  ~Both() { release_memory(block, bytes(), Device::CUDA); }
  Both(const Both&) = delete;

  float* device() const { return block + guard; }
  void upload() {  // after a change of `host`
    std::vector<float> all(host.size() + 2 * guard, guard_value);
    std::copy(host.begin(), host.end(), all.begin() + guard);
    copy_memory(block, Device::CUDA, all.data(), Device::CPU, bytes());
  }
  std::vector<float> download() const {
    std::vector<float> all(host.size() + 2 * guard);
    copy_memory(all.data(), Device::CPU, block, Device::CUDA, bytes());
    for (size_t i = 0; i < guard; ++i) {
      EXPECT_EQ(all[i], guard_value) << "written before the array";
      EXPECT_EQ(all[all.size() - 1 - i], guard_value) << "written behind the array";
    }
    return {all.begin() + guard, all.end() - guard};
  }
  int64_t bytes() const { return int64_t((host.size() + 2 * guard) * sizeof(float)); }

  static constexpr size_t guard = 16;
  static constexpr float guard_value = 12345.0f;
  std::vector<float> host;
  float* block = nullptr;
};

// Inputs that are no floats, on both sides: token ids, packed codes.
template <class T>
struct OnBoth {
  explicit OnBoth(std::vector<T> values) : host(std::move(values)) {
    block = static_cast<T*>(allocate_memory(bytes(), Device::CUDA));
    copy_memory(block, Device::CUDA, host.data(), Device::CPU, bytes());
  }
  ~OnBoth() { release_memory(block, bytes(), Device::CUDA); }
  OnBoth(const OnBoth&) = delete;
  int64_t bytes() const { return int64_t(host.size() * sizeof(T)); }
  std::vector<T> host;
  T* block = nullptr;
};
using BothIds = OnBoth<int32_t>;

inline double largest(const std::vector<float>& x) {
  double largest = 0;
  for (float v : x) largest = std::max(largest, std::abs(double(v)));
  return largest;
}

// Runs the cuda kernel twice and the plain one once, from the same starting values. tolerance(o, i, expected): allowed
// |cuda − plain| at number i of output o.
inline void expect_same(const std::vector<Both*>& outputs, const std::function<void()>& cuda,
                        const std::function<void()>& plain,
                        const std::function<double(size_t output, int64_t i, double expected)>& tolerance,
                        const std::string& what) {
  std::vector<std::vector<float>> first;
  for (int time = 0; time < 2; ++time) {
    for (Both* o : outputs) o->upload();
    cuda();
    for (size_t o = 0; o < outputs.size(); ++o) {
      const std::vector<float> got = outputs[o]->download();
      if (time == 0) first.push_back(got);
      ASSERT_EQ(0, got.empty() ? 0 : std::memcmp(got.data(), first[o].data(), got.size() * sizeof(float)))
          << what << ": output " << o << " differs when the kernel runs again";
    }
  }
  plain();
  for (size_t o = 0; o < outputs.size(); ++o) {
    for (size_t i = 0; i < first[o].size(); ++i) {
      const double want = outputs[o]->host[i], got = first[o][i];
      if (got == want || (std::isnan(got) && std::isnan(want))) continue;  // also ∞ = ∞
      ASSERT_LE(std::abs(got - want), tolerance(o, int64_t(i), want))
          << what << ": output " << o << " number " << i << " is " << got << ", plain gives " << want;
    }
  }
}

}  // namespace chalk::test
