#pragma once
// For eyes: a tensor as text (also from gdb: `call chalk::print(x)`), and the graph as a picture.

#include <string>

#include "autograd/tensor.h"

namespace chalk {

// Shape, device, statistics and the first numbers of each row, at most `rows` rows of `columns` numbers.
std::string to_text(const Tensor& t, int64_t rows = 6, int64_t columns = 8);

// Prints to_text(t) to stderr. Not a template and not inline, so that gdb can call it.
void print(const Tensor& t);

// The graph that made y, in DOT (draw it with `dot -Tpng`): one box per op with its output's shape, one oval per leaf.
// Call it before backward(), which releases the graph.
std::string graph_dot(const Tensor& y);

}  // namespace chalk
