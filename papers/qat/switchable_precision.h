#pragma once
// SWITCHABLE PRECISION: one set of weights that works at several bit-widths, chosen at run time.
//   SP-Nets        Guerra, Zhuang, Reid, Drummond, 2020, arXiv 2002.02815
//   Any-Precision  Yu, Li, Shi, Huang, Hua, Zhang, AAAI 2021, arXiv 1911.07346
//   AdaBits        Jin, Yang, Liao, CVPR 2020, arXiv 1912.09666
//   InstantNet     Fu, Yu, Zhang, Wang, Ouyang, Cao, Lin, DAC 2021, arXiv 2104.10853
//
// 1. Claim. A network whose weights are shared by all bit-widths, with normalisation parameters private to
//    each, and whose low widths learn from its own high ones, is at every width about as good as a network
//    trained for that width alone. One file then serves every memory, latency and quality budget, and
//    switching costs nothing.
//
// 2. Idea.
//      for (bits : {16, 8, 6, 4, 2}) {        // one batch, from the highest width to the lowest
//        model.set_precision(bits);           // weights: this width's steps; norms: this width's
//        logits[bits] = model.forward(batch);
//        loss = bits == 16 ? CE(logits[16], labels) : KL(detach(logits[next higher]), logits[bits]);
//        (loss / 5).backward();               // gradients of all widths add up
//      }
//      optimizer.step();
//
// 3. Glossary.
//      S = {b_1 < … < b_N}    SwitchableOptions::widths          z_b, p_b   logits of a width, softmax
//      Q_b(w)                 FakeQuantLinear at precision b     SG         detach()
//      gamma_b, beta_b        PrecisionNorm's copy for b
//      beta, a1               SwitchableTraining::distillation_weight       a2    feature_weight
//      I (switch interval)    SwitchableTraining::interval       K, i       number of widths, step
//
// 4. Equations (labels of the fact sheet; the papers number differently), and the test of each.
//      E1  L = (1/N) Σ_b L_b, one step on the sum of all gradients          test: SwitchablePrecision.GradientIsTheMeanOverWidths
//      E2  soft and recursive distillation: CE(SG p_higher, p_b)            test: SwitchablePrecision.EveryDistillationTrains
//      E3  SP-Nets: a1 KL(SG p_N || p_b) + a2 |f_N − f_b|²                  test: SwitchablePrecision.EveryDistillationTrains
//      E4  cascade: CE(z_b, y) + beta Σ_{j>b} MSE(z_b, SG z_j)              test: SwitchablePrecision.CascadeIsItsFormula
//      E6  nested grid: code_n = code_m >> (m − n)                          test: SwitchablePrecision.NestedCodesShift
//      E7  NORM_b(x) = x̂ · gamma_b + beta_b                                 test: SwitchablePrecision.PrivateNormsFollowTheirConsumer
//
// 5. Papers say / code does / why.
//    - DoReFa or min-max weights, running activation ranges / LSQ with a step per output channel and width,
//      activations by the range of each token, 8 bits / steps of neighbouring widths differ by a factor of
//      two and cannot be shared, and a dynamic range needs no state per width. The nested grid (E6) is an
//      option.
//    - released codes sum the losses / E1's mean / the learning rate then means the same for any number of
//      widths.
//    - 32-bit or 8-bit top / 16 bits is the float model itself, an exact pass-through.
//    - BatchNorm with private statistics / LayerNorm has none: gamma_b and beta_b are all there is to keep
//      apart.
//    - norms per transition between widths (Bit-Mixer) / a norm follows the width of the product that reads
//      it / the input of one product is all that a private norm of a pre-norm transformer feeds.
//    - InstantNet learns from the logits of all higher widths / the next higher width's probabilities are the
//      default / softmax does not see a shift of all logits, but the squared distance does: on our
//      small GPT-2 the cascade costs 0.02 to 0.03 nats at every width (switchable_precision.md).
//    - E6 prints a rounding bracket / floor, values at mid-cell / only floor shifts exactly; mid-cell
//      removes its bias.
//
// 7. What the tests prove: invariants 1 to 8 of the sheet (bit-for-bit switching, pass-through, one width
//    = plain QAT, gradients, private parameters, the nested grid, samplers), configuration files, and save /
//    load.

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/language_model.h"
#include "models/text/loader.h"
#include "models/text/tokenizer.h"
#include "nn/adamw.h"
#include "nn/distillation.h"
#include "nn/fake_quant.h"
#include "nn/precision_norm.h"
#include "nn/schedule.h"

