#pragma once
// The experiment of tutorials/awq.cpp: one model, as it was trained and with outliers injected, rounded in nine ways.

#include <string>
#include <vector>

#include "models/outliers.h"
#include "papers/quantization/awq.h"
#include "tutorials/support/plot.h"
#include "tutorials/support/table.h"
#include "tutorials/support/training.h"

namespace chalk {

struct AwqLab {
  int bits = 3;
  int64_t group = 128;                  // the paper's; the last group of a row may be shorter
  double fraction = 0.03, factor = 16;  // outliers: share of the channels, how much larger
  int64_t batches = 32;                 // of validation text
  std::string tokenizer;                // empty: the model's own
  uint64_t seed = 1;                    // which channels
};

// The treatments, in the order of the table.
enum Row { Float, Rtn, KeepActivation, KeepWeight, KeepRandom, ScalesOnly, ClipOnly, Awq, Duo };

// The losses of one model: [0] as it was trained, [1] with outliers. The curves are those of the second.
struct AwqMeasurement {
  std::vector<double> loss[2];
  std::vector<ScaleSearch> searches;
  std::vector<ScalingEffect> effects;  // of the factors in `sweep`
  std::vector<double> output_error;
  std::string injected;
};

// Loads the model in `path` once per treatment. Calibration: 64 rows of training text.
AwqMeasurement measure_awq(const std::string& path, const AwqLab& o, const Corpus& corpus, Context& context);

// One per model.
std::vector<double> losses_of(const std::vector<AwqMeasurement>& all, int outliers, int row);
const char* method_name(int row, const AwqLab& o);

Table loss_table(const std::vector<AwqMeasurement>& all, const AwqLab& o);
Table sweep_table(const AwqMeasurement& m);
// Losses over α, as shares of plain rounding's: the groups behind a norm (outliers enter there), and the others.
LinePlot alpha_plot(const AwqMeasurement& m);
BarChart loss_bars(const std::vector<AwqMeasurement>& all, const AwqLab& o);

}  // namespace chalk
