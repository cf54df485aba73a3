#pragma once
// Row lookup with loops. Contract: kernels/embedding.h. Derivation: docs/derivations/embedding.md.

#include "kernels/plain/scalar.h"

namespace chalk::plain {

template <class T>
void embedding_forward(T* y, const T* weight, const int32_t* ids, int64_t N, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    const T* row = weight + int64_t(ids[n]) * C;
    // y_n = weight[ids_n]
    for (int64_t c = 0; c < C; ++c) y[n * C + c] = row[c];
  }
}

template <class T>
void embedding_backward(T* dweight, const T* dy, const int32_t* ids, int64_t N, int64_t /*V*/, int64_t C) {
  for (int64_t n = 0; n < N; ++n) {
    T* drow = dweight + int64_t(ids[n]) * C;
    // dweight[ids_n] += dy_n
    for (int64_t c = 0; c < C; ++c) drow[c] += dy[n * C + c];
  }
}

}  // namespace chalk::plain