namespace chalk {

// ---- which layer runs at how many bits ------------------------------------------------------------------

// Bits of the weights of one block's attention and MLP. 16 is float.
struct LayerPrecision {
  int attn_bits = 16, mlp_bits = 16;
  bool operator==(const LayerPrecision&) const = default;
};
using PrecisionPlan = std::vector<LayerPrecision>;  // (L), one entry per block

inline PrecisionPlan uniform_plan(int64_t layers, int bits) {
  return PrecisionPlan(size_t(layers), {bits, bits});
}

// ---- the nested grid (AdaBits, Double-Win Quant) --------------------------------------------------------

// E6  S_k = (max − min) / 2^k,  code_k = min(⌊(w − min) / S_k⌋, 2^k − 1)
// The codes of k bits are the first k bits of any longer ones, so only the longest need to be stored. One
// grid for the n numbers of w.
inline std::vector<int32_t> nested_codes(const float* w, int64_t n, int k) {
  const auto [least, most] = std::minmax_element(w, w + n);
  const float min = *least, range = std::max(*most - min, fake_quant_min_step), cells = float(1 << k);
  std::vector<int32_t> codes;
  for (int64_t i = 0; i < n; ++i) {
    // (w − min) / range is rounded once; the multiplication by 2^k is exact, so all widths cut the same
    // number.
    codes.push_back(std::min(int32_t(std::floor((w[i] - min) / range * cells)), (1 << k) - 1));
  }
  return codes;
}

// Value of a code: the middle of its cell, min + (code + 1/2) · S_k. weight (out, in), one grid per row.
inline Tensor nested_weights(const Tensor& weight, int k) {
  const std::vector<float> w = weight.to_vector();
  const int64_t in = weight.dim(1);
  std::vector<float> values;
  for (int64_t row = 0; row < weight.dim(0); ++row) {
    const float* x = w.data() + row * in;
    const auto [least, most] = std::minmax_element(x, x + in);
    const float cell = std::max(*most - *least, fake_quant_min_step) / float(1 << k);
    for (int32_t code : nested_codes(x, in, k)) values.push_back(*least + (float(code) + 0.5f) * cell);
  }
  return Tensor::from(weight.shape, values, weight.device());
}

// ---- the model ------------------------------------------------------------------------------------------

struct SwitchableOptions {
  std::vector<int> widths = {2, 4, 6, 8, 16};  // of weights; 16 is float and always possible
  int activation_bits = 8;                     // entering a product whose weights have less than 16 bits
  bool private_norms = true;                   // false: one norm for all widths
  bool nested_grid = false;                    // the nested grid instead of learned steps
  FakeQuantOptions quantizer = {};             // nn/fake_quant.h: LSQ, one step per output channel
};

// A model whose products and norms have been made switchable, and the handles to switch them. It must outlive
// this struct.
struct SwitchableModel {
  struct Part {
    FakeQuantLinear* linear = nullptr;  // or, when null:
    PrecisionNorm* norm = nullptr;
    int64_t layer = 0;
    bool in_mlp = false;
    std::string slot;
  };
  LanguageModel& model;
  SwitchableOptions options;
  std::vector<Part> parts;
  PrecisionPlan plan;  // what is set now

