#pragma once
// Round-to-nearest weight quantization (RTN), the baseline of every paper in this folder
//
// 1. Claim.       There is no paper: RTN is what one does before reading any. Replace each weight by the nearest point of a
//                 grid of 2^b values, one grid per tensor, row or group of inputs. With 8 bits nothing is lost, with 4 bits
//                 little, if groups are small; at 3 bits the loss shows and at 2 bits the model breaks. GPTQ, AWQ and the
//                 others are measured by how much of that loss they win back at the same number of bits. So what counts
//                 as "the same number" matters too: scales, zeros and everything that stays float cost bits as well.
// 2. Idea.        for each row of the weight, for each group of inputs in it:
//                   scale, zero = from the smallest and largest weight of the group
//                   code   = clamp(round(weight / scale) + zero, 0, 2^bits − 1)      stored: bits per weight
//                   weight = scale · (code − zero)                                    used
// 3. Glossary.    W -> weight (out, in)      Ŵ -> dequantized        X -> x (tokens, in)
//                 s, Δ -> scale              z -> zero               k, q -> code       b -> bits      g -> group_size
// 4. Equations (numbered here).
//   Eq. (1)  code = clamp(round(w / s) + z, 0, 2^b − 1), ŵ = s · (code − z)     test: RtnTest.EveryWeightGoesToItsNearestGridPoint
//   Eq. (2)  bits per weight = b + (16 + b_zero) / g                            test: RtnTest.BitsPerWeight
//   Eq. (3)  E (ŵ − w)² = s² / 12, so |W − Ŵ|² = Σ s² / 12                      test: RtnTest.ErrorIsATwelfthOfTheSquaredStep
//   Eq. (4)  E |(W − Ŵ)X|² = Σ_nk s_nk² / 12 · Σ_t x_tk²                        test: RtnTest.PredictsTheOutputError
//   Eq. (5)  signal to noise = 10 log10(Σ w² / Σ (ŵ − w)²): 6.02 dB per bit     test: RtnTest.SixDecibelsPerBit
// 5. Deviations.  scales: the authors of the grids keep them in the weight's type / here half precision, as the checkpoint
//                 formats do / one honest number of bits. Error 2^-11 of a weight, a tenth of the step of 8 bits.
//                 head and embeddings: papers leave them in 16 bits and do not count them / so do we by default, but they
//                 are counted / in a small model they are most of the bytes.
//                 grids: the five rules of the papers and their degenerate cases are in nn/quantizer.h.

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/language_model.h"
#include "nn/group_quant_linear.h"

namespace chalk {

// 6. The code.

struct RtnOptions {
  QuantizerOptions quantizer;  // bits, grid, group size, min-max or searched range
  bool head = false;           // also the output product; its embedding stays float when the two are tied
};

// ---- one layer ----

struct RtnLayer {
  std::string slot;
  QuantizedMatrix matrix;
  double signal = 0;  // Σ w²
  double noise = 0;   // Σ (ŵ − w)²

  // Eq. (5): decibels. Every bit halves the step, which is 10 log10(4) = 6.02 dB.
  double signal_to_noise() const { return 10 * std::log10(signal / noise); }
};

// Rounds weight (out, in), Eq. (1). Throws Error on weights that are not finite.
inline RtnLayer round_layer(const std::string& slot, const Tensor& weight, const QuantizerOptions& options) {
  const std::vector<float> numbers = weight.to_vector();
  RtnLayer layer{.slot = slot,
                 .matrix = round_to_nearest(numbers.data(), weight.dim(0), weight.dim(1), options)};
  const std::vector<float> dequantized = dequantize(layer.matrix);  // (out, in): s · (code − z), Eq. (1)
  for (size_t i = 0; i < numbers.size(); ++i) {
    const double w = numbers[i], error = double(dequantized[i]) - w;
    layer.signal += w * w;
    layer.noise += error * error;
  }
  return layer;
}

// Eq. (2) for one matrix without a ragged last group: b + (16 + b_zero) / g. storage_cost() counts what is really there.
inline double bits_per_weight(int bits, int64_t group_size, bool symmetric, int scale_bits = 16) {
  return bits + double(scale_bits + (symmetric ? 0 : bits)) / double(group_size);
}

// ---- the error model: rounding errors as independent noise, uniform in ±s/2 ----

// Expected Σ (ŵ − w)². Holds as long as few weights are clipped and a step is small against the spread of the weights.
inline double expected_noise(const QuantizedMatrix& q) {
  double sum = 0;
  for (int64_t n = 0; n < q.rows; ++n) {
    for (int64_t k = 0; k < q.columns; ++k) {
      const double step = q.scales[size_t(n * q.groups() + q.group(k))];
      sum += step * step / 12;  // Eq. (3): the variance of a uniform number of width s
    }
  }
  return sum;
}

// Expected |(W − Ŵ)X|² over the tokens of x (tokens, in): errors of different inputs do not cancel, on average.
inline double expected_output_error(const QuantizedMatrix& q, const float* x, int64_t tokens) {
  std::vector<double> power(static_cast<size_t>(q.columns));  // Σ_t x_tk²
  for (int64_t i = 0; i < tokens * q.columns; ++i) power[size_t(i % q.columns)] += double(x[i]) * x[i];
  double sum = 0;
  for (int64_t n = 0; n < q.rows; ++n) {
    for (int64_t k = 0; k < q.columns; ++k) {
      const double step = q.scales[size_t(n * q.groups() + q.group(k))];
      sum += step * step / 12 * power[size_t(k)];  // Eq. (4)
    }
  }
  return sum;
}

// What it really is: |(W − Ŵ)X|².
inline double output_error(const Tensor& weight, const QuantizedMatrix& q, const float* x, int64_t tokens) {
  const std::vector<float> dequantized = dequantize(q), w = weight.to_vector();
  double sum = 0;
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t n = 0; n < q.rows; ++n) {
      double error = 0;  // of output n
      for (int64_t k = 0; k < q.columns; ++k) {
        const size_t at = size_t(n * q.columns + k);
        error += (double(dequantized[at]) - w[at]) * x[t * q.columns + k];
      }
      sum += error * error;
    }
  }
  return sum;
}

