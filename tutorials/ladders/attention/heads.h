#pragma once
// Where a head's rows lie: row i of head h of sequence b begins at first_row + i · row_stride.

#include "kernels/attention.h"
#include "kernels/cuda/cuda_portable.h"

namespace chalk::ladder {

__device__ inline int row_stride(const AttentionShape& s) {
  return int(s.H * s.D);
}
// head counts sequences and heads together: b · H + h.
__device__ inline int first_row(const AttentionShape& s, int head) {
  const int b = head / int(s.H), h = head % int(s.H);
  return (b * int(s.Tq * s.H) + h) * int(s.D);
}

}  // namespace chalk::ladder
