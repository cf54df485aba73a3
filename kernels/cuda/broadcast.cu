// add: y = a + b      mul: y = a · b      backward: da += Σ dy (· b), db += Σ dy (· a), over the axes along which an input was stretched
// Grid: forward one block per 1024 numbers of y. Backward one thread, or one warp if 32 or more numbers meet, per number of da or db.
// A thread owns numbers of y, or one number of the gradient and all the dy that flow into it: no atomics, a fixed order.
// Bytes: forward 12 a number of y, backward 8 to 16. Bound: memory bandwidth.

#include "kernels/broadcast.h"
#include "kernels/cuda/block.h"

namespace chalk::cuda {
namespace {

struct Places {
  int64_t a, b;
};
// Where number i of y comes from.
__device__ inline Places places_of(int64_t i, const BroadcastShape& s) {
  Places p{0, 0};
  for (int axis = 3; axis >= 0; --axis) {
    const int64_t at = i % s.dim[axis];
    i /= s.dim[axis];
    p.a += at * s.a_stride[axis];
    p.b += at * s.b_stride[axis];
  }
  return p;
}

template <bool product>
__global__ void forward_kernel(float* y, const float* a, const float* b, int64_t count, BroadcastShape s) {
  for (int64_t i = first_item(); i < last_item(count); i += blockDim.x) {
    const Places p = places_of(i, s);
    y[i] = product ? a[p.a] * b[p.b] : a[p.a] + b[p.b];
  }
}

// The shape as one of the inputs ("own") sees it: `kept` axes are its own, along the `summed` ones it was stretched.
struct GradientShape {
  int64_t kept[4], summed[4];  // lengths; 1 where the axis is of the other kind
  int64_t entries, copies;     // their products
  int64_t y_stride[4], other_stride[4];
};

GradientShape gradient_shape(const BroadcastShape& s, const int64_t* own_stride,
                             const int64_t* other_stride) {
  GradientShape g;
  g.entries = g.copies = 1;
  int64_t stride = 1;
  for (int axis = 3; axis >= 0; --axis) {
    const bool stretched = own_stride[axis] == 0;
    g.kept[axis] = stretched ? 1 : s.dim[axis];
    g.summed[axis] = stretched ? s.dim[axis] : 1;
    g.entries *= g.kept[axis], g.copies *= g.summed[axis];
    g.y_stride[axis] = stride, g.other_stride[axis] = other_stride[axis];
    stride *= s.dim[axis];
  }
  return g;
}

// Adds index · strides of an index that counts through `dim`, last axis fastest.
__device__ inline void advance(int64_t index, const int64_t* dim, const GradientShape& g, int64_t& y,
                               int64_t& other) {
  for (int axis = 3; axis >= 0; --axis) {
    const int64_t at = index % dim[axis];
    index /= dim[axis];
    y += at * g.y_stride[axis];
    other += at * g.other_stride[axis];
  }
}

// d[entry] += Σ over copies of dy (· other)
template <bool product>
__global__ void backward_kernel(float* d, const float* dy, const float* other, GradientShape g, int lanes) {
  const int64_t thread = int64_t(blockIdx.x) * blockDim.x + threadIdx.x;
  const int64_t entry = thread / lanes;
  float sum = 0;
  for (int64_t copy = thread % lanes; copy < g.copies && entry < g.entries; copy += lanes) {
    int64_t at_y = 0, at_other = 0;
    advance(entry, g.kept, g, at_y, at_other);
    advance(copy, g.summed, g, at_y, at_other);
    sum += product ? dy[at_y] * other[at_other] : dy[at_y];
  }
  if (lanes == 32) sum = warp_sum(sum);
  if (thread % lanes == 0 && entry < g.entries) d[entry] += sum;
}

int64_t count_of(const BroadcastShape& s) {
  return s.dim[0] * s.dim[1] * s.dim[2] * s.dim[3];
}

template <bool product>
void forward(float* y, const float* a, const float* b, const BroadcastShape& s) {
  const int64_t count = count_of(s);
  if (count == 0) return;
  LAUNCH(forward_kernel<product>, item_blocks(count), item_threads, 0, stream(), y, a, b, count, s);
  check_launch("broadcast forward");
}

template <bool product>
void backward(float* d, const float* dy, const float* other, const GradientShape& g) {
  if (!d || g.entries * g.copies == 0) return;
  const int lanes = g.copies >= 32 ? 32 : 1;
  LAUNCH(backward_kernel<product>, unsigned(ceil_divide(g.entries * lanes, item_threads)), item_threads, 0,
         stream(), d, dy, other, g, lanes);
  check_launch("broadcast backward");
}

}  // namespace

void add_forward(float* y, const float* a, const float* b, const BroadcastShape& shape) {
  forward<false>(y, a, b, shape);
}
void mul_forward(float* y, const float* a, const float* b, const BroadcastShape& shape) {
  forward<true>(y, a, b, shape);
}
void add_backward(float* da, float* db, const float* dy, const BroadcastShape& s) {
  backward<false>(da, dy, nullptr, gradient_shape(s, s.a_stride, s.b_stride));
  backward<false>(db, dy, nullptr, gradient_shape(s, s.b_stride, s.a_stride));
}
void mul_backward(float* da, float* db, const float* dy, const float* a, const float* b,
                  const BroadcastShape& s) {
  backward<true>(da, dy, b, gradient_shape(s, s.a_stride, s.b_stride));
  backward<true>(db, dy, a, gradient_shape(s, s.b_stride, s.a_stride));
}

}  // namespace chalk::cuda
