#pragma once
// What tutorials/gptq.cpp measures, and its tables and plots.

#include <cmath>
#include <functional>

#include "papers/quantization/gptq.h"
#include "tutorials/support/results.h"

namespace chalk {

// A grid, and the published perplexities on one like it.
struct Setting {
  int bits;
  int64_t group;          // −1: one grid per row
  const char* theirs[4];  // OPT-125M and LLaMA-7B: round to nearest, GPTQ
};
inline const std::vector<Setting> gptq_settings = {{4, -1, {"37.28", "31.12", "6.29", "6.09"}},
                                                   {4, 32, {"-", "-", "-", "-"}},
                                                   {3, -1, {"1300", "53.85", "25.54", "8.07"}},
                                                   {3, 64, {"-", "-", "-", "6.61 (g128)"}},
                                                   {3, 32, {"-", "-", "-", "-"}},
                                                   {2, -1, {"-", "-", "-", "-"}},
                                                   {2, 64, {"-", "-", "-", "-"}},
                                                   {2, 32, {"-", "-", "-", "-"}}};
enum GptqMethod { Rtn, Gptq, Ordered, method_count };  // Ordered: with act-order and true-sequential
inline const char* const method_names[] = {"rounding", "GPTQ", "GPTQ, act-order + true-sequential"};

// One model at one seed.
struct Measured {
  double full = 0;                                      // loss of the float model, nats
  std::vector<double> loss[method_count];               // by setting
  std::vector<std::vector<gptq::LayerReport>> reports;  // of Gptq, by setting
  double ppl(int method, size_t setting) const { return std::exp(loss[method][setting]); }
};

// value() of each seed.
std::vector<double> values(const std::vector<Measured>& all,
                           const std::function<double(const Measured&)>& value);
std::string name_of(const Setting& setting);  // "3 bits, groups of 32"

Table perplexity_table(const std::vector<Measured>& all);
LinePlot loss_plot_of(const std::string& subject, const std::vector<Measured>& all);
BarChart layer_bars(const std::vector<gptq::LayerReport>& reports);

}  // namespace chalk
