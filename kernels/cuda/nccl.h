#pragma once
// Sums over the GPUs of several processes, by NVIDIA's NCCL, on our stream. Compiled where nccl.h is found and a program
// with it links (tests/house/nccl_flags.sh); elsewhere have_nccl() is false and the others throw std::runtime_error.

#include <cstdint>

namespace chalk::cuda {

bool have_nccl();
void use_gpu(int number);  // modulo the number of GPUs; nothing on cusim. Before the first allocation.

struct NcclId {  // made by one process, known to all
  char bytes[128];
};
NcclId make_nccl_id();
void nccl_join(const NcclId& id, int rank, int size);  // returns when all have joined
void nccl_sum(float* x, int64_t count);                // device memory; x = Σ_ranks x
void nccl_leave();

}  // namespace chalk::cuda