  int64_t layers() const { return int64_t(plan.size()); }
  // All layers at one width; 32 means 16. Throws Error for a width that was not made.
  void set_precision(int bits) { set_plan(uniform_plan(layers(), bits)); }
  void set_layer_precision(int64_t layer, LayerPrecision precision);
  void set_plan(const PrecisionPlan& plan);
};

// The layer of a slot's name, "h.3.mlp.c_fc" -> 3; −1 when it belongs to none.
int64_t layer_of_slot(const std::string& slot);

// Does the slot compute for the MLP? A norm goes with the product that reads it.
bool slot_in_mlp(const std::string& slot);

// Swaps every product and norm inside the blocks; embeddings, the final norm and the head stay float. The
// model starts at 16. Throws Error when a width is below 2, or when the model has been made switchable
// before.
inline SwitchableModel make_switchable(LanguageModel& model, SwitchableOptions options = {}) {
  std::sort(options.widths.begin(), options.widths.end());
  FakeQuantOptions quantizer = options.quantizer;
  if (options.nested_grid) quantizer.custom_weights = nested_weights;
  SwitchableModel switchable{model, options, {}, uniform_plan(int64_t(model.blocks().size()), 16)};
  const std::vector<FakeQuantLinear*> linears =
      put_fake_quant(model, quantizer, options.widths, all_but_the_head);
  check(!linears.empty(), "switchable precision: the model has no Linear left to make switchable");
  model.visit_slots([&](Slot& slot) {
    SwitchableModel::Part part{
        .layer = layer_of_slot(slot.name), .in_mlp = slot_in_mlp(slot.name), .slot = slot.name};
    if (part.layer < 0) return;
    if (slot.kind == Slot::Kind::Norm && options.private_norms) {  // E7  NORM_b(x) = x̂ · gamma_b + beta_b
      auto norm = std::make_unique<PrecisionNorm>(std::move(slot.layer), options.widths);
      part.norm = norm.get();
      slot.layer = std::move(norm);
    }
    if (slot.kind == Slot::Kind::Projection) part.linear = dynamic_cast<FakeQuantLinear*>(slot.layer.get());
    if (part.norm || part.linear) switchable.parts.push_back(part);
  });
  return switchable;
}

inline void SwitchableModel::set_layer_precision(int64_t layer, LayerPrecision precision) {
  check(layer >= 0 && layer < layers(), "switchable precision: layer {} of {}", layer, layers());
  for (int* bits : {&precision.attn_bits, &precision.mlp_bits}) {
    if (*bits > 16) *bits = 16;
    const bool known = *bits == 16 || std::count(options.widths.begin(), options.widths.end(), *bits) > 0;
    check(known, "switchable precision: layer {} cannot run at {} bits; the model was made for {} and 16",
          layer, *bits, fmt::join(options.widths, ", "));
  }
  for (Part& part : parts) {
    if (part.layer != layer) continue;
    const int bits = part.in_mlp ? precision.mlp_bits : precision.attn_bits;
    if (part.norm) part.norm->bits = bits;
    if (part.linear)
      part.linear->precision = {.weights = bits, .activations = bits < 16 ? options.activation_bits : 16};
  }
  plan[size_t(layer)] = precision;
}

inline void SwitchableModel::set_plan(const PrecisionPlan& wanted) {
  check(int64_t(wanted.size()) == layers(),
        "switchable precision: a plan for {} layers, but the model has {}", wanted.size(), layers());
  for (int64_t layer = 0; layer < layers(); ++layer) set_layer_precision(layer, wanted[size_t(layer)]);
}

// ---- which widths train in a step -----------------------------------------------------------------------

enum class SwitchStrategy {
  Joint,     // every width, every step: the papers' way; N forwards a step
  Sandwich,  // the highest, the lowest, and two random ones between (slimmable networks; InstantNet's code)
  Cyclic,    // one width, the next every `interval` steps
  Random,    // one width, drawn every `interval` steps
  RandomPerLayer,  // one width for each attention and MLP, drawn every `interval` steps (Bit-Mixer)
  Progressive,     // one width, from the highest to the lowest once in the run
  Scheduled,       // one width, along `schedule`, the next every `interval` steps, repeated
};

enum class Distillation {
  Hard,       // labels only
  Soft,       // labels at the top; below, the top's probabilities (Any-Precision)
  Recursive,  // labels at the top; below, the next higher width's (Any-Precision)
  Features,   // probabilities and last hidden state of the top (SP-Nets)
  Cascade,    // labels, and the logits of every higher width (InstantNet)
  Teacher,    // labels and one teacher's probabilities: 0.7 CE + 0.3 τ² KL with τ = 4
};

struct SwitchableTraining {
  SwitchStrategy strategy = SwitchStrategy::Joint;
  int64_t interval = 10;           // steps between switches
  std::vector<int> schedule = {};  // Scheduled
  Distillation distillation = Distillation::Recursive;
  float distillation_weight = 1;                // beta of the cascade, a1 of SP-Nets
  float feature_weight = 1;                     // a2 of SP-Nets
  float teacher_share = 0.3f, temperature = 4;  // Teacher

