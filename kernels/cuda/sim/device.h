#pragma once
// What a kernel may call: indices, barriers, warp functions, atomics, a few maths functions, printf.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "kernels/cuda/sim/executor.h"
#include "kernels/cuda/sim/types.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
#define __shared__ static  // works, but is neither poisoned nor fenced: prefer SHARED_ARRAY
#define __constant__ static

// Set before a fiber is entered, so that gdb can stop on `threadIdx.x == 7`.
extern constinit thread_local uint3 threadIdx;
extern constinit thread_local uint3 blockIdx;
extern constinit thread_local dim3 blockDim;
extern constinit thread_local dim3 gridDim;
constexpr int warpSize = 32;

// ---- barriers ----

inline void __syncthreads(cusim::Site site = cusim::Site::current()) {
  cusim::wait_for_block(cusim::BlockOp::Sync, false, site);
}
inline int __syncthreads_count(int predicate, cusim::Site site = cusim::Site::current()) {
  return cusim::wait_for_block(cusim::BlockOp::Count, predicate != 0, site);
}
inline int __syncthreads_and(int predicate, cusim::Site site = cusim::Site::current()) {
  return cusim::wait_for_block(cusim::BlockOp::And, predicate != 0, site);
}
inline int __syncthreads_or(int predicate, cusim::Site site = cusim::Site::current()) {
  return cusim::wait_for_block(cusim::BlockOp::Or, predicate != 0, site);
}
inline void __syncwarp(unsigned mask = 0xffffffffu, cusim::Site site = cusim::Site::current()) {
  cusim::wait_for_warp(cusim::WarpOp::Sync, mask, 0, 0, site);
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- warp functions ----

namespace cusim {
template <class T>
T shuffle(unsigned mask, T value, int source, Site site) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>, "shuffles move 4 or 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = wait_for_warp(WarpOp::Shuffle, mask, bits, source, site);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
}  // namespace cusim

template <class T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32, cusim::Site site = cusim::Site::current()) {
  return cusim::shuffle(mask, value, cusim::source_lane(cusim::Shuffle::Index, source, width, site), site);
}
// Beyond the group's edge a lane keeps its own value, as on the hardware.
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   cusim::Site site = cusim::Site::current()) {
  return cusim::shuffle(mask, value, cusim::source_lane(cusim::Shuffle::Down, int(delta), width, site), site);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 cusim::Site site = cusim::Site::current()) {
  return cusim::shuffle(mask, value, cusim::source_lane(cusim::Shuffle::Up, int(delta), width, site), site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lane_mask, int width = 32,
                  cusim::Site site = cusim::Site::current()) {
  return cusim::shuffle(mask, value, cusim::source_lane(cusim::Shuffle::Xor, lane_mask, width, site), site);
}
inline unsigned __ballot_sync(unsigned mask, int predicate, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Ballot, mask, predicate != 0, 0, site));
}
inline int __any_sync(unsigned mask, int predicate, cusim::Site site = cusim::Site::current()) {
  return int(cusim::wait_for_warp(cusim::WarpOp::Any, mask, predicate != 0, 0, site));
}
inline int __all_sync(unsigned mask, int predicate, cusim::Site site = cusim::Site::current()) {
  return int(cusim::wait_for_warp(cusim::WarpOp::All, mask, predicate != 0, 0, site));
}
inline unsigned __reduce_add_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Add, mask, value, 0, site));
}
inline unsigned __reduce_min_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Min, mask, value, 0, site));
}
inline unsigned __reduce_max_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Max, mask, value, 0, site));
}
inline int __reduce_add_sync(unsigned mask, int value, cusim::Site site = cusim::Site::current()) {
  return int(cusim::wait_for_warp(cusim::WarpOp::AddInt, mask, uint64_t(uint32_t(value)), 0, site));
}
inline int __reduce_min_sync(unsigned mask, int value, cusim::Site site = cusim::Site::current()) {
  return int(cusim::wait_for_warp(cusim::WarpOp::MinInt, mask, uint64_t(uint32_t(value)), 0, site));
}
inline int __reduce_max_sync(unsigned mask, int value, cusim::Site site = cusim::Site::current()) {
  return int(cusim::wait_for_warp(cusim::WarpOp::MaxInt, mask, uint64_t(uint32_t(value)), 0, site));
}
inline unsigned __reduce_and_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::And, mask, value, 0, site));
}
inline unsigned __reduce_or_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Or, mask, value, 0, site));
}
inline unsigned __reduce_xor_sync(unsigned mask, unsigned value, cusim::Site site = cusim::Site::current()) {
  return unsigned(cusim::wait_for_warp(cusim::WarpOp::Xor, mask, value, 0, site));
}

