// Tensors and graphs as text.

#include "autograd/print.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <unordered_map>

#include "autograd/check.h"

namespace chalk {

std::string to_text(const Tensor& t, int64_t rows, int64_t columns) {
  if (!t.defined()) return "Tensor (undefined)\n";
  const std::vector<float> x = t.to_vector();
  double sum = 0, low = INFINITY, high = -INFINITY;
  int64_t bad = 0;
  for (float v : x) {
    if (!std::isfinite(v)) {
      ++bad;
      continue;
    }
    sum += v;
    low = std::min(low, double(v));
    high = std::max(high, double(v));
  }
  std::string text = fmt::format("Tensor {} on {}{}", to_string(t.shape), device_name(t.device()),
                                 t.requires_grad() ? ", requires grad" : "");
  const int64_t finite = int64_t(x.size()) - bad;
  if (finite > 0) text += fmt::format(", min {:.4g} mean {:.4g} max {:.4g}", low, sum / double(finite), high);
  if (bad > 0) text += fmt::format(", {} NOT FINITE", bad);
  text += "\n";

  const int64_t width = t.rank() == 0 ? 1 : std::max<int64_t>(t.dim(-1), 1);
  const int64_t height = t.numel() / width;
  for (int64_t r = 0; r < std::min(rows, height); ++r) {
    text += "  ";
    for (int64_t c = 0; c < std::min(columns, width); ++c)
      text += fmt::format(" {:10.4g}", x[size_t(r * width + c)]);
    text += columns < width ? " ...\n" : "\n";
  }
  if (rows < height) text += fmt::format("   ... {} more rows\n", height - rows);
  return text;
}

void print(const Tensor& t) {
  std::fputs(to_text(t).c_str(), stderr);
}

namespace {

struct DotWriter {
  std::unordered_map<const History*, int> ids;
  std::string text = "digraph graph_of_ops {\n  rankdir=BT; node [fontname=\"DejaVu Sans\", fontsize=10];\n";

  int visit(const Tensor& x) {
    auto [place, is_new] = ids.emplace(x.history.get(), int(ids.size()));
    const int id = place->second;
    if (!is_new) return id;
    const Node* node = x.history->made_by.get();
    text += fmt::format("  n{} [shape={}, label=\"{}\\n{}\"];\n", id, node ? "box" : "ellipse",
                        node ? node->name() : "leaf", to_string(x.shape));
    if (!node) return id;
    for (const Tensor& input : node->inputs()) {
      if (input.requires_grad()) text += fmt::format("  n{} -> n{};\n", visit(input), id);
    }
    return id;
  }
};

}  // namespace

std::string graph_dot(const Tensor& y) {
  DotWriter writer;
  if (y.requires_grad()) writer.visit(y);
  return writer.text + "}\n";
}

}  // namespace chalk
