#pragma once
// Eigen, the oracle of the linear algebra tests: with row-major matrices as everywhere in Chalk, and without
// its own SIMD code, on which g++ 12 warns about uninitialised registers when AVX-512 is on.

#define EIGEN_DONT_VECTORIZE
#include <eigen3/Eigen/Dense>

namespace chalk::test {
using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<const Matrix>;
}  // namespace chalk::test