  int64_t steps = 300, warmup = 10;
  double lr = 3e-4, lr_floor = 0.1;  // AdamW, cosine
  double step_lr = 1e-4;             // of LSQ's steps
  double weight_decay = 0.01;        // of matrices; never of steps, norms and biases
  double clip = 1;
  std::map<int, double> lr_by_bits = {};  // factor while a width trains, {{2, 0.5}, {4, 0.75}}; absent: 1
  uint64_t seed = 1;
};

// The plans of one step, the highest width first. A pure function of the step.
// Defined in switchable_precision.cpp.
std::vector<PrecisionPlan> plans_of_step(const SwitchableTraining& training, std::vector<int> widths,
                                         int64_t layers, int64_t step);

// ---- training -------------------------------------------------------------------------------------------

// What one plan's forward pass gave: a teacher for the lower ones.
struct SwitchableOutput {
  Tensor logits;    // (B, T, V)
  Tensor features;  // (B, T, C), the last block's output
};

struct SwitchableTrainer {
  // The parameters are all that the model has now. `teacher`: a frozen float model that replaces the
  // network's own top width as teacher; it may be null.
  SwitchableTrainer(SwitchableModel& model, const SwitchableTraining& training,
                    LanguageModel* teacher = nullptr);

  // One update. Returns the cross-entropy of every plan of the step (plans_of_step), in nats.
  std::vector<double> train_step(const Batch& batch);

  // The loss of one plan, given what the higher ones said; teachers.front() is the top. is_top: none above.
  Tensor plan_loss(const SwitchableOutput& output, const std::vector<SwitchableOutput>& teachers, bool is_top,
                   const Batch& batch) const;

  SwitchableModel& switchable;
  SwitchableTraining training;
  LanguageModel* teacher;
  Schedule schedule;
  std::vector<NamedTensor> parameters;
  std::unique_ptr<AdamW> weights, steps;  // two learning rates
  int64_t step = 0;

