#pragma once
// The big products: cuBLAS on a GPU, the cpu backend's matmul on cusim (cuBLAS itself is never emulated). Every caller goes
// through this one function; our own kernel stands beside it with the same signature as cuda::matmul.

#include "kernels/matmul.h"

namespace chalk::cuda {

// y (M, N) [+]= op(a) · op(b) in shape.precision, sums in float32. workspace: gemm_workspace(shape) bytes.
void gemm(float* y, const float* a, const float* b, const MatmulShape& shape, float* workspace);
int64_t gemm_workspace(const MatmulShape& shape);

// matmul() by hand: tiles in shared memory, 4 × 4 results in registers. Needs no workspace (it may be null).
void matmul_by_hand(float* y, const float* a, const float* b, const float* bias, const MatmulShape& shape,
                    float* workspace);

}  // namespace chalk::cuda
