#pragma once
// One row per way to store a model's weights: what it costs and what it loses. The rows of `rtn` and `compare`.

#include <string>
#include <vector>

#include "models/language_model.h"
#include "tutorials/support/json.h"
#include "tutorials/support/plot.h"
#include "tutorials/support/table.h"

namespace chalk {

struct MethodRow {
  std::string name;
  std::vector<double> losses = {};  // nats per token, one per seed; empty: not measured
  double snr = 0;                   // decibels of the rounded weights; 0: not measured
  double effective_bits = 0;        // per parameter of the whole model, nothing left out
  int64_t memory = 0, disk = 0;     // bytes of the weights; 0: not measured
  double tokens_per_second = 0;     // decoding; 0: not measured

  // Fills effective_bits (float parameters counted with `float_bits`) and memory from the model as it is now.
  void weigh(LanguageModel& model, int float_bits);
  double mean() const;  // of the losses
};

// The first row is the float model: losses are also shown as differences from it, seed by seed. Columns that no row has
// measured are left out.
Table method_table(const std::vector<MethodRow>& rows);
// Mean difference from the first row, with the smallest and largest over the seeds.
BarChart method_bars(const std::vector<MethodRow>& rows, const std::string& title);
Json to_json(const MethodRow& row);

// The row of that name. Throws Error when there is none.
const MethodRow& find_row(const std::vector<MethodRow>& rows, const std::string& name);

}  // namespace chalk
