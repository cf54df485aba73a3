// AWQ's packings: round trips, AutoAWQ's own files, and what must be refused.

#include "models/io/awq_format.h"

#include <cmath>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/io/safetensors.h"
#include "tests/expect.h"

namespace chalk {
namespace {

// Random codes and zeros; scales with the 11 bits that fp16 keeps.
QuantizedMatrix random_matrix(int64_t rows, int64_t columns, int64_t group_size, uint64_t seed = 1) {
  QuantizedMatrix m = make_quantized_matrix(
      rows, columns, {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = group_size});
  for (size_t k = 0; k < m.codes.size(); ++k) m.codes[k] = uint8_t(random_word(seed, k) % 16);
  for (size_t k = 0; k < m.zeros.size(); ++k) m.zeros[k] = uint8_t(random_word(seed + 1, k) % 16);
  for (size_t k = 0; k < m.scales.size(); ++k)
    m.scales[k] = float(1024 + random_word(seed + 2, k) % 1024) * 0x1p-16f;  // 0.016 … 0.031
  return m;
}

void expect_same(const QuantizedMatrix& got, const QuantizedMatrix& expected) {
  EXPECT_EQ(got.rows, expected.rows);
  EXPECT_EQ(got.columns, expected.columns);
  EXPECT_EQ(got.group_size, expected.group_size);
  EXPECT_EQ(got.codes, expected.codes);
  EXPECT_EQ(got.zeros, expected.zeros);
  EXPECT_EQ(got.scales, expected.scales);
}

TEST(AwqFormatTest, GemmRoundTripIsExact) {
  for (auto [rows, columns, group] : {std::tuple{8, 1, 1}, {16, 20, 4}, {24, 96, 32}, {8, 344, 344}}) {
    const QuantizedMatrix m = random_matrix(rows, columns, group);
    expect_same(unpack_awq_gemm(pack_awq_gemm(m)), m);
  }
}

TEST(AwqFormatTest, V2RoundTripIsExact) {
  for (auto [rows, columns, group] : {std::tuple{4, 64, 64}, {12, 128, 32}, {8, 256, 128}, {4, 320, 320}}) {
    const QuantizedMatrix m = random_matrix(rows, columns, group, 5);
    expect_same(unpack_awq_v2(pack_awq_v2(m)), m);
  }
}

// Both layouts mean the same numbers. v2 computes code · scale + scaled_zero, and fp16 rounds zero · scale to 11 bits: off by
// at most 2⁻¹¹ · 15 · scale.
TEST(AwqFormatTest, BothLayoutsHoldTheSameMatrix) {
  const QuantizedMatrix m = random_matrix(12 * 8, 128, 32, 9);
  const std::vector<float> expected = dequantize(m);
  EXPECT_EQ(dequantize(unpack_awq_gemm(pack_awq_gemm(m))), expected);
  const AwqV2 v2 = pack_awq_v2(m);
  EXPECT_EQ(dequantize(unpack_awq_v2(v2)), expected);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const size_t cell = size_t(column / 32 * m.rows + row), k = size_t(row * m.columns + column);
      const float scale = half_to_float(v2.scales[cell]);
      const float as_the_kernel_does = float(m.codes[k]) * scale + half_to_float(v2.scaled_zeros[cell]);
      EXPECT_NEAR(as_the_kernel_does, expected[k], 15 * scale * 0x1p-11);
    }
  }
}

// The v2 order by the sheet's reshapes, written out: (4,4,2) with the first two axes swapped, then runs of 8 as 0 2 4 6 1 3 5 7.
TEST(AwqFormatTest, V2OrderIsTheReshapes) {
  std::vector<int> order;
  for (int b = 0; b < 4; ++b)
    for (int a = 0; a < 4; ++a)
      for (int c = 0; c < 2; ++c) order.push_back(8 * a + 2 * b + c);
  EXPECT_EQ(std::vector<int>(order.begin(), order.begin() + 10),
            (std::vector<int>{0, 1, 8, 9, 16, 17, 24, 25, 2, 3}));
  for (int run = 0; run < 4; ++run) {
    const std::vector<int> eight(order.begin() + 8 * run, order.begin() + 8 * run + 8);
    const int pick[] = {0, 2, 4, 6, 1, 3, 5, 7};
    for (int i = 0; i < 8; ++i) order[size_t(8 * run + i)] = eight[size_t(pick[i])];
  }
  for (int position = 0; position < 32; ++position) {
    const PackedPlace place = awq_v2_place(0, order[size_t(position)]);
    EXPECT_EQ(place.word_column * 4 + place.nibble, position);
  }
  EXPECT_EQ(awq_v2_place(6, 64).word_row, 1);
  EXPECT_EQ(awq_v2_place(6, 64).word_column, (1 * 4 + 2) * 16);  // second 64 inputs, third row of the four
}

