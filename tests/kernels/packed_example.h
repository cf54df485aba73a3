#pragma once
// A random weight in the packed layout of kernels/group_quant_matmul.h, with the readable values beside it.

#include <algorithm>
#include <numeric>
#include <vector>

#include "kernels/group_quant_matmul.h"
#include "kernels/philox.h"

namespace chalk::test {

struct PackedExample {
  // Groups of group_size inputs (≤ 0: one group). shuffled: inputs are dealt to the groups at random. zeros: one per group.
  PackedExample(int64_t N, int64_t K, int bits, int64_t group_size, bool shuffled, bool has_zeros,
                float unit = 1) {
    const int64_t size = group_size > 0 ? std::min(group_size, K) : K;
    w.N = N, w.K = K, w.bits = bits, w.unit = unit;
    w.groups = (K + size - 1) / size;
    w.stride = group_positions(size, bits);
    w.zero = 1 << (bits - 1);
    std::vector<int32_t> input(static_cast<size_t>(K));  // in the order in which they are dealt
    std::iota(input.begin(), input.end(), 0);
    for (int64_t k = 0; shuffled && k < K; ++k)
      std::swap(input[k], input[random_word(3, uint64_t(k)) % uint64_t(K)]);

    input_of.assign(size_t(w.positions()), -1);
    for (int64_t k = 0; k < K; ++k) input_of[size_t(k / size * w.stride + k % size)] = input[size_t(k)];
    codes.resize(size_t(N * w.row_bytes()));
    values.resize(size_t(N * K));
    for (int64_t i = 0; i < N * w.groups; ++i) {
      scales.push_back(float_to_half(0.01f + 0.1f * random_uniform(5, uint64_t(i))));
      zeros.push_back(uint8_t(random_word(6, uint64_t(i)) % (1u << bits)));
    }
    for (int64_t n = 0; n < N; ++n) {
      for (int64_t p = 0; p < w.positions(); ++p) {
        if (input_of[size_t(p)] < 0) continue;
        const auto code = int32_t(random_word(7, uint64_t(n * w.positions() + p)) % (1u << bits));
        put_code(codes.data() + n * w.row_bytes(), bits, p, code);
        const size_t g = size_t(n * w.groups + p / w.stride);
        values[size_t(n * K + input_of[size_t(p)])] =
            unit * half_to_float(scales[g]) * float(code - (has_zeros ? zeros[g] : w.zero));
      }
    }
    w.codes = codes.data();
    w.scales = scales.data();
    w.zeros = has_zeros ? zeros.data() : nullptr;
    w.input_of = shuffled || w.stride != size ? input_of.data() : nullptr;
  }
  PackedExample(const PackedExample&) = delete;

  GroupQuantWeight w;
  std::vector<float> values;  // (N, K)
  std::vector<uint8_t> codes, zeros;
  std::vector<uint16_t> scales;
  std::vector<int32_t> input_of;
};

}  // namespace chalk::test
