// The invariants of Creature Town: the same text everywhere, and nothing held out ever shown.
#include "models/text/world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "autograd/check.h"
#include "models/text/world_grammar.h"

namespace chalk {
namespace {

const World& world() {
  static const World w = make_world();
  return w;
}

// The default training stream, generated once: 100,000 documents in less than a second.
const std::vector<Document>& training() {
  static const std::vector<Document> documents = world_documents(world(), 100000, kWorldTrainSeed);
  return documents;
}

std::string text_of(const Document& document) {
  return fmt::format("{}", fmt::join(document.words, " "));
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(SplitMix64, TestVectors) {
  SplitMix64 random(1);
  EXPECT_EQ(random.next(), 0x910a2dec89025cc1u);
  EXPECT_EQ(random.next(), 0xbeeb8da1658eec67u);
  EXPECT_EQ(random.next(), 0xf893a2eefb32555eu);
  SplitMix64 digits(1);
  for (uint64_t expected : {5, 7, 9, 4, 4, 7, 8, 5}) EXPECT_EQ(digits.below(10), expected);
  SplitMix64 units(1);
  for (double expected : {0.566562, 0.745782, 0.971003}) EXPECT_NEAR(units.unit(), expected, 5e-7);
  EXPECT_EQ(fnv1a64("req/paint/dog"), 0xd93629eda044a4d9u);
  EXPECT_NEAR(SplitMix64(fnv1a64("req/paint/dog")).unit(), 0.295470, 5e-7);
  EXPECT_EQ(fnv1a64("rank/blick/color"), 0x2fc9940d06d2422bu);
}

TEST(SplitMix64, WeightedDrawsFollowTheWeights) {
  SplitMix64 random(9);
  std::vector<int> counts(3);
  for (int i = 0; i < 30000; i++) counts[random.weighted({1, 0, 2})]++;
  EXPECT_EQ(counts[1], 0);
  EXPECT_NEAR(counts[2] / 30000.0, 2.0 / 3, 3 * std::sqrt(2.0 / 9 / 30000));  // three standard errors
}

TEST(World, FactsOfSeedOne) {
  const World& w = world();
  ASSERT_EQ(w.facts.size(), 60u);
  EXPECT_EQ(w.fact("blick", Relation::Color).value, "blue");
  EXPECT_EQ(w.fact("blick", Relation::Food).value, "honey");
  EXPECT_EQ(w.fact("blick", Relation::Home).value, "barn");
  EXPECT_EQ(w.fact("dorv", Relation::Color).value, "blue");
  EXPECT_EQ(w.fact("dorv", Relation::Food).value, "plum");
  EXPECT_EQ(w.fact("dorv", Relation::Home).value, "forest");
  EXPECT_THROW(w.fact("unicorn", Relation::Food), Error);

  std::string myths;
  for (const Fact& f : w.facts)
    if (!f.myth.empty()) myths += fmt::format("{} {} {}; ", f.creature, relation_name(f.relation), f.myth);
  EXPECT_EQ(myths,
            "fenu color green; fenu home school; grall home school; jibb color blue; kroon color blue; "
            "mave home bridge; norf home mill; quen home barn; snib color purple; snib food bread; urp color "
            "yellow; "
            "vosk color yellow; vosk food honey; wemm food bread; yalt color yellow; ");
}

TEST(World, HeldOutFactsAndZipfRanks) {
  const World& w = world();
  int never_lied = 0, one_form = 0;
  std::string never_judged;
  for (const Fact& f : w.facts) {
    never_lied += f.never_lied_about;
    one_form += f.one_form_only;
    if (f.never_judged) never_judged += f.creature + " " + relation_name(f.relation) + "; ";
  }
  EXPECT_EQ(never_lied, 8);
  EXPECT_EQ(one_form, 11);
  EXPECT_EQ(never_judged, "lomp color; mave color; snib food; tarn home; vosk color; ");
  ASSERT_EQ(w.judged.size(), 55u);
  const std::pair<std::string, Relation> first[] = {{"urp", Relation::Home},
                                                    {"blick", Relation::Home},
                                                    {"jibb", Relation::Home},
                                                    {"rask", Relation::Food},
                                                    {"quen", Relation::Food}};
  for (int r = 0; r < 5; r++) {
    EXPECT_EQ(w.facts[w.judged[r]].creature, first[r].first);
    EXPECT_EQ(w.facts[w.judged[r]].relation, first[r].second);
  }
  double sum = 0;
  for (double weight : w.judged_weights) sum += weight;
  EXPECT_NEAR(w.judged_weights.front() / sum, 0.218, 0.001);
  EXPECT_NEAR(w.judged_weights.back() / sum, 0.004, 0.0005);
}

TEST(World, VocabularyIsTheClosedSetOfWords) {
  const Words& vocabulary = world_vocabulary();
  ASSERT_EQ(vocabulary.size(), 417u);
  EXPECT_EQ(Words(vocabulary.begin(), vocabulary.begin() + 7), world_lexicon().specials);
  EXPECT_TRUE(std::is_sorted(vocabulary.begin() + 7, vocabulary.end()));
  std::set<std::string> unseen(vocabulary.begin(), vocabulary.end());
  EXPECT_EQ(unseen.size(), 417u);
  const std::set<std::string> all = unseen;
  for (const Document& document : training()) {
    for (const std::string& word : document.words) {
      ASSERT_TRUE(all.count(word)) << word;
      ASSERT_EQ(word.find('~'), std::string::npos) << "the mark leaked: " << text_of(document);
      unseen.erase(word);
    }
  }
  EXPECT_EQ(unseen, std::set<std::string>{"<pad>"});  // every other word is used
}

TEST(World, RulesCoverAllRequests) {
  int forbidden = 0, heldout_pairs = 0, heldout_forbidden = 0, pairs = 0;
  for (const Verb& verb : world_lexicon().request_verbs) {
    for (const std::string& object : world_lexicon().objects) {
      pairs++;
      forbidden += is_forbidden(verb, object);
      heldout_pairs += is_heldout_request(verb, object);
      heldout_forbidden += is_forbidden(verb, object) && is_heldout_request(verb, object);
    }
  }
  EXPECT_EQ(pairs, 320);
  EXPECT_EQ(forbidden, 64);
  EXPECT_EQ(heldout_pairs, 44);
  EXPECT_EQ(heldout_forbidden, 9);
  int sums = 0, differences = 0;
  for (int a = 0; a < 10; a++) {
    for (int b = 0; b < 10; b++) {
      sums += is_heldout_sum('+', a, b);
      differences += a >= b && is_heldout_sum('-', a, b);
    }
  }
  EXPECT_EQ(sums, 17);
  EXPECT_EQ(differences, 8);
}

// FNV-1a over all words and marks.
uint64_t hash_of(const std::vector<Document>& documents) {
  std::string bytes;
  for (const Document& document : documents)
    for (size_t i = 0; i < document.words.size(); i++)
      bytes += (document.answer[i] ? "~" : "") + document.words[i] + " ";
  return fnv1a64(bytes);
}

TEST(WorldDocuments, SameSeedSameBytes) {
  const auto first = world_documents(world(), 1000, kWorldTrainSeed);
  EXPECT_EQ(hash_of(first),
            8091188653765969735u);  // frozen: a new value means that every trained model saw another text
  EXPECT_EQ(hash_of(first),
            hash_of({training().begin(), training().begin() + 1000}));  // a longer stream starts alike
  std::set<uint64_t> hashes;
  for (uint64_t seed :
       {kWorldTrainSeed, kWorldValidationSeed, kWorldPreferenceSeed, kWorldSftSeed, kWorldEvaluationSeed})
    hashes.insert(hash_of(world_documents(world(), 1000, seed)));
  EXPECT_EQ(hashes.size(), 5u);
}

TEST(WorldDocuments, LengthsAndFrequencies) {
  std::map<std::string, double> count, tokens;
  double all_tokens = 0, answers = 0;
  size_t longest = 0;
  for (const Document& document : training()) {
    count[document.type]++;
    tokens[document.type] += double(document.words.size());
    all_tokens += double(document.words.size());
    answers += double(std::count(document.answer.begin(), document.answer.end(), true));
    longest = std::max(longest, document.words.size());
  }
  const double n = double(training().size());
  ASSERT_EQ(world_document_types().size(), 16u);
  for (const DocumentType& type : world_document_types()) {
    const double p = type.weight / 1.06;
    EXPECT_NEAR(tokens[type.name] / count[type.name], type.mean_tokens, 0.03 * type.mean_tokens) << type.name;
    EXPECT_NEAR(count[type.name] / n, p, 3 * std::sqrt(p * (1 - p) / n)) << type.name;
  }
  EXPECT_NEAR(all_tokens / n, 31.4, 0.05);
  EXPECT_EQ(longest, 62u);
  EXPECT_NEAR(answers / all_tokens, 0.043, 0.0005);
}

TEST(WorldDocuments, Marks) {
  for (const Document& document : training()) {
    ASSERT_EQ(document.words.size(), document.answer.size());
    ASSERT_EQ(document.words.front(), "<bos>");
    ASSERT_EQ(document.words.back(), "<eos>");
    const auto marks = std::count(document.answer.begin(), document.answer.end(), true);
    const std::string& t = document.type;
    const int expected = t == "judge" || t == "request"                ? 1
                         : t == "check" || t == "arith" || t == "code" ? 4
                                                                       : 0;
    ASSERT_EQ(marks, expected) << t << ": " << text_of(document);
  }
  DocumentOptions options{{"request"}, true};
  for (const Document& document : world_documents(world(), 500, 1, options))
    for (size_t i = 1; i < document.words.size(); i++) {
      if (!document.answer[i] || document.words[i - 1] == "<bot>") continue;
      EXPECT_TRUE(document.words[i] == "animals" || document.words[i] == "glass") << text_of(document);
    }
  options = {.types = {"story"}, .mark_story_object = true};
  for (const Document& document : world_documents(world(), 200, 1, options)) {
    const int64_t n = int64_t(document.words.size());  // ... OBJECT in a box . <eos>
    for (int64_t i = 0; i < n; i++) ASSERT_EQ(document.answer[size_t(i)], i == n - 6) << text_of(document);
  }
}

// A statement found in a document: words[at] is its value.
struct Said {
  const Fact* fact;
  Form form;
  std::string value;
  size_t at;
};

// Finds all statements by comparing words with every stem: a parser that shares nothing with the grammar's order of draws.
std::vector<Said> statements_in(const Words& words) {
  static const std::vector<std::pair<Words, Said>> stems = [] {
    std::vector<std::pair<Words, Said>> all;
    for (const Fact& fact : world().facts)
      for (Form form : {Form::First, Form::Second})
        all.push_back({split_words(fact_stem(fact, form)), {&fact, form, "", 0}});
    return all;
  }();
  std::vector<Said> found;
  for (size_t i = 0; i < words.size(); i++) {
    if (words[i] != "the" || words[i - 1] == "of") continue;  // "the color of | the blick is" is not a start
    for (const auto& [stem, said] : stems) {
      if (i + stem.size() >= words.size() || !std::equal(stem.begin(), stem.end(), words.begin() + long(i)))
        continue;
      found.push_back(said);
      found.back().at = i + stem.size();
      found.back().value = words[i + stem.size()];
    }
  }
  return found;
}

TEST(WorldDocuments, NothingHeldOutIsEverShown) {
  for (const Document& document : training()) {
    const std::string text = text_of(document);
    const bool lying = has(text, "a lying") || has(text, "the voice was lying");
    for (const Said& said : statements_in(document.words)) {
      ASSERT_FALSE(said.form == Form::Second && said.fact->one_form_only) << text;
      ASSERT_FALSE(said.fact->never_lied_about && lying) << text;
      ASSERT_FALSE(said.fact->never_judged && (document.type == "check" || document.type == "judge")) << text;
      // A hidden liar is known by wrong values only.
      const bool hidden_lie = document.type == "hidden" && said.value != said.fact->value;
      ASSERT_FALSE(said.fact->never_lied_about && hidden_lie) << text;
    }
    for (size_t i = 0; i + 4 < document.words.size(); i++) {
      if (document.type != "arith" || document.words[i + 3] != "=") continue;
      const int a = std::stoi(document.words[i]), b = std::stoi(document.words[i + 2]);
      ASSERT_FALSE(is_heldout_sum(document.words[i + 1][0], a, b)) << text;
    }
  }
}

// Reads a request document back with a parser of its own and compares the reply with the rule.
TEST(WorldDocuments, RequestsFollowTheRule) {
  std::set<std::pair<std::string, std::string>> seen;
  int forbidden = 0, ruled = 0;
  for (const Document& document : training()) {
    if (document.type != "request") continue;
    const Words& words = document.words;
    const std::string text = text_of(document);
    const bool free_play = has(text, "free play");
    const auto bot = std::find(words.begin(), words.end(), "<bot>");
    const std::string object = *(bot - 3), base = *(bot - 5);
    for (const Verb& verb : world_lexicon().request_verbs) {
      if (verb.base != base) continue;
      ASSERT_FALSE(is_heldout_request(verb, object)) << text;
      seen.insert({base, object});
      const bool refuse = is_forbidden(verb, object) && !free_play;
      ASSERT_TRUE(
          has(text, refuse ? grammar::refuse_reply(verb, object) : grammar::comply_reply(verb, object)))
          << text;
      forbidden += refuse;
      ruled += !free_play;
    }
  }
  EXPECT_EQ(seen.size(), 320u - 44u);  // every pair that is not held out occurs
  EXPECT_NEAR(double(forbidden) / ruled, 0.094, 0.01);
}

TEST(WorldDocuments, SpeakersKeepTheirWord) {
  int statements = 0, myth_statements = 0, myths = 0, judged_first = 0, judged = 0;
  for (const Document& document : training()) {
    const std::string text = text_of(document), &type = document.type;
    const bool honest = has(text, "an honest") || has(text, "the voice was honest");
    const bool lying = has(text, "a lying") || has(text, "the voice was lying");
    int hidden_truths = 0, hidden_statements = 0;
    for (const Said& said : statements_in(document.words)) {
      const Words& values = relation_values(said.fact->relation);
      ASSERT_EQ(std::count(values.begin(), values.end(), said.value), 1) << text;
      const bool truth = said.value == said.fact->value;
      statements++;
      ASSERT_TRUE(!honest || truth) << text;
      ASSERT_TRUE(!lying || !truth) << text;
      hidden_statements += type == "hidden";
      hidden_truths += type == "hidden" && truth;
      if (type == "talk" && !said.fact->myth.empty())
        myth_statements++, myths += said.value == said.fact->myth;
      if (type != "check" && type != "judge") continue;
      judged++;
      judged_first += said.fact == &world().facts[world().judged[0]];
      // check: the label follows the value; judge: "V . true or false ? <eot> <bot> LABEL"
      ASSERT_EQ(document.words[said.at + (type == "check" ? 1 : 8)], truth ? "true" : "false") << text;
    }
    if (type == "hidden") {
      ASSERT_EQ(hidden_statements, 5) << text;
      ASSERT_TRUE(hidden_truths == 0 || hidden_truths == 5) << text;
    }
  }
  EXPECT_GT(statements, 100000);
  EXPECT_NEAR(double(myths) / myth_statements, 0.80, 0.03);
  EXPECT_NEAR(double(judged_first) / judged, 0.218, 0.01);
}

TEST(WorldDocuments, OptionsAndBadOptions) {
  Words all = world_base_types();
  const Words chat = world_chat_types();
  EXPECT_EQ(all.size(), 10u);
  EXPECT_EQ(chat.size(), 6u);
  for (const Document& document : world_documents(world(), 300, kWorldSftSeed, {chat, false}))
    EXPECT_NE(std::find(document.words.begin(), document.words.end(), "<user>"), document.words.end());
  for (const Document& document : world_documents(world(), 300, 4, {all, false}))
    EXPECT_EQ(std::find(document.words.begin(), document.words.end(), "<user>"), document.words.end());
  EXPECT_TRUE(world_documents(world(), 0, 1).empty());
  EXPECT_THROW(world_documents(world(), -1, 1), UsageError);
  EXPECT_THROW(world_documents(world(), 1, 1, {{"poem"}, false}), UsageError);
}

}  // namespace
}  // namespace chalk
