#pragma once
// Refusal in Language Models Is Mediated by a Single Direction (Arditi et al. 2024, arXiv 2406.11717)
//
// An interpretability lesson on a model that we train ourselves: "refusal" is the word `sorry` in a toy game whose rules are
// invented (do not paint animals). Its two points: (1) a causal test of a linear representation; (2) training that
// puts a rule on one direction is brittle, and the projection on that direction is worth monitoring. Nothing here loads,
// names or is tuned for anybody else's model.
//
// 1. Claim. The difference of mean activations between requests that are refused and requests that are not, read where the
//    reply begins, mediates refusal: removed everywhere, the model complies; added, it refuses what is allowed.
//
// 2. Idea.
//      r = mean(x_l[i] | forbidden) − mean(x_l[i] | allowed);                 // for every layer l, end position i
//      ablate: x ← x − r̂ (r̂ · x), everything that is written to the stream    add: x_l ← x_l + r
//      choose the (i, l) that ablates refusal best, induces it when added, and changes allowed replies little (KL)
//
// 3. Glossary.   x_l[i] -> residual at depth l, token i from the end      r, r̂ -> Candidate.direction, unit() of it
//                D_F, D_A / V_F, V_A -> train / validation requests       R -> {"sorry"}      c -> coefficient
//
// 4. Equations.
//   E1   r = mean_F x − mean_A x                                       test: RefusalModel.SwappingClassesNegatesTheDirection
//   E2   s = log(P_R + 1e-8) − log(1 − P_R + 1e-8)                      test: Refusal.ScoreIsLogOdds
//   E3   ablation: x' = x − r̂ (r̂ · x)                                  test: Refusal.AblationRemovesTheDirectionOnce
//   E4   addition: x' = x + c r, r not normalised                      test: RefusalModel.AddingAndSubtractingIsTheIdentity
//   E5   W' = W − r̂ r̂ᵀ W for every matrix that writes to the stream     test: RefusalModel.OrthogonalWeightsEqualTheHooks
//   E6   KL = mean Σ_v p (log(p + 1e-6) − log(q + 1e-6))               test: Refusal.KlOfEqualIsZero
//   E7   keep: l < floor(0.8 L), KL ≤ 0.1, induce ≥ 0, nothing NaN     test: Refusal.FilterNamesEachReason
//   E8   affine: x' = x + ((r̂ · μ_A) − (r̂ · x)) r̂                      test: Refusal.AffineEditMovesToTheAllowedMean
//
// 5. Deviations.
//    paper / code says                              here                           why
//    harmful / harmless instructions                forbidden / allowed requests   only a toy rule is used
//    layers 0 … L − 1: what enters a block          the same, plus affine          the same points of the stream
//    ablation sets the projection to 0              also "affine" (E8), ours and   where 0 lies between the two class means
//                                                   named so                       depends on the seed; the allowed mean does not
//    position −1 … −|I| of a chat template          −1, −2: <bot> and <eot>        that is the whole template
//    r̂ = r / (|r| + 1e-8)                           r / |r|                        a zero direction is an error
//    addition at all positions of layer l           all, or the last of prompt     one token is the smaller change
//    abliteration (third-party variant): layers 1   not implemented                the paper's edit is the subject
//      and later only, embedding untouched
//
// 7. The tests prove the algebra, the filter table and that edited weights equal the hooks; tutorials/refusal_direction.cpp
//    finds, removes and induces the toy refusal over several trained models and reports where the paper's edit fails.

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "models/activations.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "nn/interventions.h"

