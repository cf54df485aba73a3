// The thin wrapper: cuBLAS, or on cusim the cpu backend.

#include "kernels/cuda/gemm.h"

#include "kernels/cuda/block.h"
#include "kernels/cuda/launch.h"

#ifdef __CUDACC__
#include <cublas_v2.h>
#endif

namespace chalk::cuda {

#ifdef __CUDACC__

namespace {
// One handle for the program, on our stream. Default math: float32 products stay float32 (no silent TF32).
cublasHandle_t cublas() {
  static cublasHandle_t handle = [] {
    cublasHandle_t h = nullptr;
    if (cublasCreate(&h) != CUBLAS_STATUS_SUCCESS) throw std::runtime_error("cuda: cuBLAS cannot be started");
    cublasSetMathMode(h, CUBLAS_DEFAULT_MATH);
    cublasSetStream(h, stream());
    return h;
  }();
  return handle;
}

// y_i = bf16(x_i), to nearest even. One load of 4 bytes and one store of 2: memory-bound, small beside the product.
__global__ void to_bf16_kernel(__nv_bfloat16* y, const float* x, int64_t count) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) y[i] = __float2bfloat16_rn(x[i]);
}

void to_bf16(__nv_bfloat16* y, const float* x, int64_t count) {
  if (count == 0) return;
  LAUNCH(to_bf16_kernel, item_blocks(count), item_threads, 0, stream(), y, x, count);
  check_launch("to_bf16");
}

// Numbers of a in the workspace, before b's: rounded up, so that b's begin on a 64-byte boundary.
int64_t bf16_room(const MatmulShape& s) {
  return ceil_divide(s.M * s.K, 32) * 32;
}
}  // namespace

int64_t gemm_workspace(const MatmulShape& s) {
  return s.precision == Precision::BF16 ? (bf16_room(s) + s.K * s.N) * int64_t(sizeof(__nv_bfloat16)) : 0;
}

// cuBLAS thinks in columns: a row-major (M, N) array is its column-major (N, M). So we ask for yᵀ = op(b)ᵀ · op(a)ᵀ, and
// what is row-major and not transposed needs no transposition there either.
void gemm(float* y, const float* a, const float* b, const MatmulShape& s, float* workspace) {
  const float one = 1, old = s.accumulate ? 1 : 0;
  const int M = int(s.M), N = int(s.N), K = int(s.K);
  const int lda = s.transpose_a ? M : K, ldb = s.transpose_b ? K : N;  // length of a stored row
  const void *a_operand = a, *b_operand = b;
  cudaDataType_t operand = CUDA_R_32F;
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  if (s.precision == Precision::TF32) compute = CUBLAS_COMPUTE_32F_FAST_TF32;  // tensor cores, which read float32
  if (s.precision == Precision::BF16) {
    auto* a_bf16 = reinterpret_cast<__nv_bfloat16*>(workspace);
    auto* b_bf16 = a_bf16 + bf16_room(s);
    to_bf16(a_bf16, a, s.M * s.K);
    to_bf16(b_bf16, b, s.K * s.N);
    a_operand = a_bf16, b_operand = b_bf16, operand = CUDA_R_16BF;
  }
  const cublasStatus_t status =
      cublasGemmEx(cublas(), s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, N, M,
                   K, &one, b_operand, operand, std::max(ldb, 1), a_operand, operand, std::max(lda, 1), &old, y,
                   CUDA_R_32F, N, compute, CUBLAS_GEMM_DEFAULT);
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string("cuda: cublasGemmEx: ") + cublasGetStatusString(status));
  }
}

#else

int64_t gemm_workspace(const MatmulShape& shape) {
  return cpu::matmul_workspace(shape);
}

void gemm(float* y, const float* a, const float* b, const MatmulShape& shape, float* workspace) {
  cusim::DeviceAccess access;  // host code that stands in for a kernel
  cpu::matmul(y, a, b, nullptr, shape, workspace);
}

#endif

}  // namespace chalk::cuda
