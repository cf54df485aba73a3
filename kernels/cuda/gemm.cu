// The thin wrapper: cuBLAS, or on cusim the cpu backend.

#include "kernels/cuda/gemm.h"
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
}  // namespace

int64_t gemm_workspace(const MatmulShape&) {
  return 0;
}

// cuBLAS thinks in columns: a row-major (M, N) array is its column-major (N, M). So we ask for yᵀ = op(b)ᵀ · op(a)ᵀ, and
// what is row-major and not transposed needs no transposition there either.
void gemm(float* y, const float* a, const float* b, const MatmulShape& s, float*) {
  const float one = 1, old = s.accumulate ? 1 : 0;
  const int M = int(s.M), N = int(s.N), K = int(s.K);
  const int lda = s.transpose_a ? M : K, ldb = s.transpose_b ? K : N;  // length of a stored row
  const cublasStatus_t status = cublasSgemm(cublas(), s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                                            s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, N, M, K, &one, b,
                                            std::max(ldb, 1), a, std::max(lda, 1), &old, y, N);
  if (status != CUBLAS_STATUS_SUCCESS) {
    throw std::runtime_error(std::string("cuda: cublasSgemm: ") + cublasGetStatusString(status));
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
