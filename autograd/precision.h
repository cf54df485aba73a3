#pragma once
// The precision in which linear() and matmul() multiply: a scope, like NoGrad. What is stored (weights, activations, gradients)
// and every other op stay float32.
//   const MatmulPrecision scope(Precision::BF16);
//   loss = model.forward(…);    // each product remembers the precision for its backward

#include "kernels/precision.h"

namespace chalk {

struct MatmulPrecision {
  explicit MatmulPrecision(Precision precision) : outer(current()) { current() = precision; }
  ~MatmulPrecision() { current() = outer; }
  MatmulPrecision(const MatmulPrecision&) = delete;

  static Precision& current() {
    thread_local Precision precision = Precision::FP32;
    return precision;
  }
  Precision outer;
};

}  // namespace chalk
