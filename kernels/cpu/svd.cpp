// One-sided Jacobi SVD on all cores. Contract: kernels/svd.h. The pairs of one round share no vector, so they
// are rotated by different threads; each pair is computed whole by one thread, so the results are those of
// the plain kernel.

#include "kernels/svd.h"

#include "kernels/cpu/parallel.h"

namespace chalk::cpu {

template <class T>
static bool decompose(T* u, T* s, T* vt, const T* a, int64_t M, int64_t N, double* workspace) {
  // A pair reads and writes about five vectors' worth of numbers. A sweep joins its threads R times, so
  // chunks are large.
  const int64_t pairs_per_chunk = grain_rows(16 * memory_grain, 5 * std::max(M, N));
  auto for_pairs = [&](int64_t count, auto f) {
    int64_t rotated = 0;
    parallel_for(count, pairs_per_chunk, [&](int64_t begin, int64_t end) {
      int64_t mine = 0;
      for (int64_t k = begin; k < end; ++k) mine += f(k);
#pragma omp atomic
      rotated += mine;
    });
    return rotated;
  };
  return plain::svd_steps(u, s, vt, a, M, N, workspace, for_pairs);
}

bool svd(float* u, float* s, float* vt, const float* a, int64_t M, int64_t N, double* workspace) {
  return decompose(u, s, vt, a, M, N, workspace);
}
bool svd(double* u, double* s, double* vt, const double* a, int64_t M, int64_t N, double* workspace) {
  return decompose(u, s, vt, a, M, N, workspace);
}

}  // namespace chalk::cpu
