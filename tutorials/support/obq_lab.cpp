#include "tutorials/support/obq_lab.h"

#include <algorithm>
#include <chrono>

#include "papers/quantization/gptq.h"
#include "papers/quantization/obq.h"

namespace chalk {

static double seconds_of(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Rows of w pruned one by one; `pruner` null: the smallest weights, nothing repaired.
static std::vector<float> pruned(const std::vector<float>& w, const std::vector<double>& h, int64_t C,
                                 double sparsity, const obq::Pruner* pruner) {
  std::vector<float> result = w;
  const int64_t R = int64_t(w.size()) / C, count = int64_t(sparsity * double(C));
  std::vector<double> identity(size_t(C * C));
  for (int64_t i = 0; i < C; ++i) identity[size_t(i * C + i)] = 1;
  cpu::parallel_for(R, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      std::vector<double> row(w.begin() + r * C, w.begin() + (r + 1) * C);
      obq::prune_row(row, pruner ? h : identity, count, pruner ? *pruner : obq::Pruner::Damage);
      std::copy(row.begin(), row.end(), result.begin() + r * C);
    }
  });
  return result;
}

LayerErrors measure_layer(const std::string& slot, const std::vector<float>& w, const SlotInputs& inputs,
                          double sparsity) {
  const int64_t C = inputs.in, R = int64_t(w.size()) / C;
  const std::vector<double> h = obq::hessian_of(inputs.x.data(), inputs.tokens, C);
  gptq::Hessian hessian(C);
  hessian.add(inputs.x.data(), inputs.tokens);
  const double whole = obq::output_error(w.data(), std::vector<float>(w.size()), h, R, C);
  const auto share = [&](const std::vector<float>& changed) {
    return obq::output_error(w.data(), changed, h, R, C) / whole;
  };
  LayerErrors e{.slot = slot, .error = {}, .damage = 0, .surgeon = 0, .magnitude = 0};
  for (int i = 0; i < 3; ++i) {
    const QuantizerOptions quantizer{.bits = all_bits[i]};
    e.error[Rounding][i] = share(dequantize(round_to_nearest(w.data(), R, C, quantizer)));
    e.gptq_seconds += seconds_of([&] {
      const gptq::Options options{.quantizer = quantizer};
      e.error[Gptq][i] = share(
          dequantize(gptq::quantize(w.data(), R, C, gptq::factor_hessian(hessian, options), options).weight));
    });
    e.obq_seconds += seconds_of([&] {
      e.error[Obq][i] = share(
          dequantize(obq::quantize(w.data(), R, C, h, {.quantizer = quantizer, .damping = 0.01}).weight));
    });
    const obq::Options plain{.quantizer = quantizer, .outlier_rule = false, .damping = 0.01};
    e.error[ObqPlain][i] = share(dequantize(obq::quantize(w.data(), R, C, h, plain).weight));
  }
  const obq::Pruner damage = obq::Pruner::Damage, surgeon = obq::Pruner::Surgeon;
  e.magnitude = share(pruned(w, h, C, sparsity, nullptr));
  e.damage = share(pruned(w, h, C, sparsity, &damage));
  e.surgeon = share(pruned(w, h, C, sparsity, &surgeon));
  return e;
}

std::vector<double> ratios(const Seeds& seeds, const Value& value, const Value& unit) {
  std::vector<double> result;
  for (const std::vector<LayerErrors>& layers : seeds) {
    double sum = 0, whole = 0;
    for (const LayerErrors& e : layers) sum += value(e), whole += unit(e);
    result.push_back(sum / whole);
  }
  return result;
}

Value error_of(int method, int i) {
  return [=](const LayerErrors& e) { return e.error[method][i]; };
}

Table quantization_table(const Seeds& seeds) {
  Table table{.header = {"method", "4 bits", "3 bits", "2 bits", "paper, OPT-125M perplexity: 4 bits",
                         "3 bits", "paper, ResNet-18 top-1: 4 bits", "3 bits"}};
  const char* theirs[][4] = {{"37.28", "1300", "-", "-"},
                             {"31.12", "53.85", "69.37", "67.88"},
                             {"32.52", "69.32", "69.56", "68.69"},
                             {"-", "-", "-", "-"}};
  for (int method = 0; method < method_count; ++method) {
    std::vector<std::string> row = {method_names[method]};
    for (int i = 0; i < 3; ++i)
      row.push_back(spread(ratios(seeds, error_of(method, i), error_of(Rounding, i))));
    row.insert(row.end(), std::begin(theirs[method]), std::end(theirs[method]));
    table.rows.push_back(row);
  }
  return table;
}

Table pruning_table(const Seeds& seeds) {
  Table table{.header = {"pruner", "output error / Damage's"}};
  const auto row = [&](const std::string& name, const Value& value) {
    table.rows.push_back({name, spread(ratios(seeds, value, &LayerErrors::damage))});
  };
  row("smallest weights", &LayerErrors::magnitude);
  row("Damage: smallest h·w²", &LayerErrors::damage);
  row("Surgeon: repaired", &LayerErrors::surgeon);
  return table;
}

BarChart error_bars(const std::vector<LayerErrors>& layers) {
  BarChart chart{.title = "Squared output error at 3 bits",
                 .subtitle = "shares of plain rounding's, by layer"};
  for (int method : {Rounding, Gptq, Obq}) {
    BarSeries bars{.name = method_names[method], .values = {}};
    for (const LayerErrors& e : layers) bars.values.push_back(e.error[method][1] / e.error[Rounding][1]);
    chart.series.push_back(bars);
  }
  for (const LayerErrors& e : layers) chart.categories.push_back(e.slot);
  return chart;
}

}  // namespace chalk
