#pragma once
// Inference-Time Intervention: Eliciting Truthful Answers from a Language Model (Li et al. 2023, arXiv 2306.03341)
//
// 1. Claim. A model often carries the truth in a few attention heads while its text repeats a common error. Shifting only
//    those heads along a truthful direction, at inference, makes it answer more truthfully, at a price in fluency that two
//    knobs control: the number of heads K and the strength α.
//
// 2. Idea.
//      for (head : all) accuracy[head] = logistic_probe(outputs of the head at the last token of true/false answers);
//      for (head : the K best) {
//        theta = unit(mean(z | true) − mean(z | false));   sigma = std(theta · z);
//        hook(head output): z ← z + alpha · sigma · theta;                      // before the output projection
//      }
//
// 3. Glossary.   l, h -> HeadShift.block, .head     z -> columns h·D … of `attn.heads`     θ -> .theta     σ -> .sigma
//                W_O -> the slot of the attention's output product     α, K -> ItiOptions.alpha, .heads     y -> Labels
//
// 4. Equations.
//   E1   x ← x + Σ_h W_O^h (z^h + α σ^h θ^h), the extra term for the top K heads    test: ItiModel.ShiftIsLinearInAlpha
//   E2   p(y = 1 | z) = σ(w · z + b), L2 with C = 1, features as they are           test: Iti.FindsThePlantedHead
//   E3   mass-mean shift: θ ∝ mean(z | y = 1) − mean(z | y = 0)                     test: Iti.FindsThePlantedHead
//   E4   σ = std(θ · z) over the tuning set                                        test: Iti.SigmaIgnoresTheSignAndFollowsTheScale
//   E5   bake-in: b = W_O · concat_h(α σ θ or 0)                                   test: ItiModel.BakedInBiasEqualsTheHook
//   E6   MC1 = [score(best true answer) > max score(false answers)]                test: Iti.Mc1AndMc2
//   E7   MC2 = Σ_true e^s / (Σ_true e^s + Σ_false e^s)                             test: Iti.Mc1AndMc2
//
// 5. Deviations.
//    paper / code says                              here                            why
//    σ: population std in the first script,         population                      the numbers of the paper
//      sample std in the newer one
//    weight-editing script stores the raw           W_O times it (E5)               its multiplication is commented out: the
//      displacement as the bias                                                     edited model is not the hooked one
//    MC scoring starts 4 tokens into the answer     at the answer's first token     "A:" and a space of their template; ours has none
//    newer script edits the last position only      all answer positions            in teacher forcing nothing scored would change
//    random control: random heads too               random directions in the       separates where from whither; random_heads
//                                                   same heads, or random_heads     gives the code's version
//    48 of 1024 heads                               4 of 16                         48 would be all of them
//
// 7. The tests prove the identities (α = 0, K = 0, bake-in, linearity, cache) on small models and the statistics on made-up
//    activations; tutorials/inference_time_intervention.cpp measures MC1 and MC2 against KL on a trained model.

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/activations.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "nn/interventions.h"

