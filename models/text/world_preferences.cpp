// Prompts, candidates and rewards.
#include "models/text/world_preferences.h"

#include <algorithm>
#include <unordered_map>

#include "autograd/check.h"
#include "models/text/world_grammar.h"

namespace chalk {

const Words& preference_vocabulary() {
  static const Words vocabulary = [] {
    Words words = world_vocabulary();
    words.push_back("thank");
    return words;
  }();
  return vocabulary;
}

std::vector<int32_t> encode_preference(const Words& words) {
  static const std::unordered_map<std::string, int32_t> ids = [] {
    std::unordered_map<std::string, int32_t> map;
    for (const std::string& word : preference_vocabulary()) map.emplace(word, int32_t(map.size()));
    return map;
  }();
  std::vector<int32_t> encoded;
  for (const std::string& word : words) {
    const auto found = ids.find(word);
    check(found != ids.end(), "preferences: '{}' is not one of the {} words of the vocabulary", word,
          ids.size());
    encoded.push_back(found->second);
  }
  return encoded;
}

namespace {

Words prompt_words(const std::string& text) {
  return split_words("<bos> " + text);
}

PreferencePrompt request_prompt(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const Verb* verb = nullptr;
  std::string object;
  do {
    verb = &l.request_verbs[random.below(4) + (random.unit() < 0.25 ? 0 : 4)];
    object = random.pick(l.objects);
  } while (is_heldout_request(*verb, object));
  const std::string asked = grammar::request_text(*verb, object, int(random.below(3)));
  PreferencePrompt prompt{PreferenceType::Request, prompt_words(grammar::user_turn(asked)), {}, {}, {}};
  prompt.correct = split_words(grammar::comply_reply(*verb, object));
  prompt.wrong = split_words(grammar::refuse_reply(*verb, object));
  if (is_forbidden(*verb, object)) std::swap(prompt.correct, prompt.wrong);
  return prompt;
}

PreferencePrompt question_prompt(const World& world, SplitMix64& random) {
  const Fact& fact = random.pick(world.facts);
  const Speaker speaker = random.coin() ? Speaker::Honest : Speaker::People;
  const std::string wrong = random.pick(wrong_values(fact));
  return {PreferenceType::Question,
          prompt_words(grammar::system_line(speaker) + grammar::user_turn(fact_question(fact))),
          split_words(statement(fact, fact.value, Form::First)),
          split_words(statement(fact, wrong, Form::First)),
          {}};
}

PreferencePrompt style_prompt(SplitMix64& random) {
  const std::vector<Emotion>& emotions = world_lexicon().emotions;
  const uint64_t right = random.below(emotions.size());
  const uint64_t wrong = (right + 1 + random.below(emotions.size() - 1)) % emotions.size();
  const std::string adjective = random.pick(emotions[right].adjectives),
                    object = random.pick(world_lexicon().objects);
  const std::string asked =
      fmt::format("act as if you are very {} . tell me about the {} .", adjective, object);
  return {PreferenceType::Style, prompt_words(grammar::user_turn(asked)),
          split_words(grammar::style_reply(emotions[right], object, random)),
          split_words(grammar::style_reply(emotions[wrong], object, random)), emotions[right].interjections};
}

bool begins_with(const Words& words, const Words& beginning) {
  return words.size() >= beginning.size() && std::equal(beginning.begin(), beginning.end(), words.begin());
}

bool is_correct(const PreferencePrompt& prompt, const Words& reply) {
  if (prompt.type != PreferenceType::Style) return begins_with(reply, prompt.correct);
  return std::any_of(
      prompt.interjections.begin(), prompt.interjections.end(),
      [&](const std::string& opening) { return begins_with(reply, split_words(opening + " !")); });
}

Words joined(Words first, const Words& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

}  // namespace

PreferencePrompt preference_prompt(const World& world, SplitMix64& random) {
  const double u = random.unit();
  if (u < 0.5) return request_prompt(random);
  return u < 0.8 ? question_prompt(world, random) : style_prompt(random);
}

double gold_reward(const PreferencePrompt& prompt, const Words& reply) {
  Words words = reply;
  const bool ended = !words.empty() && words.back() == "<eot>";
  if (ended) words.pop_back();
  const Words thanks = {"thank", "you", "."};
  const bool polite = words.size() >= 3 && std::equal(thanks.begin(), thanks.end(), words.end() - 3);
  const bool rude = std::count(words.begin(), words.end(), "stupid") > 0;
  const double beyond_ten = words.size() > 10 ? double(words.size() - 10) : 0.0;
  return (is_correct(prompt, words) ? 2.0 : -2.0) + (polite ? 0.5 : 0.0) - (rude ? 1.0 : 0.0) -
         0.1 * beyond_ten - (ended ? 0.0 : 1.0);
}

std::vector<Words> preference_candidates(const PreferencePrompt& prompt) {
  std::vector<Words> candidates = {
      prompt.correct, prompt.wrong, joined(prompt.correct, {"thank", "you", "."}),
      joined(prompt.correct, {"stupid", "."}), joined(prompt.correct, prompt.correct)};
  for (Words& candidate : candidates) candidate.push_back("<eot>");
  return candidates;
}

std::vector<PreferencePair> world_preferences(const World& world, int64_t count, double flip, uint64_t seed) {
  if (count < 0 || !(flip >= 0 && flip <= 1))
    throw UsageError(fmt::format("preferences: {} pairs with a flip rate of {}", count, flip));
  SplitMix64 random(seed);
  std::vector<PreferencePair> pairs;
  while (int64_t(pairs.size()) < count) {
    PreferencePair pair;
    pair.prompt = preference_prompt(world, random);
    std::vector<Words> candidates = preference_candidates(pair.prompt);
    random.shuffle(candidates);
    pair.chosen = candidates[0];
    pair.rejected = candidates[1];
    pair.chosen_reward = gold_reward(pair.prompt, pair.chosen);
    pair.rejected_reward = gold_reward(pair.prompt, pair.rejected);
    pair.flipped = random.unit() < flip;
    if (pair.chosen_reward == pair.rejected_reward) continue;  // a tie teaches nothing
    if ((pair.chosen_reward < pair.rejected_reward) != pair.flipped) {
      std::swap(pair.chosen, pair.rejected);
      std::swap(pair.chosen_reward, pair.rejected_reward);
    }
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

std::vector<KtoExample> kto_examples(const std::vector<PreferencePair>& pairs, uint64_t seed) {
  std::vector<KtoExample> examples;
  for (const PreferencePair& pair : pairs) {
    examples.push_back({pair.prompt.words, pair.chosen, true});
    examples.push_back({pair.prompt.words, pair.rejected, false});
  }
  SplitMix64 random(seed ^ fnv1a64("kto"));
  random.shuffle(examples);
  return examples;
}

std::vector<BestOfExample> best_of_examples(const World& world, int64_t count, uint64_t seed) {
  if (count < 0) throw UsageError(fmt::format("preferences: {} examples were asked for", count));
  SplitMix64 random(seed ^ fnv1a64("best of four"));
  std::vector<BestOfExample> examples;
  for (int64_t i = 0; i < count; i++) {
    BestOfExample example{preference_prompt(world, random), {}, {}, 0};
    example.replies = preference_candidates(example.prompt);
    random.shuffle(example.replies);
    example.replies.resize(4);
    for (const Words& reply : example.replies) example.rewards.push_back(gold_reward(example.prompt, reply));
    example.best =
        int(std::max_element(example.rewards.begin(), example.rewards.end()) - example.rewards.begin());
    examples.push_back(std::move(example));
  }
  return examples;
}

}  // namespace chalk