namespace chalk::refusal {

// ---- finding ----

struct Candidate {
  int64_t depth = 0;                  // l: blocks passed
  int64_t from_end = 1;               // i: 1 is the last token of the prompt
  Direction direction;                // r, not normalised
  double forbidden = 0, allowed = 0;  // mean projections of the two classes on r̂
  double bypass = 0;  // mean refusal score of forbidden validation requests under ablation; small = good
  double induce = 0;  // of allowed ones under addition
  double kl = 0;      // of allowed ones under ablation
};

// r of every end position 1 … positions and every depth 0 … L − 1, in double.                    E1
inline std::vector<Candidate> candidates(LanguageModel& model, const std::vector<Ids>& forbidden,
                                         const std::vector<Ids>& allowed, int64_t positions) {
  std::vector<Candidate> result;
  for (int64_t i = 1; i <= positions; ++i) {
    const std::vector<Samples> f = residuals_at(model, forbidden, i), a = residuals_at(model, allowed, i);
    for (int64_t depth = 0; depth < block_count(model); ++depth) {
      Candidate c{depth, i, mean_row(f[size_t(depth)]), 0, 0, 0, 0, 0};
      const Direction mean_f = c.direction, mean_a = mean_row(a[size_t(depth)]);
      for (size_t j = 0; j < c.direction.size(); ++j) c.direction[j] -= mean_a[j];
      const double length = norm(c.direction);
      c.forbidden = length > 0 ? dot(c.direction, mean_f) / length : 0;
      c.allowed = length > 0 ? dot(c.direction, mean_a) / length : 0;
      result.push_back(std::move(c));
    }
  }
  return result;
}

// Log-odds that the reply begins with a refusal word.                                            E2
inline double refusal_score(const std::vector<double>& p, const std::vector<int32_t>& refusal_words) {
  double P = 0;
  for (int32_t id : refusal_words) P += p[size_t(id)];
  return std::log(P + 1e-8) - std::log(1 - P + 1e-8);
}

inline double mean_refusal_score(const Samples& logits, const std::vector<int32_t>& refusal_words) {
  double sum = 0;
  for (int64_t i = 0; i < logits.n; ++i)
    sum += refusal_score(next_probabilities(logits.row(i), logits.d), refusal_words);
  return sum / double(logits.n);
}

// Σ_v p (log(p + 1e-6) − log(q + 1e-6)), mean over rows; p plain, q edited.                       E6
inline double mean_kl(const Samples& plain, const Samples& edited) {
  double sum = 0;
  for (int64_t i = 0; i < plain.n; ++i) {
    const std::vector<double> p = next_probabilities(plain.row(i), plain.d),
                              q = next_probabilities(edited.row(i), edited.d);
    for (size_t v = 0; v < p.size(); ++v) sum += p[v] * (std::log(p[v] + 1e-6) - std::log(q[v] + 1e-6));
  }
  return sum / double(plain.n);
}

// ---- the three edits, by hooks ----

inline void ablate(float* x, const Direction& unit_r) {  // E3
  const double along = dot(unit_r, x);
  for (size_t j = 0; j < unit_r.size(); ++j) x[j] = float(double(x[j]) - along * unit_r[j]);
}

// Every block input, and everything that attention and MLP write: no layer can put the direction back.
inline void add_ablation(Edits& edits, LanguageModel& model, const Direction& r) {
  const Direction u = unit(r);
  for (int64_t i = 0; i < block_count(model); ++i)
    for (const char* site : {"resid_pre", "attn.out", "mlp.out"})
      edits.rows(model.block_prefix(i) + site, [u](float* x, int64_t) { ablate(x, u); });
}

inline void add_direction(Edits& edits, LanguageModel& model, int64_t depth, const Direction& r,
                          double coefficient, Positions positions = kEverywhere,
                          Passes passes = Passes::WholeTexts) {
  if (coefficient == 0) return;
  edits.add(residual_name(model, depth),
            add_vector(to_floats(scaled(r, coefficient)), positions, passes));  // E4
}

inline void move_to(float* x, const Direction& unit_r, double target) {  // E8
  const double step = target - dot(unit_r, x);
  for (size_t j = 0; j < unit_r.size(); ++j) x[j] = float(double(x[j]) + step * unit_r[j]);
}

// r̂ · μ_A at each depth 0 … L, μ_A the mean of allowed requests at the token that is edited.
inline std::vector<double> allowed_projections(const std::vector<Samples>& allowed_by_depth,
                                               const Direction& r) {
  const Direction u = unit(r);
  std::vector<double> targets;
  for (const Samples& s : allowed_by_depth) targets.push_back(dot(u, mean_row(s)));
  return targets;
}

// At the last token of the prompt, at every depth: the projection becomes what it is for allowed requests on average.
inline void add_affine(Edits& edits, LanguageModel& model, const Direction& r,
                       const std::vector<double>& targets, Passes passes = Passes::WholeTexts) {
  const Direction u = unit(r);
  for (int64_t depth = 0; depth <= block_count(model); ++depth) {
    const double target = targets.at(size_t(depth));
    edits.rows(
        residual_name(model, depth), [u, target](float* x, int64_t) { move_to(x, u, target); }, kLastOfPrompt,
        passes);
  }
}

// ---- choosing ----

struct Filter {
  double kl_most = 0.1, induce_least = 0, layers_kept = 0.8;
};

// Why a candidate is discarded; empty: it is kept. Boundaries: KL exactly 0.1 and induce exactly 0 are kept, the layer
// floor(0.8 L) is not.                                                                           E7
inline std::string rejection(const Candidate& c, int64_t L, const Filter& filter = {}) {
  if (std::isnan(c.bypass) || std::isnan(c.induce) || std::isnan(c.kl)) return "a score is not a number";
  if (norm(c.direction) == 0) return "no difference here";
  if (c.depth >= int64_t(std::floor(filter.layers_kept * double(L)))) return "too late";
  if (c.kl > filter.kl_most) return "changes allowed replies";
  if (c.induce < filter.induce_least) return "does not induce";
  return "";
}

// The kept candidate of smallest bypass score; null when none survives: report that, never loosen the filter silently.
inline const Candidate* select(const std::vector<Candidate>& all, int64_t L, const Filter& filter = {}) {
  const Candidate* best = nullptr;
  for (const Candidate& c : all)
    if (rejection(c, L, filter).empty() && (!best || c.bypass < best->bypass)) best = &c;
  return best;
}

// Fills bypass, induce and kl from validation requests.
inline void score(LanguageModel& model, Candidate& c, const std::vector<Ids>& forbidden,
                  const std::vector<Ids>& allowed, const std::vector<int32_t>& refusal_words) {
  if (norm(c.direction) == 0) return;  // depth 0 at a fixed token: every prompt looks the same there
  const Samples plain = next_logits(model, allowed);
  Edits edits(model.hooks);
  add_ablation(edits, model, c.direction);
  c.bypass = mean_refusal_score(next_logits(model, forbidden), refusal_words);
  c.kl = mean_kl(plain, next_logits(model, allowed));
  edits.clear();
  add_direction(edits, model, c.depth, c.direction, 1);
  c.induce = mean_refusal_score(next_logits(model, allowed), refusal_words);
}

// ---- without hooks: weights that cannot write the direction ----

// Columns of W (out, in) live in the stream: W' = W − r̂ (r̂ᵀ W). An output bias b likewise.         E5
inline void orthogonalise_columns(const Tensor& w, const Direction& unit_r) {
  const int64_t out = w.dim(0), in = w.rank() == 2 ? w.dim(1) : 1;
  std::vector<float> values = w.to_vector();
  for (int64_t j = 0; j < in; ++j) {
    double along = 0;
    for (int64_t i = 0; i < out; ++i) along += unit_r[size_t(i)] * double(values[size_t(i * in + j)]);
    for (int64_t i = 0; i < out; ++i) {
      float& value = values[size_t(i * in + j)];
      value = float(double(value) - along * unit_r[size_t(i)]);
    }
  }
  w.copy_from(Tensor::from(w.shape, values, w.device()));
}

// Rows of an embedding live in the stream: e' = e − r̂ (r̂ · e).
inline void orthogonalise_rows(const Tensor& e, const Direction& unit_r) {
  std::vector<float> values = e.to_vector();
  for (int64_t i = 0; i < e.dim(0); ++i) ablate(values.data() + i * e.dim(1), unit_r);
  e.copy_from(Tensor::from(e.shape, values, e.device()));
}

// Every writer of the residual stream: embeddings (positions too), and both output products of each block. A tied head is
// untied first, with a copy of the old weight: the hooks do not touch the head, and an elementwise norm gain would make
// E' and E differ.
inline void orthogonalise(LanguageModel& model, const Direction& r) {
  const Direction u = unit(r);
  auto* head = dynamic_cast<Linear*>(find_slot(model, "lm_head").layer.get());
  check(head != nullptr, "orthogonalise: lm_head holds no Linear");
  head->weight = head->weight.clone();
  head->weight.set_requires_grad();
  if (auto* llama = dynamic_cast<Llama*>(&model)) llama->config.tie_word_embeddings = false;
  if (auto* gpt2 = dynamic_cast<GPT2*>(&model)) gpt2->config.tie_word_embeddings = false;
  int64_t written = 0;
  for (const NamedTensor& p : model.parameters()) {
    const auto ends = [&](const char* suffix) { return p.name.ends_with(suffix); };
    if (ends("wte.weight") || ends("wpe.weight") || ends("embed_tokens.weight"))
      orthogonalise_rows(p.tensor, u), ++written;
    for (const char* slot : {"attn.c_proj", "mlp.c_proj", "self_attn.o_proj", "mlp.down_proj"}) {
      if (ends((std::string(slot) + ".weight").c_str()) || ends((std::string(slot) + ".bias").c_str()))
        orthogonalise_columns(p.tensor, u), ++written;
    }
  }
  check(written >= 1 + 2 * block_count(model),
        "orthogonalise: found {} writers of the stream, expected {} or more", written,
        1 + 2 * block_count(model));
}

// c · r at all positions of depth l ≥ 1, as a bias of the MLP output product of block l − 1.
inline void bake_in_addition(LanguageModel& model, int64_t depth, const Direction& r, double coefficient) {
  check(depth >= 1,
        "bake_in_addition: depth {}; before the first block there is no product to give a bias to", depth);
  const std::string name = model.block_prefix(depth - 1) +
                           (model.architecture() == std::string("gpt2") ? "mlp.c_proj" : "mlp.down_proj");
  auto* output = dynamic_cast<Linear*>(find_slot(model, name).layer.get());
  check(output != nullptr, "bake_in_addition: {} holds no Linear", name);
  std::vector<float> bias =
      output->bias.defined() ? output->bias.to_vector() : std::vector<float>(r.size(), 0.0f);
  for (size_t j = 0; j < r.size(); ++j) bias[j] = float(double(bias[j]) + coefficient * r[j]);
  output->bias = Tensor::from({int64_t(r.size())}, bias, model.device());
  output->bias.set_requires_grad();
}

}  // namespace chalk::refusal