namespace chalk::iti {

enum class DirectionKind { MassMean, ProbeWeight, Random };

struct ItiOptions {
  int64_t heads = 4;  // K: how many are edited
  double alpha = 15;  // in standard deviations
  DirectionKind direction = DirectionKind::MassMean;
  bool random_heads = false;      // edit K heads drawn by `seed` instead of the best
  double validation_share = 0.2;  // of the development questions: they rank the heads
  uint64_t seed = 42;
};

// One edited head.
struct HeadShift {
  int64_t block = 0, head = 0;
  Direction theta;        // (D), unit length
  double sigma = 0;       // standard deviation of theta · z
  double validation = 0;  // accuracy of the head's probe
};

inline int64_t query_heads(const LanguageModel& model) {
  if (const auto* llama = dynamic_cast<const Llama*>(&model)) return llama->config.num_attention_heads;
  if (const auto* gpt2 = dynamic_cast<const GPT2*>(&model)) return gpt2->config.n_head;
  throw UsageError(
      fmt::format("inference-time intervention knows no heads of architecture '{}'", model.architecture()));
}

// Every head's output at the last token of every text: [block * H + head] -> (n, D).
inline std::vector<Samples> head_outputs(LanguageModel& model, const std::vector<Ids>& texts) {
  std::vector<std::string> names;
  for (int64_t i = 0; i < block_count(model); ++i) names.push_back(model.block_prefix(i) + "attn.heads");
  const auto by_name = activations_at(model, texts, names);
  const int64_t H = query_heads(model);
  std::vector<Samples> result;
  for (const std::string& name : names) {
    const Samples& all = by_name.at(name);  // (n, H·D)
    for (int64_t h = 0; h < H; ++h) {
      Samples z{0, all.d / H, {}};
      for (int64_t i = 0; i < all.n; ++i) z.add(all.row(i) + h * z.d);
      result.push_back(std::move(z));
    }
  }
  return result;
}

// ---- probes: which heads know? ----

// Rows of a development set, split by question: every answer of a question is on one side.
struct Development {
  std::vector<int64_t> train, validation;
};
inline Development split_by_question(const std::vector<int>& question, double validation_share,
                                     uint64_t seed) {
  std::vector<int> names = question;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  Labels is_validation(names.size(), 0);
  for (size_t i = 0; i < size_t(std::lround(validation_share * double(names.size()))); ++i)
    is_validation[i] = 1;
  is_validation = shuffled(is_validation, seed);
  Development split;
  for (size_t i = 0; i < question.size(); ++i) {
    const size_t place = size_t(std::lower_bound(names.begin(), names.end(), question[i]) - names.begin());
    (is_validation[place] ? split.validation : split.train).push_back(int64_t(i));
  }
  return split;
}

inline Labels pick(const Labels& labels, const std::vector<int64_t>& rows) {
  Labels result;
  for (int64_t i : rows) result.push_back(labels[size_t(i)]);
  return result;
}

inline LinearProbe head_probe(const Samples& z, const Labels& y) {  // E2
  return logistic_probe(z, y, {.C = 1, .standardise = false});
}

// σ = √(mean (p − mean p)²), p = θ · z                                                             E4
inline double deviation_along(const Direction& theta, const Samples& z) {
  double sum = 0, square = 0;
  for (int64_t i = 0; i < z.n; ++i) sum += dot(theta, z.row(i));
  for (int64_t i = 0; i < z.n; ++i) square += std::pow(dot(theta, z.row(i)) - sum / double(z.n), 2);
  return std::sqrt(square / double(z.n));
}

// All heads, best validation accuracy first (ties: earlier head first), each with its direction.
//   heads[i], labels, question: development answers.     tuning[i]: outputs of the same heads on the tuning set, for σ.
inline std::vector<HeadShift> rank_heads(const std::vector<Samples>& heads, int64_t H, const Labels& labels,
                                         const std::vector<int>& question, const std::vector<Samples>& tuning,
                                         const ItiOptions& options) {
  const Development split = split_by_question(question, options.validation_share, options.seed);
  std::vector<HeadShift> shifts;
  for (size_t i = 0; i < heads.size(); ++i) {
    const LinearProbe probe = head_probe(select_rows(heads[i], split.train), pick(labels, split.train));
    HeadShift shift{int64_t(i) / H, int64_t(i) % H, {}, 0, 0};
    shift.validation =
        accuracy(probe, select_rows(heads[i], split.validation), pick(labels, split.validation));
    shift.theta = unit(difference_of_means(heads[i], labels));  // E3: train and validation rows together
    if (options.direction == DirectionKind::ProbeWeight) shift.theta = unit(probe.weight);
    if (options.direction == DirectionKind::Random)
      shift.theta = random_direction(heads[i].d, 1, derive_seed(options.seed, i));
    shift.sigma = deviation_along(shift.theta, tuning[i]);
    shifts.push_back(std::move(shift));
  }
  std::stable_sort(shifts.begin(), shifts.end(),
                   [](const HeadShift& a, const HeadShift& b) { return a.validation > b.validation; });
  return shifts;
}

// The K heads to edit.
inline std::vector<HeadShift> chosen_heads(std::vector<HeadShift> ranked, const ItiOptions& options) {
  check(options.heads >= 0 && options.heads <= int64_t(ranked.size()), "iti: {} heads of {}", options.heads,
        ranked.size());
  if (options.random_heads) {
    for (size_t i = ranked.size(); i-- > 1;)
      std::swap(ranked[i], ranked[size_t(uint64_t(random_word(options.seed, i)) * (i + 1) >> 32)]);
  }
  ranked.resize(size_t(options.heads));
  return ranked;
}

// ---- the intervention ----

// Displacement of `attn.heads` of one block, (H·D): α σ θ in the edited heads, 0 elsewhere.
inline std::vector<float> displacement(const std::vector<HeadShift>& shifts, int64_t block, int64_t width,
                                       double alpha) {
  std::vector<float> d(size_t(width), 0.0f);
  for (const HeadShift& s : shifts) {
    if (s.block != block) continue;
    for (size_t j = 0; j < s.theta.size(); ++j)
      d[size_t(s.head) * s.theta.size() + j] = float(alpha * s.sigma * s.theta[j]);
  }
  return d;
}

// z ← z + α σ θ at these positions. Generation: kFromLastOfPrompt with Passes::Continue, so that the last prompt token
// and every new one are edited once, and cached keys and values keep the edit.                     E1
inline void add_shifts(Edits& edits, LanguageModel& model, const std::vector<HeadShift>& shifts, double alpha,
                       Positions positions = kEverywhere, Passes passes = Passes::WholeTexts) {
  if (alpha == 0 || shifts.empty()) return;
  for (int64_t i = 0; i < block_count(model); ++i) {
    const auto here = [&](const HeadShift& s) { return s.block == i; };
    const auto first = std::find_if(shifts.begin(), shifts.end(), here);
    if (first == shifts.end()) continue;
    const int64_t width = int64_t(first->theta.size()) * query_heads(model);
    edits.add(model.block_prefix(i) + "attn.heads",
              add_vector(displacement(shifts, i, width, alpha), positions, passes));
  }
}

// The same edit at every position, as a bias of the attention's output product: no hook is left.   E5
// Throws Error when that slot holds something else than a Linear.
inline void bake_in(LanguageModel& model, const std::vector<HeadShift>& shifts, double alpha) {
  for (int64_t i = 0; i < block_count(model); ++i) {
    const std::string name =
        model.block_prefix(i) +
        (model.architecture() == std::string("gpt2") ? "attn.c_proj" : "self_attn.o_proj");
    auto* output = dynamic_cast<Linear*>(find_slot(model, name).layer.get());
    check(output != nullptr, "bake_in: {} holds no Linear; merge what was put there first", name);
    const int64_t width = output->in_features(), C = output->out_features();
    const std::vector<float> d = displacement(shifts, i, width, alpha), w = output->weight.to_vector();
    std::vector<float> bias =
        output->bias.defined() ? output->bias.to_vector() : std::vector<float>(size_t(C), 0.0f);
    for (int64_t c = 0; c < C; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < width; ++j) sum += double(w[size_t(c * width + j)]) * double(d[size_t(j)]);
      bias[size_t(c)] = float(double(bias[size_t(c)]) + sum);
    }
    output->bias = Tensor::from({C}, bias, model.device());
    output->bias.set_requires_grad();
  }
}

// ---- metrics: scores are sums of log-probabilities, not divided by length ----

inline double mc1(const std::vector<double>& true_scores, const std::vector<double>& false_scores) {  // E6
  check(!true_scores.empty(), "mc1: no true answer");
  const double best = *std::max_element(true_scores.begin(), true_scores.end());
  return false_scores.empty() || best > *std::max_element(false_scores.begin(), false_scores.end()) ? 1 : 0;
}

inline double mc2(const std::vector<double>& true_scores, const std::vector<double>& false_scores) {  // E7
  check(!true_scores.empty(), "mc2: no true answer");
  double most = true_scores[0], yes = 0, no = 0;  // the largest is taken out: scores may be −1000
  for (const auto* scores : {&true_scores, &false_scores})
    for (double s : *scores) most = std::max(most, s);
  for (double s : true_scores) yes += std::exp(s - most);
  for (double s : false_scores) no += std::exp(s - most);
  return yes / (yes + no);
}

}  // namespace chalk::iti
