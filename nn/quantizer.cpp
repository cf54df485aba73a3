// The grids of quantizer.h, rounding to them, and what the result costs.

#include "nn/quantizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/check.h"
#include "kernels/cpu/parallel.h"

namespace chalk {
namespace {

// Half of the largest float: twice a weight is still a float. The comparison is false for NaN as well.
constexpr float largest_weight = std::numeric_limits<float>::max() / 2;

struct Range {
  double low, high;
};

void check_options(const QuantizerOptions& options) {
  const int least = options.grid == Grid::AbsMax ? 2 : 1;
  if (options.bits < least || options.bits > 8) {
    throw UsageError(fmt::format("quantizer: {} bits asked for; grid {} has {} to 8", options.bits,
                                 grid_name(options.grid), least));
  }
  if (options.group_size < -1) {
    throw UsageError(fmt::format(
        "quantizer: group size {}; use a positive one, -1 for rows or 0 for the matrix", options.group_size));
  }
  const bool search_ok = options.mse_steps > 0 && options.mse_norm > 0 && options.mse_max_shrink > 0 &&
                         options.mse_max_shrink <= 1;
  if (options.mse_search && !search_ok) {
    throw UsageError("quantizer: the MSE search needs steps > 0, norm > 0 and 0 < largest shrink <= 1");
  }
}

Range range_of(const float* x, int64_t n) {
  Range range{std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity()};
  for (int64_t i = 0; i < n; ++i) {
    check(std::abs(x[i]) <= largest_weight, "quantizer: value {} of the {} that share a scale is {}", i, n,
          x[i]);
    range.low = std::min(range.low, double(x[i]));
    range.high = std::max(range.high, double(x[i]));
  }
  return n > 0 ? range : Range{0, 0};
}

// What each grid makes of the values' range before it is cut into steps.
Range grid_range(Range x, Grid grid) {
  switch (grid) {
    case Grid::AbsMax: {
      const double largest = std::max({std::abs(x.low), std::abs(x.high), 1e-5});  // SmoothQuant's floor
      return {-largest, largest};
    }
    case Grid::AwqAsymmetric:
      return x;  // need not contain 0
    default: {
      Range r{std::min(x.low, 0.0), std::max(x.high, 0.0)};
      if (grid == Grid::GptqSymmetric) {
        r.high = std::max(-r.low, r.high);
        // As in the authors' code: a set without a negative value keeps low = 0 and yet gets the middle zero, so its
        // upper half is clipped. Rows of real weights always have both signs.
        if (r.low < 0) r.low = -r.high;
      }
      return r.low == 0 && r.high == 0 ? Range{-1, 1} : r;
    }
  }
}

float at_least_normal(double scale) {
  return std::max(float(scale), std::numeric_limits<float>::min());  // x / scale must not overflow
}

Scale scale_of(Range r, int bits, Grid grid) {
  Scale s;
  s.maximum = (1 << bits) - 1;
  const int32_t middle = 1 << (bits - 1);
  switch (grid) {
    case Grid::AbsMax:
      s.scale = at_least_normal(r.high / (middle - 1));
      s.zero = middle;
      s.minimum = 1;
      break;
    case Grid::GptqSymmetric:
      s.scale = at_least_normal((r.high - r.low) / s.maximum);
      s.zero = middle;
      break;
    case Grid::GptqAsymmetric:
      s.scale = at_least_normal((r.high - r.low) / s.maximum);
      s.zero = int32_t(std::rint(float(-r.low) / s.scale));
      break;
    case Grid::AwqAsymmetric:
      s.scale = at_least_normal(std::max(r.high - r.low, 1e-5) / s.maximum);
      s.zero = int32_t(std::clamp(-std::rint(float(r.low) / s.scale), 0.0f, float(s.maximum)));
      break;
  }
  return s;
}

// Σ |value − x|^norm
double rounding_error(const float* x, int64_t n, const Scale& s, double norm) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    sum += std::pow(std::abs(double(round_to_grid(x[i], s)) - double(x[i])), norm);
  }
  return sum;
}

Scale search_scale(const float* x, int64_t n, Range full, const QuantizerOptions& options) {
  Scale best = scale_of(full, options.bits, options.grid);
  double least = rounding_error(x, n, best, options.mse_norm);
  const int candidates = int(options.mse_max_shrink * options.mse_steps);
  for (int i = 1; i < candidates; ++i) {
    const double shrink = 1 - double(i) / options.mse_steps;
    const Scale s = scale_of({shrink * full.low, shrink * full.high}, options.bits, options.grid);
    const double error = rounding_error(x, n, s, options.mse_norm);
    if (error < least) {  // strictly: the widest range wins a tie
      least = error;
      best = s;
    }
  }
  return best;
}

}  // namespace

const char* grid_name(Grid grid) {
  switch (grid) {
    case Grid::AbsMax:
      return "absmax";
    case Grid::GptqSymmetric:
      return "gptq-sym";
    case Grid::GptqAsymmetric:
      return "gptq-asym";
    default:
      return "awq";
  }
}

Scale find_scale(const float* x, int64_t n, const QuantizerOptions& options) {
  check_options(options);
  const Range full = grid_range(range_of(x, n), options.grid);
  return options.mse_search ? search_scale(x, n, full, options) : scale_of(full, options.bits, options.grid);
}

int32_t encode(float x, const Scale& s) {
  const float code = std::rint(x / s.scale) + float(s.zero);
  // Clamped as a float: a conversion of a number that no integer can hold is undefined. max() keeps its first argument
  // when the second is NaN.
  return int32_t(std::min(float(s.maximum), std::max(float(s.minimum), code)));
}

