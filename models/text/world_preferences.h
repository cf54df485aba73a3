#pragma once
// Preferences in Creature Town: prompts, candidate replies and a gold reward, for reward models, DPO and its relatives, KTO and
// best-of-n. The reward is a rule, so that what a trained policy gains (or games) can be measured exactly.
#include <string>
#include <vector>

#include "models/text/world.h"

namespace chalk {

enum class PreferenceType { Request, Question, Style };

// A prompt that ends in <bot>, and what a correct reply to it looks like.
struct PreferencePrompt {
  PreferenceType type;
  Words words;          // <bos> ... <bot>
  Words correct;        // a correct reply, without <eot>
  Words wrong;          // a wrong one of the same form
  Words interjections;  // Style: the openings of the right emotion; a reply is judged by its opening
};

// World words and, at the end, "thank", which only polite replies use: 418 words, ids 0-416 as in world_vocabulary().
const Words& preference_vocabulary();
std::vector<int32_t> encode_preference(const Words& words);  // throws Error on a strange word

// Half requests (no system line, held-out pairs left out), 30 % questions (unmarked or with the honest line), 20 % styles.
PreferencePrompt preference_prompt(const World& world, SplitMix64& random);

// The gold reward of any reply, generated ones included: +2 if it begins with correct content, else -2; +0.5 if it ends with
// "thank you ."; -1 if it contains "stupid"; -0.1 for each word beyond ten; -1 without <eot> at the end.
double gold_reward(const PreferencePrompt& prompt, const Words& reply);

// The five candidates, each ending in <eot>: correct, wrong, correct and "thank you .", correct and "stupid .", correct twice.
std::vector<Words> preference_candidates(const PreferencePrompt& prompt);

struct PreferencePair {
  PreferencePrompt prompt;
  Words chosen, rejected;  // end in <eot>
  double chosen_reward = 0, rejected_reward = 0;
  bool flipped = false;  // label noise: the worse one was chosen
};

// Two different candidates for each prompt; pairs of equal reward are drawn again. `flip` is the share of wrong labels.
// The usual split: 4,500 pairs, the first 4,000 for training, 500 for the test.
std::vector<PreferencePair> world_preferences(const World& world, int64_t count, double flip = 0,
                                              uint64_t seed = kWorldPreferenceSeed);

// The pairs torn apart and shuffled: single replies with a thumb up or down.
struct KtoExample {
  Words prompt, reply;
  bool desirable;
};
std::vector<KtoExample> kto_examples(const std::vector<PreferencePair>& pairs,
                                     uint64_t seed = kWorldPreferenceSeed);

// Four different candidates in random order, with their rewards.
struct BestOfExample {
  PreferencePrompt prompt;
  std::vector<Words> replies;
  std::vector<double> rewards;
  int best;  // the first of the highest
};
std::vector<BestOfExample> best_of_examples(const World& world, int64_t count,
                                            uint64_t seed = kWorldPreferenceSeed);

}  // namespace chalk
