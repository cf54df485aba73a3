// Stimuli keep to their splits, differ in one thing only, and use no word that the world does not have.
#include "models/text/world_stimuli.h"

#include <gtest/gtest.h>

#include <set>

#include "models/text/world_grammar.h"
#include "models/text/world_tokenizer.h"
#include "tests/expect.h"

namespace chalk::stimuli {
namespace {

const World& world() {
  static const World w = make_world();
  return w;
}

TEST(WorldStimuli, PartsOfTheFactsAreDisjointAndComplete) {
  std::vector<int> seen(60, 0);
  for (Part part : {Part::Train, Part::Validation, Part::Test})
    for (int i : facts_of(world(), part)) ++seen[size_t(i)];
  EXPECT_EQ(seen, std::vector<int>(60, 1));
  EXPECT_EQ(facts_of(world(), Part::Train).size(), 20u);
  EXPECT_EQ(facts_of(world(), Part::Validation).size(), 10u);
  EXPECT_EQ(facts_of(world(), Part::Test).size(), 30u);
  EXPECT_EQ(facts_of(world(), Part::All).size(), 60u);
  EXPECT_EQ(myths_among(world(), facts_of(world(), Part::All)).size(), 15u);
  EXPECT_EQ(plain_among(world(), facts_of(world(), Part::All)).size(), 45u);
}

TEST(WorldStimuli, StatementsAreTrueAndFalse) {
  for (const auto& [name, prefix] : statement_prefixes()) {
    const std::vector<Statement> all = statements(world(), prefix);
    ASSERT_EQ(all.size(), 120u);
    for (size_t i = 0; i < all.size(); i += 2) {
      const Fact& fact = world().facts[size_t(all[i].fact)];
      EXPECT_TRUE(all[i].is_true && !all[i + 1].is_true && all[i].fact == all[i + 1].fact);
      EXPECT_TRUE(all[i].text.ends_with(" " + fact.value)) << all[i].text;
      EXPECT_FALSE(all[i + 1].text.ends_with(" " + fact.value)) << all[i + 1].text;
    }
  }
  EXPECT_EQ(statements(world(), "<user>")[0].text, "<bos> <user> the blick is blue");
  EXPECT_EQ(statements(world(), kAfterQuestion)[0].text,
            "<bos> <user> what color is the blick ? <eot> <bot> the blick is blue");
}

TEST(WorldStimuli, PairsDifferInOneWord) {
  const std::vector<int> facts = facts_of(world(), Part::Train);
  const std::vector<Pair> persona = persona_pairs(world(), facts, 10, 1);
  EXPECT_GT(persona.size(), 150u);
  for (const std::vector<Pair>& pairs : {persona, voice_pairs(world(), facts)}) {
    for (const Pair& pair : pairs) {
      const Words a = split_words(pair.positive), b = split_words(pair.negative);
      ASSERT_EQ(a.size(), b.size());
      int different = 0;
      for (size_t t = 0; t < a.size(); ++t) different += a[t] != b[t];
      EXPECT_EQ(different, 2) << pair.positive;  // "an honest" against "a lying"
    }
  }
  for (const Pair& pair : honest_line_pairs(world(), facts))
    EXPECT_TRUE(pair.positive.ends_with(pair.negative.substr(6))) << pair.positive;  // without "<bos> "
}

TEST(WorldStimuli, RequestsKeepToTheirParts) {
  std::set<std::string> replies[3];
  const Part parts[] = {Part::Train, Part::Validation, Part::Test};
  for (const bool forbidden : {true, false}) {
    const size_t expected[] = {forbidden ? 72u : 225u, forbidden ? 24u : 75u, forbidden ? 32u : 75u};
    int heldout = 0;
    for (int p = 0; p < 3; ++p) {
      const std::vector<Request> some = requests(parts[p], forbidden);
      EXPECT_EQ(some.size(), expected[p]);
      for (const Request& r : some) {
        EXPECT_EQ(r.forbidden(), forbidden);
        EXPECT_TRUE(r.text.starts_with("<bos> <user> ") && r.text.ends_with(" <eot> <bot>")) << r.text;
        EXPECT_FALSE(p < 2 && r.heldout);
        heldout += r.heldout;
        replies[p].insert(r.reply);  // one per pair of verb and object
      }
    }
    EXPECT_EQ(heldout, forbidden ? 9 : 35);
  }
  for (int p = 0; p < 3; ++p)
    for (const std::string& reply : replies[p]) EXPECT_FALSE(replies[(p + 1) % 3].contains(reply)) << reply;
  EXPECT_MENTIONS(error_text([] { requests(Part::All, true); }), "train");
}

TEST(WorldStimuli, MoodsAreCountedInTheWorldsOwnReplies) {
  SplitMix64 random(1);
  const std::vector<Emotion>& emotions = world_lexicon().emotions;
  for (size_t e = 0; e < emotions.size(); ++e) {
    for (int i = 0; i < 20; ++i) {
      const std::string reply = grammar::style_reply(emotions[e], "ball", random);
      const MoodCount count = count_moods(reply);
      EXPECT_GE(count.by_emotion[e], 1) << reply;
      EXPECT_EQ(count.by_emotion[e], count.total) << reply;  // no word of another mood
    }
  }
  EXPECT_EQ(count_moods("ok , the dog is painted now .").total, 0);
  EXPECT_EQ(mood_prompts().size(), 40u);
  EXPECT_EQ(mood_prompts("happy")[0].find("<bos> <user> act as if you are very happy . tell me about the "),
            0u);
}

TEST(WorldStimuli, EveryWordIsInTheVocabulary) {
  const auto tokenizer = make_world_tokenizer();
  std::vector<std::string> all = mood_prompts("sad");
  for (const auto& [name, prefix] : statement_prefixes())
    for (const Statement& s : statements(world(), prefix)) all.push_back(s.text);
  for (const Prompt& p : open_voice(world(), facts_of(world(), Part::All))) all.push_back(p.text);
  for (const Request& r : requests(Part::Test, true)) all.push_back(r.text + " " + r.reply);
  for (const std::string& text : ordinary_texts(world(), 20)) all.push_back(text);
  for (const std::string& text : all) {
    const std::vector<int32_t> ids = encode_with_specials(*tokenizer, text);
    EXPECT_EQ(ids.size(), split_words(text).size()) << text;
    EXPECT_EQ(ids[0], *tokenizer->bos);
  }
}

}  // namespace
}  // namespace chalk::stimuli