TEST(AwqFormatTest, GemmOrderIsTheSheets) {
  const int order[] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble n holds output 8c + order[n]
  for (int n = 0; n < 8; ++n) {
    const PackedPlace place = awq_gemm_place(16 + order[n], 5);
    EXPECT_EQ(place.nibble, n);
    EXPECT_EQ(place.word_row, 5);
    EXPECT_EQ(place.word_column, 2);
  }
}

template <class Word>
std::vector<Word> words_of(const ArrayView& array) {
  const auto* first = reinterpret_cast<const Word*>(array.bytes.data());
  return {first, first + array.bytes.size() / sizeof(Word)};
}

// tests/reference/make_awq_fixtures.py packed these with AutoAWQ's WQLinear_GEMM and WQLinear_GEMVFast.
TEST(AwqFormatTest, EqualsWhatAutoAwqPacks) {
  const Safetensors file = read_safetensors("tests/fixtures/awq/packing.safetensors");
  QuantizedMatrix m = random_matrix(32, 128, 32);
  m.codes = words_of<uint8_t>(file.at("codes"));
  m.zeros = words_of<uint8_t>(file.at("zeros"));
  m.scales = to_floats(file.at("scales"));
  const AwqGemm gemm = pack_awq_gemm(m);
  EXPECT_EQ(gemm.qweight, words_of<int32_t>(file.at("gemm.qweight")));
  EXPECT_EQ(gemm.qzeros, words_of<int32_t>(file.at("gemm.qzeros")));
  EXPECT_EQ(gemm.scales, words_of<uint16_t>(file.at("gemm.scales")));
  const AwqV2 v2 = pack_awq_v2(m);
  EXPECT_EQ(v2.qweight, words_of<int16_t>(file.at("v2.qweight")));
  EXPECT_EQ(v2.scales, words_of<uint16_t>(file.at("v2.scales")));
  // A zero of 0 is −0 in AutoAWQ's file and +0 · scale here or there: compare the numbers.
  const std::vector<uint16_t> theirs = words_of<uint16_t>(file.at("v2.scaled_zeros"));
  ASSERT_EQ(v2.scaled_zeros.size(), theirs.size());
  for (size_t k = 0; k < theirs.size(); ++k)
    EXPECT_EQ(half_to_float(v2.scaled_zeros[k]), half_to_float(theirs[k]));
}

TEST(AwqFormatTest, WhatDoesNotFitIsRefused) {
  EXPECT_MENTIONS(error_text([] { pack_awq_gemm(random_matrix(12, 8, 8)); }), "out = 12 is no multiple of 8");
  EXPECT_MENTIONS(error_text([] { pack_awq_gemm(random_matrix(8, 20, 8)); }),
                  "groups of 8 do not divide in = 20");
  EXPECT_MENTIONS(error_text([] { pack_awq_v2(random_matrix(8, 96, 32)); }), "in = 96 is no multiple of 64");
  EXPECT_MENTIONS(error_text([] { pack_awq_v2(random_matrix(8, 64, 16)); }),
                  "groups of 32, 64 and from 128 on");
  QuantizedMatrix three = make_quantized_matrix(8, 8, {.bits = 3, .grid = Grid::AwqAsymmetric});
  EXPECT_MENTIONS(error_text([&] { pack_awq_gemm(three); }), "3 bits");
  QuantizedMatrix shuffled = random_matrix(8, 8, 4);
  shuffled.group_of = {0, 1, 0, 1, 0, 1, 0, 1};
  EXPECT_MENTIONS(error_text([&] { pack_awq_gemm(shuffled); }), "runs of inputs");
}