float decode(int32_t code, const Scale& s) {
  return s.scale * float(code - s.zero);
}

float round_to_grid(float x, const Scale& s) {
  return decode(encode(x, s), s);
}

bool QuantizedMatrix::symmetric() const {
  return std::all_of(zeros.begin(), zeros.end(), [&](uint8_t zero) { return zero == 1 << (bits - 1); });
}

QuantizedMatrix make_quantized_matrix(int64_t rows, int64_t columns, const QuantizerOptions& options) {
  check_options(options);
  check(rows > 0 && columns > 0, "quantizer: a matrix of {} rows and {} columns", rows, columns);
  QuantizedMatrix q;
  q.bits = options.bits;
  q.rows = rows;
  q.columns = columns;
  q.group_size = options.group_size > 0 ? std::min(options.group_size, columns) : columns;
  q.one_scale = options.group_size == 0;
  q.codes.resize(size_t(rows * columns));
  q.scales.resize(size_t(rows * q.groups()));
  q.zeros.resize(size_t(rows * q.groups()));
  return q;
}

QuantizedMatrix round_to_nearest(const float* w, int64_t rows, int64_t columns,
                                 const QuantizerOptions& options) {
  QuantizedMatrix q = make_quantized_matrix(rows, columns, options);
  const int64_t groups = q.groups();
  Scale shared;
  if (q.one_scale) shared = find_scale(w, rows * columns, options);
  std::vector<Scale> scales(size_t(rows * groups), shared);
  if (!q.one_scale) {
    for (int64_t i = 0; i < rows * columns; ++i) {  // before the threads: an exception may not leave them
      check(std::abs(w[i]) <= largest_weight, "quantizer: weight ({}, {}) is {}", i / columns, i % columns,
            w[i]);
    }
  }
  cpu::parallel_for(rows, cpu::grain_rows(cpu::math_grain, columns), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin * groups; i < end * groups; ++i) {
      const int64_t row = i / groups, first = i % groups * q.group_size;
      const int64_t count = std::min(q.group_size, columns - first);
      const float* x = w + row * columns + first;  // (count)
      if (!q.one_scale) scales[size_t(i)] = find_scale(x, count, options);
      uint8_t* codes = q.codes.data() + row * columns + first;  // (count)
      for (int64_t k = 0; k < count; ++k) codes[k] = uint8_t(encode(x[k], scales[size_t(i)]));
      q.scales[size_t(i)] = scales[size_t(i)].scale;
      q.zeros[size_t(i)] = uint8_t(scales[size_t(i)].zero);
    }
  });
  return q;
}

std::vector<float> dequantize(const QuantizedMatrix& q) {
  const int64_t groups = q.groups();
  std::vector<float> w(q.codes.size());
  for (int64_t row = 0; row < q.rows; ++row) {
    for (int64_t i = 0; i < q.columns; ++i) {
      const size_t g = size_t(row * groups + q.group(i)), at = size_t(row * q.columns + i);
      w[at] = q.scales[g] * float(int32_t(q.codes[at]) - int32_t(q.zeros[g]));
    }
  }
  return w;
}

void validate(const QuantizedMatrix& q) {
  check(q.bits >= 1 && q.bits <= 8, "quantized matrix: {} bits, expected 1 to 8", q.bits);
  check(q.rows > 0 && q.columns > 0 && q.group_size > 0 && q.group_size <= q.columns,
        "quantized matrix: {} rows, {} columns, groups of {}", q.rows, q.columns, q.group_size);
  const size_t scales = size_t(q.rows * q.groups());
  check(q.codes.size() == size_t(q.rows * q.columns) && q.scales.size() == scales && q.zeros.size() == scales,
        "quantized matrix ({}, {}) in groups of {}: {} codes, {} scales, {} zeros", q.rows, q.columns,
        q.group_size, q.codes.size(), q.scales.size(), q.zeros.size());
  const int maximum = (1 << q.bits) - 1;
  const auto fits = [&](uint8_t code) { return code <= maximum; };
  check(
      std::all_of(q.codes.begin(), q.codes.end(), fits) && std::all_of(q.zeros.begin(), q.zeros.end(), fits),
      "quantized matrix: a code or zero is above {}", maximum);
  for (float scale : q.scales) check(std::isfinite(scale), "quantized matrix: a scale is {}", scale);
  check(q.group_of.empty() || q.group_of.size() == size_t(q.columns),
        "quantized matrix: groups named for {} inputs of {}", q.group_of.size(), q.columns);
  for (int32_t group : q.group_of) {
    check(group >= 0 && group < q.groups(), "quantized matrix: group {} of {}", group, q.groups());
  }
}

StorageCost& StorageCost::operator+=(const StorageCost& other) {
  weights += other.weights;
  code_bits += other.code_bits;
  scale_bits += other.scale_bits;
  zero_bits += other.zero_bits;
  float_bits += other.float_bits;
  index_bits += other.index_bits;
  return *this;
}

StorageCost storage_cost(const QuantizedMatrix& q, int scale_bits) {
  StorageCost cost;
  const double scales = q.one_scale ? 1 : double(q.rows) * double(q.groups());
  cost.weights = q.rows * q.columns;
  cost.code_bits = double(cost.weights) * q.bits;
  cost.scale_bits = scales * scale_bits;
  cost.zero_bits = q.symmetric() ? 0 : scales * q.bits;
  cost.index_bits = q.group_of.empty() ? 0 : 32.0 * double(q.columns);
  return cost;
}

StorageCost float_cost(int64_t count, int bits) {
  StorageCost cost;
  cost.weights = count;
  cost.float_bits = double(count) * bits;
  return cost;
}

}  // namespace chalk
