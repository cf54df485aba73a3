#pragma once
// NumPy's .npy: one array in a file. "\x93NUMPY", version, header length, a Python dict with the type and
// shape, data. Little-endian float32, float64, int32 and int64 in C order. Source: NumPy's format description
// (NEP 1).
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/io/dtype.h"

namespace chalk {

// One array and its bytes.
struct Npy {
  DType dtype = DType::F32;    // F32, F64, I32 or I64
  std::vector<int64_t> shape;  // slowest first; {} is a scalar
  std::vector<uint8_t> bytes;

  ArrayView view() const { return {"array", dtype, shape, bytes}; }  // for to_floats and to_int64s
};

// Throws FileError for another type, Fortran order, or a file whose length is not what its
// header says.
Npy parse_npy(std::span<const uint8_t> bytes, const std::string& path);
Npy read_npy(const std::string& path);

// Writes version 1.0, header padded so that the data begin at a multiple of 64. `data` has product(shape)
// elements.
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const float> data);
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const double> data);
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int32_t> data);
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int64_t> data);

}  // namespace chalk