// ---- atomics: relaxed, as on the hardware; each returns the old value ----

template <class T>
T atomicCAS(T* address, T expected, T desired) {
  __atomic_compare_exchange(address, &expected, &desired, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return expected;
}
namespace cusim {
template <class T, class F>
T atomic_update(T* address, F f) {
  T old, desired;
  __atomic_load(address, &old, __ATOMIC_RELAXED);
  do {
    desired = f(old);
  } while (!__atomic_compare_exchange(address, &old, &desired, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
  return old;
}
}  // namespace cusim
template <class T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return T(old + value); });
}
template <class T>
T atomicSub(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return T(old - value); });
}
template <class T>
T atomicMax(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return std::max(old, value); });
}
template <class T>
T atomicMin(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return std::min(old, value); });
}
template <class T>
T atomicExch(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T) { return value; });
}
template <class T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return old & value; });
}
template <class T>
T atomicOr(T* address, std::type_identity_t<T> value) {
  return cusim::atomic_update(address, [=](T old) { return old | value; });
}

// ---- maths and loads ----

template <class T>
T __ldg(const T* address) {
  return *address;
}
// Rounded to nearest, never fused (this build never does).
inline float __fadd_rn(float a, float b) {
  return a + b;
}
inline float __fmul_rn(float a, float b) {
  return a * b;
}
inline float rsqrtf(float x) {
  return 1.0f / std::sqrt(x);
}
inline double rsqrt(double x) {
  return 1.0 / std::sqrt(x);
}
inline int __popc(unsigned x) {
  return std::popcount(x);
}
inline int __ffs(int x) {
  return x == 0 ? 0 : std::countr_zero(unsigned(x)) + 1;
}
inline int __clz(int x) {
  return std::countl_zero(unsigned(x));
}
inline float __int_as_float(int x) {
  return std::bit_cast<float>(x);
}
inline int __float_as_int(float x) {
  return std::bit_cast<int>(x);
}

// ---- printf: from the thread in focus only, if CUSIM_FOCUS names one ----

__attribute__((format(printf, 1, 2))) inline int cusim_printf(const char* format, ...) {
  if (!cusim::has_focus()) return 0;
  va_list arguments;
  va_start(arguments, format);
  const int count = std::vprintf(format, arguments);
  va_end(arguments);
  return count;
}
namespace std {
using ::cusim_printf;
}
#define printf cusim_printf

// ---- what cusim cannot do is said by the compiler ----

#define CUSIM_CANNOT(what) __attribute__((error("cusim cannot do this: " what)))
CUSIM_CANNOT("it has no clock; time kernels on a GPU") long long clock64();
CUSIM_CANNOT("lanes do not run in lock step; name them in a mask yourself") unsigned __activemask();
CUSIM_CANNOT("cp.async: compile this kernel with nvcc only")
void __pipeline_memcpy_async(void*, const void*, size_t, size_t = 0);
CUSIM_CANNOT("cp.async: compile this kernel with nvcc only") void __pipeline_commit();
CUSIM_CANNOT("cp.async: compile this kernel with nvcc only") void __pipeline_wait_prior(size_t);
CUSIM_CANNOT("it has no clock to sleep by") void __nanosleep(unsigned);

namespace nvcuda::wmma {
struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
template <class Use, int m, int n, int k, class T, class Layout = void>
struct fragment {
  static_assert(m < 0, "cusim cannot do this: tensor cores; compile this kernel with nvcc only");
};
}  // namespace nvcuda::wmma
