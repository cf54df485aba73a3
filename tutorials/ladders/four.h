#pragma once
// Four floats at once: one 16-byte instruction instead of four. The address must be a multiple of 16.

#include "kernels/cuda/cuda_portable.h"

namespace chalk::ladder {

#ifdef __CUDACC__

__device__ inline float4 load4(const float* from) {
  return *reinterpret_cast<const float4*>(from);
}
__device__ inline void store4(float* to, float4 x) {
  *reinterpret_cast<float4*>(to) = x;
}

#else

// A host compiler would take a float4 apart, and cusim would count four accesses; a vector stays whole.
using Whole4 [[gnu::vector_size(16), gnu::may_alias]] = float;
inline float4 load4(const float* from) {
  const Whole4 x = *reinterpret_cast<const Whole4*>(from);
  return {x[0], x[1], x[2], x[3]};
}
inline void store4(float* to, float4 x) {
  *reinterpret_cast<Whole4*>(to) = Whole4{x.x, x.y, x.z, x.w};
}

#endif

}  // namespace chalk::ladder
