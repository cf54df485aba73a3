#pragma once
// The processes that train one model together. MPI starts them and numbers them 0 … size − 1, the ranks:
//   mpirun -np 2 build/bin/train --data-parallel
// A Ranks made without arguments is one process alone, for which every function below does nothing.

#include <string>

#include "autograd/tensor.h"

namespace chalk {

struct Ranks {
  Ranks() = default;
  // Joins the processes that mpirun started (one, without mpirun). With Device::CUDA each of a machine's ranks takes a GPU
  // of its own, in turn. Once per program. Throws BackendUnavailable when this build has no MPI.
  static Ranks join(Device device);
  // The last call of a successful run. A process that ends without it makes mpirun end the others, who may be waiting for it.
  void leave() const;

  int rank = 0, size = 1;
  bool nccl = false;  // sums on GPUs go from GPU to GPU; otherwise through the host
  bool first() const { return rank == 0; }
  std::string describe() const;  // "2 ranks, sums over MPI"

  // Every rank must call these, in the same order: a rank that does not is waited for.
  void sum(const Tensor& x) const;              // x = Σ_ranks x, the same bits on every rank
  double sum(double x) const;                   // Σ_ranks x
  void copy_from_first(const Tensor& x) const;  // x = rank 0's x
};

inline const Ranks one_rank;

// Was this build linked with MPI?
bool have_mpi();

}  // namespace chalk
