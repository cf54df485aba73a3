#include "models/io/dtype.h"

#include <cstring>
#include <iterator>
#include <type_traits>

#include "autograd/check.h"

namespace chalk {
namespace {

struct DTypeInfo {
  const char* name;
  int bits;
};

// In the order of the enum.
constexpr DTypeInfo kInfo[] = {{"BOOL", 8}, {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"U8", 8},
                               {"I8", 8},   {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"I16", 16},
                               {"U16", 16}, {"F16", 16},    {"BF16", 16},   {"I32", 32},    {"U32", 32},
                               {"F32", 32}, {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}};

// Element i of type T, wherever the bytes lie.
template <class T>
T element(std::span<const uint8_t> bytes, size_t i) {
  T value;
  std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
  return value;
}

template <class T, class Result>
void convert(std::span<const uint8_t> bytes, std::vector<Result>& result) {
  for (size_t i = 0; i < result.size(); ++i) result[i] = static_cast<Result>(element<T>(bytes, i));
}

// Integers of at most 32 bits: what both kinds of result can hold.
template <class Result>
void convert_integers(const ArrayView& array, std::vector<Result>& result) {
  switch (array.dtype) {
    case DType::I32:
      return convert<int32_t>(array.bytes, result);
    case DType::U32:
      return convert<uint32_t>(array.bytes, result);
    case DType::I16:
      return convert<int16_t>(array.bytes, result);
    case DType::U16:
      return convert<uint16_t>(array.bytes, result);
    case DType::I8:
      return convert<int8_t>(array.bytes, result);
    case DType::BOOL:
    case DType::U8:
      return convert<uint8_t>(array.bytes, result);
    default:
      throw Error(fmt::format("tensor {}: numbers of type {} cannot be read as {}", array.name, dtype_name(array.dtype),
                              std::is_integral_v<Result> ? "integers" : "float"));
  }
}

}  // namespace

const char* dtype_name(DType dtype) {
  return kInfo[static_cast<int>(dtype)].name;
}
int dtype_bits(DType dtype) {
  return kInfo[static_cast<int>(dtype)].bits;
}

bool parse_dtype(const std::string& name, DType& dtype) {
  for (size_t i = 0; i < std::size(kInfo); ++i) {
    if (name != kInfo[i].name) continue;
    dtype = static_cast<DType>(i);
    return true;
  }
  return false;
}

bool is_float_dtype(DType dtype) {
  return dtype == DType::F16 || dtype == DType::BF16 || dtype == DType::F32 || dtype == DType::F64;
}

int64_t ArrayView::count() const {
  int64_t product = 1;
  for (const int64_t dim : shape) product *= dim;
  return product;
}

std::vector<float> to_floats(const ArrayView& array) {
  std::vector<float> result(static_cast<size_t>(array.count()));
  switch (array.dtype) {
    case DType::F32:
      if (!result.empty()) std::memcpy(result.data(), array.bytes.data(), array.bytes.size());
      break;
    case DType::F16:
      for (size_t i = 0; i < result.size(); ++i) result[i] = half_to_float(element<uint16_t>(array.bytes, i));
      break;
    case DType::BF16:
      for (size_t i = 0; i < result.size(); ++i) result[i] = bf16_to_float(element<uint16_t>(array.bytes, i));
      break;
    case DType::F64:
      convert<double>(array.bytes, result);
      break;
    default:
      convert_integers(array, result);
  }
  return result;
}

std::vector<int64_t> to_int64s(const ArrayView& array) {
  std::vector<int64_t> result(static_cast<size_t>(array.count()));
  if (array.dtype == DType::I64) {
    convert<int64_t>(array.bytes, result);
  } else {
    convert_integers(array, result);
  }
  return result;
}

std::vector<uint8_t> floats_to_bytes(std::span<const float> values, DType dtype) {
  check(dtype == DType::F32 || dtype == DType::F16 || dtype == DType::BF16,
        "floats cannot be stored as {}: expected F32, F16 or BF16", dtype_name(dtype));
  if (dtype == DType::F32) {
    const uint8_t* first = reinterpret_cast<const uint8_t*>(values.data());
    return std::vector<uint8_t>(first, first + values.size_bytes());
  }
  std::vector<uint8_t> bytes(values.size() * 2);
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = dtype == DType::F16 ? float_to_half(values[i]) : float_to_bf16(values[i]);
    std::memcpy(bytes.data() + 2 * i, &bits, 2);
  }
  return bytes;
}

}  // namespace chalk
