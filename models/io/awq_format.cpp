// Moving codes between the readable order and the two packed ones.

#include "models/io/awq_format.h"

#include <array>
#include <cmath>

#include "autograd/check.h"
#include "models/io/dtype.h"

namespace chalk {

PackedPlace awq_gemm_place(int64_t row, int64_t column) {
  constexpr std::array<int, 8> nibble_of = {0, 4, 1, 5, 2, 6, 3, 7};
  return {.word_row = column, .word_column = row / 8, .nibble = nibble_of[size_t(row % 8)]};
}

PackedPlace awq_v2_place(int64_t row, int64_t column) {
  const int64_t a = column % 32 / 8, b = column % 8 / 2, c = column % 2;
  const int64_t in_64 = column % 64 / 32 * 32 + 8 * b + 4 * c + a;
  // (out/4, in/64, 4, 64): the position among the 4 · in codes of its four rows.
  const int64_t position = (column / 64 * 4 + row % 4) * 64 + in_64;
  return {.word_row = row / 4, .word_column = position / 4, .nibble = int(position % 4)};
}

namespace {

std::string common_obstacle(const QuantizedMatrix& m) {
  if (m.bits != 4) return fmt::format("it has {} bits, the layout 4", m.bits);
  if (!m.group_of.empty()) return "its groups are not runs of inputs";
  if (m.group_size < 1 || m.columns % m.group_size != 0)
    return fmt::format("groups of {} do not divide in = {}", m.group_size, m.columns);
  return "";
}

// Index in row-major (groups, rows) of the scale that QuantizedMatrix keeps at (row, group).
struct GroupCell {
  size_t ours, theirs;
};

template <class Action>
void for_each_group(int64_t rows, int64_t groups, Action action) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t group = 0; group < groups; ++group)
      action(row, group, GroupCell{size_t(row * groups + group), size_t(group * rows + row)});
}

void put(int32_t& word, int shift, uint8_t code) {
  word = int32_t(uint32_t(word) | uint32_t(code) << shift);
}

uint8_t take(int32_t word, int shift) {
  return uint8_t(uint32_t(word) >> shift & 15u);
}

QuantizedMatrix empty_matrix(int64_t rows, int64_t columns, int64_t group_size) {
  check(rows > 0 && columns > 0 && group_size > 0 && columns % group_size == 0,
        "awq: groups of {} do not divide a ({}, {}) matrix", group_size, rows, columns);
  return make_quantized_matrix(rows, columns,
                               {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = group_size});
}

void check_count(const char* array, size_t got, int64_t expected) {
  check(int64_t(got) == expected, "awq: {} has {} numbers, expected {}", array, got, expected);
}

float finite_half(const char* array, uint16_t half) {
  const float value = half_to_float(half);
  check(std::isfinite(value), "awq: {} holds {}", array, value);
  return value;
}

}  // namespace

std::string awq_gemm_obstacle(const QuantizedMatrix& m) {
  const std::string common = common_obstacle(m);
  if (!common.empty()) return common;
  return m.rows % 8 != 0 ? fmt::format("out = {} is no multiple of 8", m.rows) : "";
}

std::string awq_v2_obstacle(const QuantizedMatrix& m) {
  const std::string common = common_obstacle(m);
  if (!common.empty()) return common;
  if (m.rows % 4 != 0) return fmt::format("out = {} is no multiple of 4", m.rows);
  if (m.columns % 64 != 0) return fmt::format("in = {} is no multiple of 64", m.columns);
  if (m.group_size < 128 && m.group_size != 64 && m.group_size != 32)
    return fmt::format("the kernel knows groups of 32, 64 and from 128 on, not of {}", m.group_size);
  return "";
}

// ---- gemm ----

