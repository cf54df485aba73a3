// Code books, nearest codes, packing.

#include "nn/nf4.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "kernels/memory.h"

namespace chalk {
namespace {

// Table of the authors' library. tests/nn/nf4_test.cpp builds it from the normal distribution (to 3e-7: the
// published numbers carry float rounding).
constexpr std::array<float, 16> nf4_book = {-1.0f,
                                            -0.6961928009986877f,
                                            -0.5250730514526367f,
                                            -0.39491748809814453f,
                                            -0.28444138169288635f,
                                            -0.18477343022823334f,
                                            -0.09105003625154495f,
                                            0.0f,
                                            0.07958029955625534f,
                                            0.16093020141124725f,
                                            0.24611230194568634f,
                                            0.33791524171829224f,
                                            0.44070982933044434f,
                                            0.5626170039176941f,
                                            0.7229568362236023f,
                                            1.0f};

// {0, 1/16, 8, 12, 4, 6, 2, 3} / 12 by the lower three bits; bit 3 is the sign.
constexpr std::array<float, 16> fp4_book = {
    0,     0.0625f / 12,  8.0f / 12,  1,  4.0f / 12,  6.0f / 12,  2.0f / 12,  3.0f / 12,
    -0.0f, -0.0625f / 12, -8.0f / 12, -1, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12};
constexpr std::array<uint8_t, 8> fp4_by_magnitude = {0, 1, 6, 7, 4, 5, 2, 3};

// Code k + 8 is k / 7. There are 15 numbers: code 0 repeats −1 and is never produced.
constexpr std::array<float, 16> int4_book = {-1,        -1,        -6.0f / 7, -5.0f / 7, -4.0f / 7, -3.0f / 7,
                                             -2.0f / 7, -1.0f / 7, 0,         1.0f / 7,  2.0f / 7,  3.0f / 7,
                                             4.0f / 7,  5.0f / 7,  6.0f / 7,  1};

// How many of the midpoints between neighbouring numbers lie below x: the index of the nearest number of an
// ascending list. Exactly on a midpoint the lower one wins.
template <size_t n>
uint8_t count_midpoints_below(float x, const std::array<float, n>& ascending, size_t first) {
  uint8_t index = uint8_t(first);
  for (size_t i = first; i + 1 < n; ++i) index += x > (ascending[i] + ascending[i + 1]) / 2;
  return index;
}

constexpr std::array<float, 8> fp4_magnitudes() {
  std::array<float, 8> ascending{};
  for (size_t i = 0; i < 8; ++i) ascending[i] = fp4_book[fp4_by_magnitude[i]];
  return ascending;
}

std::array<float, 256> make_dynamic_map() {
  std::vector<double> numbers = {0, 1};
  for (int i = 0; i <= 6; ++i) {
    const int cells = 1 << i;
    for (int cell = 0; cell < cells; ++cell) {
      const double middle = 0.1 + 0.9 * (cell + 0.5) / cells, magnitude = middle * std::pow(10.0, i - 6);
      numbers.push_back(magnitude);
      numbers.push_back(-magnitude);
    }
  }
  std::sort(numbers.begin(), numbers.end());
  std::array<float, 256> map{};
  std::copy(numbers.begin(), numbers.end(), map.begin());  // 2 · 127 + 2 = 256
  return map;
}

// `bytes` of anything on a device; what fills up the last float is 0.
std::shared_ptr<Storage> stored(const void* values, int64_t bytes, Device device) {
  auto storage = std::make_shared<Storage>((bytes + 3) / 4, device);
  fill_memory(storage->data, 0, storage->count, device);
  copy_memory(storage->data, device, values, Device::CPU, bytes);
  return storage;
}
template <class T>
std::shared_ptr<Storage> stored(const std::vector<T>& values, Device device) {
  return stored(values.data(), int64_t(values.size() * sizeof(T)), device);
}
std::shared_ptr<Storage> stored_tables(FourBit type, Device device) {
  std::vector<float> tables(code_book(type).begin(), code_book(type).end());
  tables.insert(tables.end(), dynamic_map().begin(), dynamic_map().end());
  return stored(tables, device);
}

uint8_t* bytes_of(const std::shared_ptr<Storage>& storage) {
  return reinterpret_cast<uint8_t*>(storage->data);
}

}  // namespace

const char* four_bit_name(FourBit type) {
  return type == FourBit::NF4 ? "nf4" : type == FourBit::FP4 ? "fp4" : "int4";
}

FourBit four_bit_by_name(const std::string& name) {
  for (FourBit type : {FourBit::NF4, FourBit::FP4, FourBit::Int4}) {
    if (name == four_bit_name(type)) return type;
  }
  throw UsageError("unknown 4-bit type \"" + name + "\"; known are nf4, fp4, int4");
}

const std::array<float, 16>& code_book(FourBit type) {
  return type == FourBit::NF4 ? nf4_book : type == FourBit::FP4 ? fp4_book : int4_book;
}

uint8_t nearest_code(float x, FourBit type) {
  static constexpr std::array<float, 8> magnitudes = fp4_magnitudes();
  switch (type) {
    case FourBit::NF4:
      return count_midpoints_below(x, nf4_book, 0);
    case FourBit::Int4:
      return count_midpoints_below(x, int4_book, 1);
    default:
      return uint8_t(fp4_by_magnitude[count_midpoints_below(std::abs(x), magnitudes, 0)] | (x < 0 ? 8 : 0));
  }
}

const std::array<float, 256>& dynamic_map() {
  static const std::array<float, 256> map = make_dynamic_map();
  return map;
}

uint8_t nearest_dynamic_code(float x) {
  const std::array<float, 256>& map = dynamic_map();
  const auto above = std::lower_bound(map.begin(), map.end(), x);  // the first number ≥ x
  if (above == map.begin()) return 0;
  const size_t upper = size_t(above - map.begin());
  if (upper == map.size()) return 255;
  return uint8_t(x > (map[upper - 1] + map[upper]) / 2 ? upper : upper - 1);
}

// ---- scales ----

QuantizedScales quantize_scales(const std::vector<float>& absmax, int64_t block) {
  QuantizedScales q;
  q.block = block;
  double sum = 0;
  for (float a : absmax) sum += double(a);
  q.mean = float(sum / double(absmax.size()));
  for (size_t begin = 0; begin < absmax.size(); begin += size_t(block)) {
    const size_t end = std::min(absmax.size(), begin + size_t(block));
    float largest = 0;
    for (size_t k = begin; k < end; ++k) largest = std::max(largest, std::abs(absmax[k] - q.mean));
    q.scales.push_back(largest);
    for (size_t k = begin; k < end; ++k) {
      q.codes.push_back(nearest_dynamic_code(largest > 0 ? (absmax[k] - q.mean) / largest : 0));
    }
  }
  return q;
}

std::vector<float> dequantize_scales(const QuantizedScales& q) {
  std::vector<float> absmax;
  for (size_t k = 0; k < q.codes.size(); ++k) {
    const float scaled = dynamic_map()[q.codes[k]] * q.scales[k / size_t(q.block)];
    absmax.push_back(scaled + q.mean);
  }
  return absmax;
}

// ---- the matrix ----

double bits_per_weight(const NF4Options& o) {
  if (!o.double_quantize) return 4 + 32.0 / double(o.block);
  return 4 + 8.0 / double(o.block) + 32.0 / double(o.block * o.absmax_block);
}

int64_t NF4Matrix::stored_bytes() const {
  const int64_t code_bytes = (count() + 1) / 2;
  if (!options.double_quantize) return code_bytes + 4 * blocks();
  return code_bytes + blocks() + 4 * ((blocks() + options.absmax_block - 1) / options.absmax_block) + 4;
}

NF4Matrix NF4Matrix::to(Device device) const {
  if (device == codes->device) return *this;
  NF4Matrix copy = *this;
  copy.tables = device == Device::CUDA ? stored_tables(options.type, device) : nullptr;
  for (std::shared_ptr<Storage>* part :
       {&copy.codes, &copy.absmax, &copy.absmax_codes, &copy.absmax_scales}) {
    if (!*part) continue;
    auto there = std::make_shared<Storage>((*part)->count, device);
    copy_memory(there->data, device, (*part)->data, (*part)->device, there->count * int64_t(sizeof(float)));
    *part = there;
  }
  return copy;
}

NF4Weight NF4Matrix::view() const {
  NF4Weight view{.out = rows, .in = columns, .block = options.block, .codes = bytes_of(codes)};
  view.book = tables ? tables->data : code_book(options.type).data();
  if (!options.double_quantize) {
    view.absmax = absmax->data;
    return view;
  }
  view.absmax_codes = bytes_of(absmax_codes);
  view.absmax_scales = absmax_scales->data;
  view.map = tables ? tables->data + 16 : dynamic_map().data();
  view.absmax_block = options.absmax_block;
  view.absmax_mean = absmax_mean;
  return view;
}

NF4Matrix quantize_nf4(const float* weight, int64_t rows, int64_t columns, const NF4Options& options,
                       Device device) {
  check(rows > 0 && columns > 0, "quantize_nf4: the matrix is {} x {}", rows, columns);
  check(options.block > 0 && options.block % 2 == 0,
        "quantize_nf4: a block of {} weights; two codes share a byte", options.block);
  check(options.absmax_block > 0, "quantize_nf4: a block of {} scales", options.absmax_block);
  NF4Matrix matrix;
  matrix.options = options, matrix.rows = rows, matrix.columns = columns;
  const int64_t n = matrix.count();
  std::vector<uint8_t> codes(static_cast<size_t>((n + 1) / 2));
  std::vector<float> absmax(static_cast<size_t>(matrix.blocks()));
  for (int64_t k = 0; k < matrix.blocks(); ++k) {
    const int64_t begin = k * options.block, end = std::min(n, begin + options.block);
    float a = 0;
    for (int64_t i = begin; i < end; ++i) {
      check(std::isfinite(weight[i]), "quantize_nf4: number {} of the weight is {}", i, weight[i]);
      a = std::max(a, std::abs(weight[i]));
    }
    absmax[size_t(k)] = a;
    for (int64_t i = begin; i < end; ++i) {
      const uint8_t code =
          nearest_code(a > 0 ? weight[i] / a : 0, options.type);  // all zeros: 0/0 is avoided
      codes[size_t(i / 2)] |= uint8_t(i % 2 == 0 ? code << 4 : code);
    }
  }
  matrix.codes = stored(codes, device);
  if (device == Device::CUDA) matrix.tables = stored_tables(options.type, device);
  if (!options.double_quantize) {
    matrix.absmax = stored(absmax, device);
    return matrix;
  }
  const QuantizedScales q = quantize_scales(absmax, options.absmax_block);
  matrix.absmax_codes = stored(q.codes, device);
  matrix.absmax_scales = stored(q.scales, device);
  matrix.absmax_mean = q.mean;
  return matrix;
}

std::vector<float> dequantize(const NF4Matrix& matrix) {
  const Device device = matrix.codes->device;
  const Tensor weight = Tensor::empty({matrix.rows, matrix.columns}, device);
  auto* kernel = pick(device, plain::nf4_dequantize<float>, cpu::nf4_dequantize, cuda::nf4_dequantize);
  kernel(weight.data(), matrix.view(), 0, matrix.count());
  return weight.to_vector();
}

}  // namespace chalk
