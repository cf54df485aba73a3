#pragma once
// What tutorials/obq.cpp measures on one layer, and its tables and plot.

#include <functional>

#include "nn/calibration.h"
#include "tutorials/support/results.h"

namespace chalk {

enum ObqMethod { Rounding, Gptq, Obq, ObqPlain, method_count };
inline const char* const method_names[] = {"rounding", "GPTQ", "OBQ", "OBQ without outlier rule"};
inline const int all_bits[] = {4, 3, 2};

// Output errors of one layer, as shares of the output's own square.
struct LayerErrors {
  std::string slot;
  double error[method_count][3];  // by bits
  double damage, surgeon, magnitude;
  double gptq_seconds = 0, obq_seconds = 0;
};

// weight (out, in) of a slot with these inputs; `sparsity` is the share of weights that the pruners delete.
LayerErrors measure_layer(const std::string& slot, const std::vector<float>& w, const SlotInputs& inputs,
                          double sparsity);

using Seeds = std::vector<std::vector<LayerErrors>>;  // a seed's layers
using Value = std::function<double(const LayerErrors&)>;
Value error_of(int method, int bits_index);  // of all_bits
// Sum of `value` over a seed's layers, divided by that of `unit`: one number per seed.
std::vector<double> ratios(const Seeds& seeds, const Value& value, const Value& unit);

Table quantization_table(const Seeds& seeds);
Table pruning_table(const Seeds& seeds);
BarChart error_bars(const std::vector<LayerErrors>& layers);

}  // namespace chalk
