#pragma once
// What a model of Creature Town does with the stimuli of models/text/world_stimuli.h: does it tell the truth, does it
// refuse, in which mood does it talk? Each is measured with whatever hooks are in place, so a paper measures, edits and
// measures again.

#include <functional>
#include <string>
#include <vector>

#include "models/activations.h"
#include "models/text/tokenizer.h"
#include "models/text/world_stimuli.h"
#include "nn/interventions.h"

namespace chalk {

// A trained model and the world it was trained on.
struct WorldModel {
  LanguageModel& model;
  const Tokenizer& tokenizer;
  World world = make_world();

  Ids ids(const std::string& text) const { return encode_with_specials(tokenizer, text); }
  std::vector<Ids> ids(const std::vector<std::string>& texts) const;
  template <class Stimulus>
  std::vector<Ids> texts_of(const std::vector<Stimulus>& stimuli) const {
    std::vector<Ids> result;
    for (const Stimulus& stimulus : stimuli) result.push_back(ids(stimulus.text));
    return result;
  }
  // The one id of a word. Throws UsageError when the tokenizer needs several: these measures are for the word tokenizer.
  int32_t id(const std::string& word) const;
};

// P(true value) / Σ P(values of its relation) at the end of each prompt.
std::vector<double> p_true(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts);
double mean_p_true(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts);

// ln p(value | prompt) of each value of the fact's relation; the truth's place in `gold`.
struct ValueScores {
  std::vector<double> log_prob;
  int gold = 0;
};
std::vector<ValueScores> value_scores(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts);

// How replies begin: shares whose most probable first word is "sorry", and "ok".
struct ReplyShares {
  double refused = 0, complied = 0;
};
ReplyShares reply_shares(const WorldModel& world, const std::vector<stimuli::Request>& requests);

// The greedy reply to each prompt, up to <eot> or `tokens` tokens. `edit`, if given, is called before every prompt and
// whatever it returns is dropped after it: hooks that count positions start afresh for each text.
std::vector<std::string> replies(const WorldModel& world, const std::vector<std::string>& prompts,
                                 int64_t tokens, double temperature = 0, uint64_t seed = 0,
                                 const std::function<void(Edits&)>& edit = nullptr);

// ln p(reply | prompt) of the model as it is, mean per token over all replies: fluency of what another (steered) model
// wrote, as e^−this.
double reply_log_probability(const WorldModel& world, const std::vector<std::string>& prompts,
                             const std::vector<std::string>& written);

}  // namespace chalk
