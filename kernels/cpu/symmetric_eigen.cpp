// Symmetric eigenproblem on all cores. Contract: kernels/symmetric_eigen.h. The steps are those of the plain
// kernel; the rows of the reflections and the columns of the rotations are shared out among the threads. Each
// row or column is computed whole by one thread, so the results are those of the plain kernel.

#include "kernels/symmetric_eigen.h"

#include "kernels/cpu/parallel.h"

namespace chalk::cpu {

template <class T>
static bool eigen(T* values, T* vectors, const T* a, int64_t N, double* workspace) {
  auto rows = [N](int64_t first, auto f) {
    parallel_for(N - first, grain_rows(4 * memory_grain, N - first),
                 [&](int64_t begin, int64_t end) { f(first + begin, first + end); });
  };
  // A pass turns up to N pairs of rows. Strips of 64 columns keep both in the first-level cache; below 512
  // columns a pass is over before another thread has woken up.
  auto columns = [N](auto f) { parallel_for(N, N < 512 ? N : 64, f); };
  return plain::symmetric_eigen_steps(values, vectors, a, N, workspace, rows, columns);
}

bool symmetric_eigen(float* values, float* vectors, const float* a, int64_t N, double* workspace) {
  return eigen(values, vectors, a, N, workspace);
}
bool symmetric_eigen(double* values, double* vectors, const double* a, int64_t N, double* workspace) {
  return eigen(values, vectors, a, N, workspace);
}

}  // namespace chalk::cpu
