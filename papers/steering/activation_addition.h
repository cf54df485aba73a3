#pragma once
// Activation Addition: Steering Language Models Without Optimization (Turner et al. 2023, arXiv 2308.10248)
//
// 1. Claim. The difference of the activations of two prompts ("love" − "hate"), added to the first positions of another
//    prompt, steers what the model writes. One pair, no training; the only choices are a layer and a coefficient.
//
// 2. Idea.
//      A[t] = resid_pre(plus)[t] − resid_pre(minus)[t];      // both with BOS, the shorter padded with spaces
//      hook(resid_pre of block l, first n positions of the prompt): x[t] += c · A[t];
//      generate as usual: later blocks' keys and values carry the effect
//
// 3. Glossary.   r_l -> `resid_pre` of block l     p⁺, p⁻ -> plus, minus     A -> Addition.rows     c -> coefficient
//
// 4. Equations.
//   E1   A[t] = r_l(p⁺)[t] − r_l(p⁻)[t], t = 0 … n − 1                test: ActAdd.SwappingThePromptsNegates
//   E2   r_l(x)[t] += c A[t] for t < n                               test: ActAdd.ChangesNothingBeforeTheFirstNonZeroRow
//
// 5. Deviations.
//    paper / code says                              here                             why
//    c is multiplied into A                         given when A is added            one A serves a sweep
//    pads with the tokenizer's space                the caller names the token       a word-level vocabulary has no space
//    front, middle or end of the prompt;            front, and `offset` for the      the paper's experiments are front-aligned
//      slices of coordinates                        others; all coordinates
//
// 7. The tests prove the symmetries and that cached decoding equals full recomputation; tutorials/activation_addition.cpp
//    measures mood words against the coefficient on a trained model.

#include <algorithm>
#include <memory>

#include "autograd/check.h"
#include "models/activations.h"
#include "nn/interventions.h"

namespace chalk::actadd {

// What is added at the entry of one block.
struct Addition {
  int64_t block = 0;
  int64_t width = 0;        // C
  std::vector<float> rows;  // A (n, C)

  int64_t length() const { return width > 0 ? int64_t(rows.size()) / width : 0; }
};

// Both prompts begin with BOS, which sees no other token: its row is exactly 0. The shorter prompt is padded on the right
// with `space`, never with a pad or end token: their residuals are huge or odd.                    E1
inline Addition activation_difference(LanguageModel& model, Ids plus, Ids minus, int64_t block,
                                      int32_t space) {
  NoGrad no_grad;
  check(block >= 0 && block < block_count(model), "activation addition: block {} of {}", block,
        block_count(model));
  check(!plus.empty() && !minus.empty() && plus[0] == minus[0],
        "activation addition: both prompts must begin with the same token (BOS); it is missing on one side");
  const size_t n = std::max(plus.size(), minus.size());
  plus.resize(n, space), minus.resize(n, space);
  const std::string name = model.block_prefix(block) + "resid_pre";
  Recorder recorder(model.hooks, {name});
  model.forward_blocks({{1, int64_t(n)}, plus});
  std::vector<float> rows = recorder.last.at(name).to_vector();
  model.forward_blocks({{1, int64_t(n)}, minus});
  const std::vector<float> other = recorder.last.at(name).to_vector();
  for (size_t i = 0; i < rows.size(); ++i) rows[i] -= other[i];
  return {block, model.width(), std::move(rows)};
}

// Adds c · A to positions offset … offset + n − 1 of the prompt. In cached decoding (Passes::Continue) a step with one new
// token is left alone. Several additions sum. Throws UsageError, at the first pass, when the prompt is too short.  E2
inline void add(Edits& edits, LanguageModel& model, const Addition& a, double coefficient,
                Passes passes = Passes::WholeTexts, int64_t offset = 0) {
  if (coefficient == 0) return;
  check(a.width == model.width() && a.length() > 0,
        "activation addition: rows of {} numbers for a model of width {}", a.width, model.width());
  const std::string name = model.block_prefix(a.block) + "resid_pre";
  const int64_t end = offset + a.length();
  auto first_pass = std::make_shared<bool>(true);
  edits.add(name, [end, passes, first_pass](const Tensor& x) {  // the length check, before the edit itself
    if ((passes == Passes::WholeTexts || *first_pass) && x.dim(1) < end) {
      throw UsageError(fmt::format(
          "activation addition: the prompt has {} tokens, the addition reaches to {}", x.dim(1), end));
    }
    *first_pass = false;
    return x;
  });
  edits.rows(
      name,
      [a, coefficient, offset](float* x, int64_t position) {
        const float* row = a.rows.data() + (position - offset) * a.width;
        for (int64_t c = 0; c < a.width; ++c) x[c] = float(double(x[c]) + coefficient * double(row[c]));
      },
      {offset, end - 1}, passes);
}

}  // namespace chalk::actadd