AwqGemm pack_awq_gemm(const QuantizedMatrix& m) {
  const std::string obstacle = awq_gemm_obstacle(m);
  if (!obstacle.empty()) throw UsageError("AWQ's gemm layout cannot hold this matrix: " + obstacle);
  const int64_t groups = m.groups(), words = m.rows / 8;
  AwqGemm packed{.rows = m.rows,
                 .columns = m.columns,
                 .group_size = m.group_size,
                 .qweight = {},
                 .qzeros = {},
                 .scales = {}};
  packed.qweight.assign(size_t(m.columns * words), 0);
  packed.qzeros.assign(size_t(groups * words), 0);
  packed.scales.resize(size_t(groups * m.rows));
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const PackedPlace place = awq_gemm_place(row, column);
      put(packed.qweight[size_t(place.word_row * words + place.word_column)], place.shift(),
          m.codes[size_t(row * m.columns + column)]);
    }
  }
  for_each_group(m.rows, groups, [&](int64_t row, int64_t group, GroupCell cell) {
    const PackedPlace place = awq_gemm_place(row, group);  // a row of zeros is packed like a row of codes
    put(packed.qzeros[size_t(place.word_row * words + place.word_column)], place.shift(), m.zeros[cell.ours]);
    packed.scales[cell.theirs] = float_to_half(m.scales[cell.ours]);
  });
  return packed;
}

QuantizedMatrix unpack_awq_gemm(const AwqGemm& packed) {
  QuantizedMatrix m = empty_matrix(packed.rows, packed.columns, packed.group_size);
  check(m.rows % 8 == 0, "awq: out = {} is no multiple of 8", m.rows);
  const int64_t groups = m.groups(), words = m.rows / 8;
  check_count("qweight", packed.qweight.size(), m.columns * words);
  check_count("qzeros", packed.qzeros.size(), groups * words);
  check_count("scales", packed.scales.size(), groups * m.rows);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const PackedPlace place = awq_gemm_place(row, column);
      m.codes[size_t(row * m.columns + column)] =
          take(packed.qweight[size_t(place.word_row * words + place.word_column)], place.shift());
    }
  }
  for_each_group(m.rows, groups, [&](int64_t row, int64_t group, GroupCell cell) {
    const PackedPlace place = awq_gemm_place(row, group);
    m.zeros[cell.ours] =
        take(packed.qzeros[size_t(place.word_row * words + place.word_column)], place.shift());
    m.scales[cell.ours] = finite_half("scales", packed.scales[cell.theirs]);
  });
  return m;
}

// ---- llm-awq v2 ----

int64_t AwqV2::padded_groups() const {
  const int64_t multiple = group_size >= 128 ? 1 : group_size == 64 ? 2 : 4;
  const int64_t eights = (columns / group_size + 7) / 8;
  return 8 * ((eights + multiple - 1) / multiple * multiple);
}

AwqV2 pack_awq_v2(const QuantizedMatrix& m) {
  const std::string obstacle = awq_v2_obstacle(m);
  if (!obstacle.empty()) throw UsageError("llm-awq's layout cannot hold this matrix: " + obstacle);
  AwqV2 packed{.rows = m.rows,
               .columns = m.columns,
               .group_size = m.group_size,
               .qweight = {},
               .scales = {},
               .scaled_zeros = {}};
  packed.qweight.assign(size_t(m.rows / 4 * m.columns), 0);
  packed.scales.assign(size_t(packed.padded_groups() * m.rows), 0);
  packed.scaled_zeros = packed.scales;
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const PackedPlace place = awq_v2_place(row, column);
      int16_t& word = packed.qweight[size_t(place.word_row * m.columns + place.word_column)];
      word = int16_t(uint16_t(uint16_t(word) | m.codes[size_t(row * m.columns + column)] << place.shift()));
    }
  }
  for_each_group(m.rows, m.groups(), [&](int64_t, int64_t, GroupCell cell) {
    packed.scales[cell.theirs] = float_to_half(m.scales[cell.ours]);
    const float stored_scale = half_to_float(packed.scales[cell.theirs]);
    packed.scaled_zeros[cell.theirs] = float_to_half(-float(m.zeros[cell.ours]) * stored_scale);
  });
  return packed;
}

