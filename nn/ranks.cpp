// MPI, and NCCL for GPUs. The build defines CHALK_MPI where a program with mpi.h links (tests/house/mpi_flags.sh).

#include "nn/ranks.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/check.h"
#include "kernels/cuda/nccl.h"

#ifdef CHALK_MPI
#define OMPI_SKIP_MPICXX 1  // the C++ bindings that MPI dropped in 2012
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#endif

namespace chalk {

bool have_mpi() {
#ifdef CHALK_MPI
  return true;
#else
  return false;
#endif
}

std::string Ranks::describe() const {
  return fmt::format("{} rank{}, sums over {}", size, size == 1 ? "" : "s", nccl ? "NCCL" : "MPI");
}

#ifdef CHALK_MPI

namespace {

// MPI counts with int, and a tensor may be longer: f(part, count) on parts of at most 2³⁰ numbers.
template <class F>
void in_parts(float* x, int64_t count, F&& f) {
  constexpr int64_t most = int64_t(1) << 30;
  for (int64_t i = 0; i < count; i += most) f(x + i, int(std::min(most, count - i)));
}

// The same on numbers of any device: those of a GPU go through the host.
template <class F>
void in_parts(const Tensor& x, F&& f) {
  const bool on_gpu = x.device() == Device::CUDA;
  const Tensor host = on_gpu ? x.to(Device::CPU) : x;
  in_parts(host.data(), host.numel(), f);
  if (on_gpu) x.copy_from(host);
}

// MPI leaves open whether MPI_Allreduce gives every rank the same bits. A sum that is formed on rank 0 and sent out does.
void sum_parts(float* x, int count, int rank) {
  MPI_Reduce(rank == 0 ? MPI_IN_PLACE : x, x, count, MPI_FLOAT, MPI_SUM, 0, MPI_COMM_WORLD);
  MPI_Bcast(x, count, MPI_FLOAT, 0, MPI_COMM_WORLD);
}

// This process's number among those of its machine.
int rank_on_this_machine(int rank) {
  MPI_Comm machine;
  int number = 0;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &machine);
  MPI_Comm_rank(machine, &number);
  MPI_Comm_free(&machine);
  return number;
}

}  // namespace

Ranks Ranks::join(Device device) {
  Ranks ranks;
  MPI_Init(nullptr, nullptr);
  MPI_Comm_rank(MPI_COMM_WORLD, &ranks.rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks.size);
  if (device != Device::CUDA) return ranks;
  cuda::use_gpu(rank_on_this_machine(ranks.rank));
  if (!cuda::have_nccl()) return ranks;
  cuda::NcclId id = {};
  if (ranks.first()) id = cuda::make_nccl_id();
  MPI_Bcast(id.bytes, int(sizeof id.bytes), MPI_CHAR, 0, MPI_COMM_WORLD);
  cuda::nccl_join(id, ranks.rank, ranks.size);
  ranks.nccl = true;
  return ranks;
}

void Ranks::leave() const {
  if (nccl) cuda::nccl_leave();
  MPI_Finalize();
}

void Ranks::sum(const Tensor& x) const {
  if (size == 1) return;
  if (nccl && x.device() == Device::CUDA) return cuda::nccl_sum(x.data(), x.numel());
  in_parts(x, [this](float* part, int count) { sum_parts(part, count, rank); });
}

double Ranks::sum(double x) const {
  if (size == 1) return x;
  double total = 0;
  MPI_Reduce(&x, &total, 1, MPI_DOUBLE, MPI_SUM, 0, MPI_COMM_WORLD);
  MPI_Bcast(&total, 1, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  return total;
}

void Ranks::copy_from_first(const Tensor& x) const {
  if (size == 1) return;
  in_parts(x, [](float* part, int count) { MPI_Bcast(part, count, MPI_FLOAT, 0, MPI_COMM_WORLD); });
}

#else

Ranks Ranks::join(Device) {
  throw BackendUnavailable(
      "this build has no MPI, so there is one process only: install libopenmpi-dev and openmpi-bin (make "
      "deps-all), then "
      "make again; make doctor tells what was found");
}
void Ranks::leave() const {}
void Ranks::sum(const Tensor&) const {}
double Ranks::sum(double x) const {
  return x;
}
void Ranks::copy_from_first(const Tensor&) const {}

#endif

}  // namespace chalk
