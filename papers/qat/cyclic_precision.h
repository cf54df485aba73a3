#pragma once
// CPT: CYCLIC PRECISION TRAINING
//   Fu, Guo, Li, Yu, Chandra, Lin: "CPT: Efficient Deep Neural Network Training via Cyclic Precision",
//   ICLR 2021, arXiv 2101.09868
//
// 1. Claim. Precision acts like a learning rate: few bits are noise, and noise explores; many bits converge.
//    A bit-width that cycles between a low and a high bound while the network trains costs fewer bit
//    operations than the high bound held all the time, and ends at the same loss or below. The result is a
//    network for the high bound: CPT is a way to train, not a way to serve many widths (that is
//    papers/qat/switchable_precision.h).
//
// 2. Idea.
//      for (t = 0; t < T; ++t) {
//        // starts low, rises, jumps back
//        bits = round(low + (high − low) / 2 · (1 − cos(π · (t mod P) / P)));
//        set_precision(model, {.weights = bits, .activations = bits, .gradients = 8});
//        trainer.train_step(batch);  // nothing else changes
//      }
//
// 3. Glossary.
//      B_min, B_max   CyclicSchedule::low, high       n, P     cycles, period()
//      T, t           total, step                     FW, BW   forward (weights, activations), backward bits
//      B_t            CyclicSchedule::bits(step)      d        the range grid's step (kernels/fake_quant.h)
//
// 4. Equations (labels of the fact sheet), and the test of each.
//      E1  B_t = R(B_min + (B_max − B_min)/2 · (1 − cos(π (t mod P)/P)))    test: CyclicPrecision.ScheduleGoldenValues
//      E2  the backward bits follow the same formula; held constant here    test: CyclicPrecision.BackwardBitsAreHeld
//      E3  forward: min-max grid with a floating offset, gradient unmasked  test: CyclicPrecision.ForwardIsTheRangeGrid
//      E4  backward: the output gradient on that grid, rounded by chance    test: CyclicPrecision.GradientsAreRounded
//      E5  cost of a step: (F² + 2 F B) / (3 · 32²) of a 32-bit one         test: CyclicPrecision.CostGoldenValues
//
// 5. Paper says / code does / why.
//    - activations: one range per batch, running averages at evaluation / the range of each token / a token's
//      range needs no memory that a low-precision phase could spoil; `per_token = false` gives one per batch.
//    - T mod P steps are left over and start another cycle at B_min / they are held at B_max / a run must not
//      end at low precision. `static_steps` makes that last phase longer on purpose.
//    - range test on training accuracy, on the fly / from the same weights and batches at every width / fair,
//      and the whole curve can be shown. The paper's threshold is not known: 0.01, of later projects.
//    - classifier kept in float / embeddings and head kept in float.
//    - released code quantizes the one output gradient that feeds both products of backward / the same.
//    - cosine-down, triangle and shuffled schedules are not the paper's; they exist to be compared with it.
//
// 7. What the tests prove: invariants 1 to 9 of the sheet (golden schedules, switch points, mean bits, cost
//    ratios, B_min = B_max is static training, monotone cycles, exact range ends, unbiased gradients,
//    untouched master weights), and the range test.

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/train.h"
#include "nn/fake_quant.h"

namespace chalk {

// ---- the schedule ---------------------------------------------------------------------------------------

enum class CycleShape {
  CosineUp,    // the paper's: a rise in every cycle, then a jump back
  CosineDown,  // mirrored: the convention of learning rates, wrong for CPT
  Triangle,    // up and down
  Shuffled,    // the bits of CosineUp in random order: the same cost, tests whether the order matters
};

struct CyclicSchedule {
  int low = 3, high = 8;     // B_min, B_max
  int64_t cycles = 32;       // n; the paper's number
  int64_t total = 1;         // T, the static phase included
  int64_t static_steps = 0;  // at the end, held at B_max
  CycleShape shape = CycleShape::CosineUp;
  uint64_t seed = 1;  // Shuffled

  // P = ⌊(T − static_steps) / n⌋. Throws UsageError when a cycle is shorter than its number of widths.
  int64_t period() const {
    const int64_t P = cycles > 0 ? (total - static_steps) / cycles : 0;
    if (low < 2 || high < low || static_steps < 0 || P < high - low + 1) {
      throw UsageError(fmt::format(
          "cyclic precision: {} steps make {} cycles of {}; a cycle from {} to {} bits (at least 2) "
          "needs {} steps",
          total - static_steps, cycles, P, low, high, high - low + 1));
    }
    return P;
  }

  // E1  B_t = R(B_min + (B_max − B_min)/2 · (1 − cos(π (t mod P)/P))), ties to even; B_max after the last
  // whole cycle.
  int bits(int64_t step) const {
    const int64_t P = period();
    if (step >= P * cycles) return high;
    int64_t t = step % P;
    if (shape == CycleShape::CosineDown) t = P - 1 - t;
    if (shape == CycleShape::Triangle) t = std::min(P - 1, 2 * std::min(t, P - 1 - t));
    if (shape == CycleShape::Shuffled) t = shuffled_place(step, P);
    const double rise = 0.5 * (1 - std::cos(3.141592653589793 * double(t) / double(P)));
    return int(std::nearbyint(low + (high - low) * rise));
  }