QuantizedMatrix unpack_awq_v2(const AwqV2& packed) {
  QuantizedMatrix m = empty_matrix(packed.rows, packed.columns, packed.group_size);
  const std::string obstacle = awq_v2_obstacle(m);
  check(obstacle.empty(), "llm-awq layout: {}", obstacle);
  check_count("qweight", packed.qweight.size(), m.rows / 4 * m.columns);
  check_count("scales", packed.scales.size(), packed.padded_groups() * m.rows);
  check_count("scaled_zeros", packed.scaled_zeros.size(), packed.padded_groups() * m.rows);
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const PackedPlace place = awq_v2_place(row, column);
      const int16_t word = packed.qweight[size_t(place.word_row * m.columns + place.word_column)];
      m.codes[size_t(row * m.columns + column)] = uint8_t(uint16_t(word) >> place.shift() & 15u);
    }
  }
  for_each_group(m.rows, m.groups(), [&](int64_t, int64_t, GroupCell cell) {
    const float scale = finite_half("scales", packed.scales[cell.theirs]);
    const float scaled_zero = finite_half("scaled_zeros", packed.scaled_zeros[cell.theirs]);
    // fp16 keeps 11 bits of zero · scale, so the quotient is within 2⁻¹⁰ · 15 of the whole number that it was.
    const float zero = scale == 0 ? 0 : std::nearbyint(-scaled_zero / scale);
    check(zero >= 0 && zero <= 15, "awq: scaled_zeros says zero {}, outside 0 … 15", zero);
    m.scales[cell.ours] = scale;
    m.zeros[cell.ours] = uint8_t(zero);
  });
  return m;
}

// ---- scales as files hold them, and the explanation ----

void round_scales_to_half(QuantizedMatrix& m, const std::vector<float>& weight) {
  check(int64_t(weight.size()) == m.rows * m.columns, "awq: {} weights for a ({}, {}) matrix", weight.size(),
        m.rows, m.columns);
  const int64_t groups = m.groups();
  for (float& scale : m.scales) {
    const float half = half_to_float(float_to_half(scale));
    check(half > 0 && std::isfinite(half), "awq: scale {} does not fit fp16", scale);
    scale = half;
  }
  for (int64_t row = 0; row < m.rows; ++row) {
    for (int64_t column = 0; column < m.columns; ++column) {
      const size_t cell = size_t(row * groups + m.group(column)), k = size_t(row * m.columns + column);
      const Scale grid{.scale = m.scales[cell], .zero = m.zeros[cell], .maximum = (1 << m.bits) - 1};
      m.codes[k] = uint8_t(encode(weight[k], grid));
    }
  }
}

std::string explain_packing(int64_t row, int64_t column, int64_t rows, int64_t columns, int64_t group_size) {
  if (row < 0 || row >= rows || column < 0 || column >= columns)
    throw UsageError(
        fmt::format("there is no weight ({}, {}) in a ({}, {}) matrix", row, column, rows, columns));
  if (group_size < 1 || columns % group_size != 0)
    throw UsageError(fmt::format("groups of {} do not divide {} inputs", group_size, columns));
  const int64_t group = column / group_size;
  const auto line = [](const char* layout, const std::string& array, const PackedPlace& p) {
    return fmt::format("  {:<10} {:<28} word [{}, {}]  nibble {}  code = word >> {} & 15\n", layout, array,
                       p.word_row, p.word_column, p.nibble, p.shift());
  };
  std::string text = fmt::format("weight ({}, {}) = (output, input) of ({}, {}), group {} of {} inputs\n",
                                 row, column, rows, columns, group, group_size);
  const int64_t words = (rows + 7) / 8;
  text += line("AutoAWQ", fmt::format("qweight int32 ({}, {})", columns, words), awq_gemm_place(row, column));
  text += line("", fmt::format("qzeros  int32 ({}, {})", columns / group_size, words),
               awq_gemm_place(row, group));
  text += fmt::format("  {:<10} {:<28} [{}, {}]\n", "",
                      fmt::format("scales  fp16  ({}, {})", columns / group_size, rows), group, row);
  text += rows % 4 == 0 && columns % 64 == 0
              ? line("llm-awq v2", fmt::format("qweight int16 ({}, {})", rows / 4, columns),
                     awq_v2_place(row, column))
              : fmt::format("  {:<10} needs out in fours and in in 64s\n", "llm-awq v2");
  // GPTQ packs along the inputs, in plain order.
  text += line("GPTQ", fmt::format("qweight int32 ({}, {})", (columns + 7) / 8, rows),
               {.word_row = column / 8, .word_column = row, .nibble = int(column % 8)});
  return text;
}

}  // namespace chalk
