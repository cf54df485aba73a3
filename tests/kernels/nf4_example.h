#pragma once
// A random weight for the kernels of kernels/nf4_matmul.h.

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/nf4_matmul.h"
#include "kernels/philox.h"

namespace chalk::test {

// A weight of random codes; doubly quantized ones get random second-level constants.
struct NF4Example {
  NF4Weight view;
  std::vector<uint8_t> codes, absmax_codes;
  std::vector<float> book, absmax, absmax_scales, map;

  NF4Example(int64_t out, int64_t in, int64_t block, bool doubly, uint64_t seed = 1) {
    const int64_t blocks = (out * in + block - 1) / block,
                  absmax_block = 3;  // small: several second-level blocks
    auto byte = [&](int64_t i) { return uint8_t(random_word(seed, uint64_t(i))); };
    auto normal = [&](int64_t i) { return random_normal(seed + 1, uint64_t(i)); };
    for (int64_t i = 0; i < (out * in + 1) / 2; ++i) codes.push_back(byte(i));
    for (int64_t i = 0; i < 16; ++i) book.push_back(normal(i));
    for (int64_t i = 0; i < 256; ++i) map.push_back(normal(100 + i));
    for (int64_t k = 0; k < blocks; ++k) {
      absmax.push_back(std::abs(normal(1000 + k)));
      absmax_codes.push_back(byte(100000 + k));
    }
    for (int64_t k = 0; k * absmax_block < blocks; ++k) absmax_scales.push_back(normal(5000 + k));
    view = {.out = out, .in = in, .block = block, .codes = codes.data(), .book = book.data()};
    if (!doubly) {
      view.absmax = absmax.data();
    } else {
      view.absmax_codes = absmax_codes.data(), view.absmax_scales = absmax_scales.data(),
      view.map = map.data();
      view.absmax_block = absmax_block, view.absmax_mean = 0.7f;
    }
  }
  double largest_number() const {
    double largest_scale = 0;
    for (size_t k = 0; k < absmax.size(); ++k) {
      largest_scale = std::max(largest_scale, std::abs(double(nf4_scale(view, int64_t(k)))));
    }
    double largest_number = 0;
    for (float v : book) largest_number = std::max(largest_number, std::abs(double(v)));
    return largest_scale * largest_number;
  }
};

}  // namespace chalk::test