 private:
  // Another order of 0 … P − 1 in every cycle: the rank of this step's random word among its cycle's.
  int64_t shuffled_place(int64_t step, int64_t P) const {
    const uint64_t stream = derive_seed(seed, uint64_t(step / P));
    const auto word = [&](int64_t i) { return std::pair(random_word(stream, uint64_t(i)), i); };
    int64_t rank = 0;
    for (int64_t i = 0; i < P; ++i) rank += word(i) < word(step % P);
    return rank;
  }
};

// ---- what a step costs ----------------------------------------------------------------------------------

// E5  (F² + 2 F B) / (3 · 32²): forward product F · F, error product F · B, gradient product F · B, relative
// to 32 bits.
// A model of hardware, not of this program: fake quantization takes longer than float.
inline double relative_cost(int forward_bits, int backward_bits) {
  const double F = forward_bits, B = backward_bits;
  return (F * F + 2 * F * B) / (3.0 * 32 * 32);
}

// The whole run, in steps of 32-bit training.
inline double total_cost(const CyclicSchedule& schedule, int backward_bits) {
  double cost = 0;
  for (int64_t t = 0; t < schedule.total; ++t) cost += relative_cost(schedule.bits(t), backward_bits);
  return cost;
}

// ---- the model ------------------------------------------------------------------------------------------

struct CyclicOptions {
  bool per_token = true;             // activations: a range per token, or one per batch
  bool stochastic_gradients = true;  // E4; false rounds to the nearest
};

// The products of a model, quantised as CPT does it. The model must outlive it.
struct CyclicModel {
  LanguageModel& model;
  std::vector<FakeQuantLinear*> layers;

  // Weights and activations at `bits`, output gradients at `backward_bits`; the float weights are not
  // touched.
  void set_precision(int bits, int backward_bits) {
    for (FakeQuantLinear* layer : layers) {
      layer->precision = {.weights = bits, .activations = bits, .gradients = backward_bits};
    }
  }
};

inline CyclicModel make_cyclic(LanguageModel& model, const CyclicOptions& options = {}) {
  // E3  d = max((max − min)/(2^B − 1), 1e-8), q = R(clip((x − min)/d, 0, 2^B − 1)), x̂ = q d + min; backward
  // is the identity.
  // Weights: a range per output channel.
  FakeQuantOptions quantizer{.learned_steps = false, .weight_grid = FakeQuantGrid::Range};
  quantizer.activation_grid = FakeQuantGrid::Range;
  quantizer.per_token = options.per_token;
  quantizer.pass = GradientPass::All;
  // E4  dy → E3 on its own range, U(−1/2, 1/2) added before rounding.
  quantizer.stochastic_gradients = options.stochastic_gradients;
  CyclicModel cyclic{model, put_fake_quant(model, quantizer, {}, all_but_the_head)};
  check(!cyclic.layers.empty(), "cyclic precision: the model has no Linear left to quantize");
  return cyclic;
}

// ---- training -------------------------------------------------------------------------------------------

// One update of an ordinary trainer at this step's width; the learning rate knows nothing of it.
inline StepResult cyclic_train_step(CyclicModel& cyclic, Trainer& trainer, const CyclicSchedule& schedule,
                                    int backward_bits, const std::function<Batch(int64_t index)>& batch) {
  const int bits = schedule.bits(trainer.step);  // E1
  cyclic.set_precision(bits, backward_bits);     // E2: backward_bits is the same at every step
  return trainer.train_step(batch);
}

// ---- the precision range test ---------------------------------------------------------------------------

struct RangeTestOptions {
  int lowest = 2, highest = 8, backward_bits = 8;
  int64_t steps = 20;  // K: updates at each width
  double threshold =
      0.01;  // of improvement over the width below, in nats; later GPT-2 projects used 0.01 of accuracy
};

struct RangeTest {
  std::vector<int> bits;       // widths tried
  std::vector<double> losses;  // mean training loss of the second half of the K steps
  int low = 0, high = 0;       // B_min and B_max
};

// Trains K steps at each width from the same weights on the same batches. B_min is the first width whose loss
// is below that of
// the width before by more than the threshold (training has started to work there), B_max the last such width
// (beyond it bits
// buy nothing); both are the lowest width when no width improves that much.
// fresh() gives a new copy of the starting model, `training` its optimiser.
inline RangeTest precision_range_test(const std::function<std::unique_ptr<LanguageModel>()>& fresh,
                                      const TrainOptions& training, const RangeTestOptions& options,
                                      const std::function<Batch(int64_t index)>& batch) {
  RangeTest test;
  for (int bits = options.lowest; bits <= options.highest; ++bits) {
    const std::unique_ptr<LanguageModel> model = fresh();
    CyclicModel cyclic = make_cyclic(*model);
    Trainer trainer(*model, training);
    cyclic.set_precision(bits, options.backward_bits);
    double sum = 0;
    const int64_t counted = options.steps - options.steps / 2;
    for (int64_t i = 0; i < options.steps; ++i) {
      const double loss = trainer.train_step(batch).loss;
      if (i >= options.steps / 2) sum += loss;
    }
    test.bits.push_back(bits);
    test.losses.push_back(sum / double(counted));
  }
  test.low = test.high = options.lowest;
  bool found = false;
  for (size_t i = 1; i < test.bits.size(); ++i) {
    if (test.losses[i - 1] - test.losses[i] <= options.threshold) continue;
    if (!found) test.low = test.bits[i];
    found = true;
    test.high = test.bits[i];
  }
  return test;
}

}  // namespace chalk