// ---- a whole model ----

// The projections that RTN rounds: all inside the blocks, and the head if asked for.
inline std::vector<Slot*> rtn_slots(LanguageModel& model, bool head) {
  std::vector<Slot*> slots = slots_of(model, Slot::Kind::Projection);
  std::erase_if(slots, [&](const Slot* slot) { return slot->name == "lm_head" && !head; });
  return slots;
}

// While it lives, the model runs on packed rounded weights; then its float layers come back. So one model can be measured
// on every rung of a ladder. keep() makes the change last.
struct RoundedModel {
  RoundedModel(LanguageModel& model, const RtnOptions& options) {
    for (Slot* slot : rtn_slots(model, options.head)) {
      layers.push_back(round_layer(slot->name, float_linear(*slot).weight, options.quantizer));
      const Linear& linear = float_linear(*slot);
      auto packed =
          std::make_unique<GroupQuantLinear>(layers.back().matrix, linear.bias, linear.weight.device());
      floats.emplace_back(slot, std::exchange(slot->layer, std::move(packed)));
    }
  }
  ~RoundedModel() { restore(); }
  RoundedModel(const RoundedModel&) = delete;

  void restore() {
    for (auto& [slot, layer] : floats) slot->layer = std::move(layer);
    floats.clear();
  }
  void keep() { floats.clear(); }
  double signal_to_noise() const {  // of all rounded weights together
    double signal = 0, noise = 0;
    for (const RtnLayer& layer : layers) signal += layer.signal, noise += layer.noise;
    return 10 * std::log10(signal / noise);
  }

  std::vector<RtnLayer> layers;  // in the order of the model

 private:
  std::vector<std::pair<Slot*, std::unique_ptr<Layer>>> floats;
};

// ---- ladders: what the tutorial climbs ----

struct Rung {
  std::string name;
  QuantizerOptions quantizer;
};

// One grid for the tensor, the row, and ever smaller groups.
inline std::vector<Rung> granularity_ladder(int bits,
                                            const std::vector<int64_t>& group_sizes = {128, 64, 32}) {
  std::vector<Rung> rungs = {{"tensor", {.bits = bits, .group_size = 0}},
                             {"row", {.bits = bits, .group_size = -1}}};
  for (int64_t g : group_sizes)
    rungs.push_back({"group " + std::to_string(g), {.bits = bits, .group_size = g}});
  return rungs;
}

// The four rules for scale and zero, and the searched range (GPTQ's norm of 2.4).
inline std::vector<Rung> grid_ladder(int bits, int64_t group_size) {
  std::vector<Rung> rungs;
  for (Grid grid : {Grid::AbsMax, Grid::GptqSymmetric, Grid::GptqAsymmetric, Grid::AwqAsymmetric}) {
    rungs.push_back({grid_name(grid), {.bits = bits, .grid = grid, .group_size = group_size}});
  }
  rungs.push_back(
      {"gptq-asym, searched",
       {.bits = bits, .grid = Grid::GptqAsymmetric, .group_size = group_size, .mse_search = true}});
  return rungs;
}

// 7. What the tests prove (tests/papers/rtn_test.cpp; the grids themselves: tests/nn/quantizer_test.cpp).
//    Exact: nearest points, bits, restoring the float model, packed = dequantized. Statistical, with derived bounds: the
//    error model. On a real trained model (stories260K): the order of bits and of granularities.

}  // namespace chalk
