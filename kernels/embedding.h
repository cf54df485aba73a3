#pragma once
// Embedding: row lookup.   y_n = weight[ids_n]      dweight[ids_n] += dy_n
//
// Ids are in [0, V) (checked above). Backward visits the rows in order of n, so repeated ids add up in a fixed order.

#include <cstdint>

namespace chalk {
namespace plain {
template <class T>
void embedding_forward(T* y,                // (N, C)
                       const T* weight,     // (V, C)
                       const int32_t* ids,  // (N)
                       int64_t N, int64_t C);
template <class T>
void embedding_backward(T* dweight,          // (V, C)
                        const T* dy,         // (N, C)
                        const int32_t* ids,  // (N)
                        int64_t N, int64_t V, int64_t C);
}  // namespace plain

namespace cpu {
void embedding_forward(float* y, const float* weight, const int32_t* ids, int64_t N, int64_t C);
void embedding_backward(float* dweight, const float* dy, const int32_t* ids, int64_t N, int64_t V, int64_t C);
}  // namespace cpu

namespace cuda {  // all pointers are device pointers
void embedding_forward(float* y, const float* weight, const int32_t* ids, int64_t N, int64_t C);
void embedding_backward(float* dweight, const float* dy, const int32_t* ids, int64_t N, int64_t V, int64_t C);
}  // namespace cuda
}  // namespace chalk

#include "kernels/plain/embedding.h"