// Arrays whose sizes lie, and numbers that are none.
TEST(AwqFormatTest, HostileArraysAreRefused) {
  const AwqGemm good = pack_awq_gemm(random_matrix(16, 32, 16));
  AwqGemm bad = good;
  bad.qweight.pop_back();
  EXPECT_MENTIONS(error_text([&] { unpack_awq_gemm(bad); }), "qweight has 63 numbers, expected 64");
  bad = good, bad.qzeros.push_back(0);
  EXPECT_MENTIONS(error_text([&] { unpack_awq_gemm(bad); }), "qzeros");
  bad = good, bad.scales[3] = 0x7c00;
  EXPECT_MENTIONS(error_text([&] { unpack_awq_gemm(bad); }), "scales holds inf");
  bad = good, bad.group_size = 0;
  EXPECT_MENTIONS(error_text([&] { unpack_awq_gemm(bad); }), "groups of 0");
  bad = good, bad.rows = -8;
  EXPECT_MENTIONS(error_text([&] { unpack_awq_gemm(bad); }), "(-8, 32)");
  AwqV2 v2 = pack_awq_v2(random_matrix(8, 64, 32));
  v2.scaled_zeros[0] = float_to_half(1);  // a negative zero
  EXPECT_MENTIONS(error_text([&] { unpack_awq_v2(v2); }), "outside 0 … 15");
}

TEST(AwqFormatTest, ScalesAreRoundedBeforeTheCodes) {
  std::vector<float> w(64);
  for (size_t k = 0; k < w.size(); ++k) w[k] = random_normal(3, k);
  QuantizedMatrix m =
      round_to_nearest(w.data(), 8, 8, {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = 4});
  round_scales_to_half(m, w);
  for (float scale : m.scales) EXPECT_EQ(scale, half_to_float(float_to_half(scale)));
  EXPECT_EQ(dequantize(unpack_awq_gemm(pack_awq_gemm(m))), dequantize(m));
  for (size_t k = 0; k < w.size(); ++k) {
    const Scale grid{.scale = m.scales[k / 4], .zero = m.zeros[k / 4], .maximum = 15};
    EXPECT_EQ(m.codes[k], encode(w[k], grid));
  }
}

// The text names the word that really changes when the code does.
TEST(AwqFormatTest, ExplainNamesTheWord) {
  const std::string text = explain_packing(13, 70, 16, 128, 32);
  EXPECT_MENTIONS(text, "AutoAWQ    qweight int32 (128, 2)");
  EXPECT_MENTIONS(text, "word [70, 1]  nibble 6");  // 13 = 8 + 5, and output 5 sits in nibble 6
  EXPECT_MENTIONS(text, "word [2, 1]  nibble 6");   // its zero: group 2
  EXPECT_MENTIONS(text, "word [8, 13]  nibble 6");  // GPTQ: 70 = 8·8 + 6
  QuantizedMatrix m = random_matrix(16, 128, 32);
  m.codes.assign(m.codes.size(), 0);
  m.codes[13 * 128 + 70] = 15;
  const AwqV2 v2 = pack_awq_v2(m);
  for (int64_t word = 0; word < int64_t(v2.qweight.size()); ++word) {
    if (v2.qweight[size_t(word)] == 0) continue;
    const PackedPlace place = awq_v2_place(13, 70);
    EXPECT_EQ(word, place.word_row * 128 + place.word_column);
    EXPECT_EQ(uint16_t(v2.qweight[size_t(word)]), 15 << place.shift());
    EXPECT_MENTIONS(text,
                    fmt::format("word [{}, {}]  nibble {}", place.word_row, place.word_column, place.nibble));
  }
  EXPECT_MENTIONS(error_text([] { explain_packing(16, 0, 16, 128, 32); }), "no weight (16, 0)");
  EXPECT_MENTIONS(error_text([] { explain_packing(0, 0, 16, 128, 48); }), "groups of 48");
}

}  // namespace
}  // namespace chalk