 private:
  SwitchableOutput run(LanguageModel& model, const Batch& batch) const;
};

inline SwitchableOutput SwitchableTrainer::run(LanguageModel& model, const Batch& batch) const {
  const Tensor features = model.forward_blocks({{batch.B, batch.T}, batch.ids});
  return {model.head(features), features};
}

inline Tensor SwitchableTrainer::plan_loss(const SwitchableOutput& output,
                                           const std::vector<SwitchableOutput>& teachers, bool is_top,
                                           const Batch& batch) const {
  double divisor = 0;
  for (float w : batch.weights) divisor += double(w);
  const Tensor labels =
      cross_entropy(output.logits, batch.targets, batch.weights, float(std::max(divisor, 1.0)));
  if (is_top || teachers.empty() || training.distillation == Distillation::Hard) return labels;
  const RowWeights rows{batch.weights};
  const Tensor& top = teachers.front().logits;
  const float beta = training.distillation_weight;
  switch (training.distillation) {
    case Distillation::Soft:
      return distillation_kl(output.logits, top, 1, rows);  // E2, up to the teacher's entropy
    case Distillation::Recursive:
      // E2, from the next higher width
      return distillation_kl(output.logits, teachers.back().logits, 1, rows);
    case Distillation::Features: {
      // E3  a1 · KL(SG p_N || p_b) + a2 · |f_N − f_b|²
      const Tensor features = distillation_mse(output.features, teachers.front().features, rows);
      return add(scale(distillation_kl(output.logits, top, 1, rows), beta),
                 scale(features, training.feature_weight));
    }
    case Distillation::Cascade: {
      // E4  CE(z_b, y) + beta · Σ_{j>b} MSE(z_b, SG z_j)
      Tensor loss = labels;
      for (const SwitchableOutput& higher : teachers) {
        loss = add(loss, scale(distillation_mse(output.logits, higher.logits, rows), beta));
      }
      return loss;
    }
    default: {
      const float share = training.teacher_share;
      return add(scale(labels, 1 - share),
                 scale(distillation_kl(output.logits, top, training.temperature, rows), share));
    }
  }
}

inline std::vector<double> SwitchableTrainer::train_step(const Batch& batch) {
  const std::vector<PrecisionPlan> plans =
      plans_of_step(training, switchable.options.widths, switchable.layers(), step);
  const PrecisionPlan top = uniform_plan(switchable.layers(), switchable.options.widths.back());
  std::vector<SwitchableOutput> teachers;
  // A step without the top width asks the teacher (or the network itself, at its top) without a gradient.
  if (training.distillation != Distillation::Hard && (teacher || plans[0] != top)) {
    NoGrad no_grad;
    if (!teacher) switchable.set_plan(top);
    teachers.push_back(run(teacher ? *teacher : switchable.model, batch));
  }

  std::vector<double> losses;
  double lr_factor = 0;
  for (const PrecisionPlan& plan : plans) {
    switchable.set_plan(plan);
    const SwitchableOutput output = run(switchable.model, batch);
    const Tensor loss = plan_loss(output, teachers, !teacher && plan == top, batch);
    check(std::isfinite(loss.item()), "the loss of step {} is not finite: lower the learning rate", step);
    losses.push_back(double(plan_loss({output.logits.detach(), {}}, {}, true, batch).item()));
    // E1  L = (1/N) Σ_b L_b: backward adds to what the higher widths left
    scale(loss, 1 / float(plans.size())).backward();
    teachers.push_back({output.logits.detach(), output.features.detach()});  // SG
    for (const LayerPrecision& layer : plan) {
      for (int bits : {layer.attn_bits, layer.mlp_bits}) {
        const auto factor = training.lr_by_bits.find(bits);
        lr_factor += (factor == training.lr_by_bits.end() ? 1 : factor->second) /
                     double(2 * plan.size() * plans.size());
      }
    }
  }
  // Private parameters of widths that did not run have no gradient, and the optimisers leave them alone.
  const double clip = clip_coefficient(gradient_norm(parameters), training.clip);
  for (AdamW* optimizer : {weights.get(), steps.get()}) {
    optimizer->step(schedule.factor(step) * lr_factor, clip);
    optimizer->zero_grad();
  }
  step += 1;
  return losses;
}

// ---- files (switchable_precision.cpp) -------------------------------------------------------------------

// A plan from JSON: {"default": {"attn_bits": 8, "mlp_bits": 4}, "layers": {"0": {"attn_bits": 16}}}. What a
// layer does not say is taken from "default", and what that does not say is 16. Throws FileError naming the
// field for an unknown key, a layer that does not exist, or bits that are not among `widths` and 16.
PrecisionPlan read_precision_plan(const std::string& path, int64_t layers, const std::vector<int>& widths);

// The float model as a Hugging Face folder (any tool reads it), and beside it what only the lower widths
// have: switchable.json (options) and switchable.safetensors (steps and private norms).
void save_switchable(SwitchableModel& switchable, const Tokenizer& tokenizer, const std::string& folder);

struct LoadedSwitchable {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<SwitchableModel> switchable;
};
// Throws FileError when a file is missing or does not fit.
LoadedSwitchable load_switchable(const std::string& folder, Device device);

// The network at the plan that is set now as a plain Hugging Face folder: the weights that it computes with,
// its norms of that width. Activations are not rounded there. `with_private_norms` of blocks only: what
// make_switchable swapped.
void export_at_current_precision(SwitchableModel& switchable, const Tokenizer& tokenizer,
                                 const std::string& folder);

}  // namespace chalk
