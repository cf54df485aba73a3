#pragma once
// One spelling for two compilers. Under nvcc this is CUDA; under the host compiler it is cusim (kernels/cuda/sim/), which
// runs the same kernels on fibers: on a laptop, in gdb, under sanitizers. Three macros are all that differs from CUDA text:
//
//   LAUNCH((kernel<32>), grid, block, shared_bytes, stream, arguments…)      kernel<32><<<grid, block, …>>>(arguments…)
//   SHARED_ARRAY(float, tile, 32, 33);                                       __shared__ float tile[32][33];
//   DYN_SHARED(float, row);                                                  extern __shared__ float row[];
//
// Parentheses around a template kernel keep its commas away from the preprocessor.

#define CHALK_DIMS_1(a) [a]
#define CHALK_DIMS_2(a, b) [a][b]
#define CHALK_DIMS_3(a, b, c) [a][b][c]
#define CHALK_DIMS_PICK(a, b, c, chosen, ...) chosen
#define CHALK_DIMS(...) CHALK_DIMS_PICK(__VA_ARGS__, CHALK_DIMS_3, CHALK_DIMS_2, CHALK_DIMS_1, )(__VA_ARGS__)

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  kernel<<<grid, block, shared_bytes, stream>>>(__VA_ARGS__)
#define SHARED_ARRAY(T, name, ...) __shared__ T name CHALK_DIMS(__VA_ARGS__)
#define DYN_SHARED(T, name)                                           \
  extern __shared__ __align__(16) unsigned char chalk_shared_bytes[]; \
  T* name = reinterpret_cast<T*>(chalk_shared_bytes)

#else

#include "kernels/cuda/sim/cusim.h"

#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...) \
  ::cusim::launch(::cusim::Site::current(), #kernel, kernel, grid, block, shared_bytes, stream __VA_OPT__(, ) __VA_ARGS__)
#define SHARED_ARRAY(T, name, ...)                                               \
  static constexpr ::cusim::SharedTag name##_tag{#name, #T, __FILE__, __LINE__}; \
  auto& name = ::cusim::shared_array<T CHALK_DIMS(__VA_ARGS__)>(name##_tag)
#define DYN_SHARED(T, name) T* name = ::cusim::dynamic_shared<T>()

#endif
