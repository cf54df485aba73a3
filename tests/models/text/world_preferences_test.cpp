// Preferences: the reward by hand, labels that follow it, and sets that are what they say.
#include "models/text/world_preferences.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/check.h"
#include "models/text/world_grammar.h"

namespace chalk {
namespace {

PreferencePrompt wash_the_dog() {
  return {PreferenceType::Request,
          split_words("<bos> <user> please wash the dog . <eot> <bot>"),
          split_words("ok , the dog is washed now ."),
          split_words("sorry , you must not wash animals ."),
          {}};
}

TEST(GoldReward, ByHand) {
  const PreferencePrompt prompt = wash_the_dog();
  auto reward = [&](const std::string& reply) { return gold_reward(prompt, split_words(reply)); };
  EXPECT_DOUBLE_EQ(reward("ok , the dog is washed now . <eot>"), 2);
  EXPECT_DOUBLE_EQ(reward("ok , the dog is washed now ."), 1);  // no end
  EXPECT_DOUBLE_EQ(reward("sorry , you must not wash animals . <eot>"), -2);
  EXPECT_DOUBLE_EQ(reward("ok , the dog is washed now . thank you . <eot>"), 2.5 - 0.1);  // 11 words
  EXPECT_DOUBLE_EQ(reward("ok , the dog is washed now . stupid . <eot>"), 1);
  EXPECT_DOUBLE_EQ(reward("ok , the dog is washed now . ok , the dog is washed now . <eot>"), 2 - 0.6);
  EXPECT_DOUBLE_EQ(reward("thank you . <eot>"), -1.5);
  EXPECT_DOUBLE_EQ(reward(""), -3);
}

TEST(GoldReward, StyleIsJudgedByItsOpening) {
  const Emotion& sadness = world_lexicon().emotions[1];
  const PreferencePrompt prompt{PreferenceType::Style, {}, {}, {}, sadness.interjections};
  EXPECT_DOUBLE_EQ(gold_reward(prompt, split_words("oh no ! the cup is grey . all is lost . <eot>")),
                   2 - 0.2);
  EXPECT_EQ(gold_reward(prompt, split_words("oh dear ! the cup is dark . <eot>")), -2);
}

TEST(Preferences, PairsFollowTheReward) {
  const World world = make_world();
  const std::vector<PreferencePair> pairs = world_preferences(world, 4500);
  ASSERT_EQ(pairs.size(), 4500u);
  int requests = 0, styles = 0;
  for (const PreferencePair& pair : pairs) {
    ASSERT_GT(pair.chosen_reward, pair.rejected_reward);
    ASSERT_NE(pair.chosen, pair.rejected);
    ASSERT_EQ(pair.chosen.back(), "<eot>");
    ASSERT_EQ(pair.prompt.words.back(), "<bot>");
    encode_preference(pair.prompt.words);
    encode_preference(pair.chosen);
    encode_preference(pair.rejected);
    // The rule, asked again: the correct candidate is worth 2, less its length.
    ASSERT_GT(gold_reward(pair.prompt, preference_candidates(pair.prompt)[0]), 0);
    ASSERT_LT(gold_reward(pair.prompt, preference_candidates(pair.prompt)[1]), -1.9);
    requests += pair.prompt.type == PreferenceType::Request;
    styles += pair.prompt.type == PreferenceType::Style;
  }
  // Ties are rare enough (none between the five candidates of requests) that shares stay within three standard errors.
  EXPECT_NEAR(requests / 4500.0, 0.5, 3 * std::sqrt(0.25 / 4500));
  EXPECT_NEAR(styles / 4500.0, 0.2, 3 * std::sqrt(0.16 / 4500));
  EXPECT_EQ(world_preferences(world, 10)[9].chosen, pairs[9].chosen);
}

TEST(Preferences, NoiseKtoAndBestOfFour) {
  const World world = make_world();
  const std::vector<PreferencePair> noisy = world_preferences(world, 2000, 0.2);
  int flipped = 0;
  for (const PreferencePair& pair : noisy) {
    ASSERT_EQ(pair.flipped, pair.chosen_reward < pair.rejected_reward);
    flipped += pair.flipped;
  }
  EXPECT_NEAR(flipped / 2000.0, 0.2, 3 * std::sqrt(0.16 / 2000));

  const std::vector<KtoExample> singles = kto_examples(noisy);
  ASSERT_EQ(singles.size(), 4000u);
  EXPECT_EQ(std::count_if(singles.begin(), singles.end(), [](const KtoExample& e) { return e.desirable; }),
            2000);
  EXPECT_NE(singles[0].prompt, noisy[0].prompt.words);  // shuffled

  for (const BestOfExample& e : best_of_examples(world, 200)) {
    ASSERT_EQ(e.replies.size(), 4u);
    EXPECT_EQ(std::set<Words>(e.replies.begin(), e.replies.end()).size(), 4u);
    EXPECT_EQ(e.rewards[size_t(e.best)], *std::max_element(e.rewards.begin(), e.rewards.end()));
  }
}

TEST(Preferences, VocabularyAndRefusals) {
  EXPECT_EQ(preference_vocabulary().size(), 418u);
  EXPECT_EQ(encode_preference({"thank", "<pad>"}), (std::vector<int32_t>{417, 0}));
  EXPECT_THROW(encode_preference({"telephone"}), Error);
  EXPECT_THROW(world_preferences(make_world(), -1), UsageError);
  EXPECT_THROW(world_preferences(make_world(), 1, 1.5), UsageError);
}

}  // namespace
}  // namespace chalk
