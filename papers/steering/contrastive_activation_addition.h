#pragma once
// Steering Llama 2 via Contrastive Activation Addition (Rimsky et al. 2023, arXiv 2312.06681)
//
// 1. Claim. Averaging the activation difference over many question–answer pairs that differ only in the answer gives one
//    vector of a behaviour. Added with a positive or negative multiplier to every token after the instruction, it moves the
//    behaviour both ways, in multiple choice and in open text.
//
// 2. Idea.
//      for (q : questions) D.add(resid_post(q + matching answer)[answer token] − resid_post(q + other answer)[answer token]);
//      v = mean(D);
//      hook(resid_post of block l, every token after the instruction): x += c · v;
//
// 3. Glossary.   o_l -> `resid_post`, at depth l + 1     a⁺, a⁻ -> matching, other     τ -> the answer token: the last of a text
//                v_l -> behaviour_vector     c -> multiplier
//
// 4. Equations.
//   E1   v = mean_i (o(q_i, a_i⁺)[τ] − o(q_i, a_i⁻)[τ])               test: Caa.VectorOfAUnionIsTheMeanOfVectors
//   E2   o(x)[t] += c v for t after the instruction                   test: CaaModel.EverywhereEqualsABias
//   E3   optional, before: o ← o − v (o · v) / (|v|² + 1e-10)         test: CaaModel.ProjectionDoesNotKnowTheMultiplier
//   E4   v_b ← v_b · mean_b' |v_b'| / |v_b|                           test: Caa.EqualisedVectorsHaveOneNorm
//   E5   P(match) = p(a⁺) / (p(a⁺) + p(a⁻))                           test: Caa.MatchProbabilityIsASoftmaxOverTwo
//
// 5. Deviations.
//    paper / code says                             here                                 why
//    reads index −2, the letter of "(A)"           the last token of the text           our answers end with the token that tells
//    adds strictly after the marker's last token   the same; from_marker = true adds    the first token of the reply is predicted at
//                                                  at the marker too                    the marker: only then can it change
//    two early wrappers add v a second time        once                                 a bug
//    to all positions
//
// 7. The tests prove linearity, the bias identity, the norms and cached = full; tutorials/contrastive_activation_addition.cpp
//    measures moods and refusals on a trained model.

#include <cmath>

#include "autograd/check.h"
#include "models/activations.h"
#include "nn/interventions.h"

namespace chalk::caa {

// matching, other: (n, C) states at the answer token of the same questions.                          E1
inline Direction behaviour_vector(const Samples& matching, const Samples& other) {
  check(matching.n == other.n && matching.n > 0, "caa: {} matching and {} other answers", matching.n,
        other.n);
  Direction v = mean_row(matching);
  const Direction minus = mean_row(other);
  for (size_t j = 0; j < v.size(); ++j) v[j] -= minus[j];
  return v;
}

// All vectors of one layer get the mean length, so that a multiplier means the same for each behaviour.  E4
inline void equalise_norms(std::vector<Direction>& vectors) {
  double mean = 0;
  for (const Direction& v : vectors) mean += norm(v) / double(vectors.size());
  for (Direction& v : vectors) v = scaled(v, mean / norm(v));
}

struct CaaOptions {
  // Position of the last token of the instruction; negative: from the end of the prompt. −1: the prompt ends there.
  int64_t marker = -1;
  bool from_marker = false;    // t ≥ marker instead of t > marker
  bool project_first = false;  // E3, at all positions
  Passes passes = Passes::WholeTexts;
};

inline void add(Edits& edits, LanguageModel& model, int64_t depth, const Direction& v, double multiplier,
                const CaaOptions& options = {}) {
  const std::string name = residual_name(model, depth);
  if (options.project_first) {
    edits.rows(
        name,
        [v](float* o, int64_t) {
          const double share = dot(v, o) / (dot(v, v) + 1e-10);  // E3
          for (size_t j = 0; j < v.size(); ++j) o[j] = float(double(o[j]) - share * v[j]);
        },
        kEverywhere, options.passes);
  }
  if (multiplier == 0) return;
  edits.rows(
      name,
      [v, multiplier](float* o, int64_t) {
        for (size_t j = 0; j < v.size(); ++j) o[j] = float(double(o[j]) + multiplier * v[j]);  // E2
      },
      {options.marker, Positions::kForever, !options.from_marker}, options.passes);
}

// Two-way choice at the answer position, from their log-probabilities.                                E5
inline double match_probability(double matching, double other) {
  return 1 / (1 + std::exp(other - matching));
}

}  // namespace chalk::caa
