// NCCL's all-reduce. Its ring forms each sum once and hands it round: every rank gets the same bits.

#include "kernels/cuda/nccl.h"

#include <cstring>

#include "kernels/cuda/launch.h"

#ifdef CHALK_NCCL
#include <nccl.h>
#endif

namespace chalk::cuda {

void use_gpu([[maybe_unused]] int number) {
#ifdef __CUDACC__
  int count = 0;
  check(cudaGetDeviceCount(&count), "cudaGetDeviceCount");
  check(cudaSetDevice(number % count), "cudaSetDevice");
#endif
}

#ifdef CHALK_NCCL

namespace {
ncclComm_t ranks = nullptr;

void check_nccl(ncclResult_t result, const char* what) {
  if (result != ncclSuccess)
    throw std::runtime_error(std::string("NCCL: ") + what + ": " + ncclGetErrorString(result) +
                             " (every rank needs a GPU of its own)");
}
}  // namespace

bool have_nccl() {
  return true;
}
NcclId make_nccl_id() {
  static_assert(sizeof(ncclUniqueId) == sizeof(NcclId));
  ncclUniqueId id;
  check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
  NcclId bytes;
  std::memcpy(&bytes, &id, sizeof id);
  return bytes;
}
void nccl_join(const NcclId& bytes, int rank, int size) {
  ncclUniqueId id;
  std::memcpy(&id, &bytes, sizeof id);
  check_nccl(ncclCommInitRank(&ranks, size, id, rank), "ncclCommInitRank");
}
void nccl_sum(float* x, int64_t count) {
  check_nccl(ncclAllReduce(x, x, size_t(count), ncclFloat, ncclSum, ranks, stream()), "ncclAllReduce");
}
void nccl_leave() {
  check(cudaStreamSynchronize(stream()), "the last sum over ranks");
  check_nccl(ncclCommDestroy(ranks), "ncclCommDestroy");
}

#else

namespace {
[[noreturn]] void absent() {
  throw std::runtime_error("this build has no NCCL");
}
}  // namespace

bool have_nccl() {
  return false;
}
NcclId make_nccl_id() {
  absent();
}
void nccl_join(const NcclId&, int, int) {
  absent();
}
void nccl_sum(float*, int64_t) {
  absent();
}
void nccl_leave() {}

#endif

}  // namespace chalk::cuda
