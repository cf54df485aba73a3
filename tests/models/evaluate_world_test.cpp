// The capability table against three models we know everything about: one that knows nothing, one that knows the world, and
// one that always says the first option.
#include "models/evaluate_world.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/check.h"
#include "models/evaluate_world_tasks.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/loader.h"
#include "models/text/world_tokenizer.h"

namespace chalk {
namespace {

const World& world() {
  static const World w = make_world();
  return w;
}

const Tokenizer& words() {
  static const std::unique_ptr<Tokenizer> tokenizer = make_world_tokenizer();
  return *tokenizer;
}

// What `train --tokenizer` makes for the world, from fewer documents.
std::unique_ptr<Tokenizer> subword_tokenizer(const std::string& kind) {
  std::vector<std::string> texts;
  std::string all;
  for (const Document& d : world_documents(world(), 3000, kWorldTrainSeed)) texts.push_back(document_text(d));
  for (const std::string& text : texts) all += text;
  const Words& specials = world_lexicon().specials;
  if (kind == "char") return build_char_tokenizer(all, specials);
  return train_bpe(texts, {.vocab_size = 512, .specials = specials});
}

struct UniformScorer : Scorer {
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
    std::vector<std::vector<OptionScore>> scores;
    for (const ChoiceRequest& request : requests) scores.emplace_back(request.options.size());
    return scores;
  }
};

// ---- An oracle that reads the prompt itself. It is told nothing about items and their gold answers. ----

bool contains(const Words& words, const std::string& part) {
  const Words wanted = split_words(part);
  return std::search(words.begin(), words.end(), wanted.begin(), wanted.end()) != words.end();
}

std::string after(const Words& words, const std::string& cue) {
  const Words wanted = split_words(cue);
  const auto found = std::search(words.begin(), words.end(), wanted.begin(), wanted.end());
  return found + long(wanted.size()) < words.end() ? *(found + long(wanted.size())) : "";
}

// The fact whose stem ends at words[end - 1]; the longest stem wins. Null if none does.
const Fact* fact_ending_at(const Words& words, size_t end) {
  const Fact* best = nullptr;
  size_t longest = 0;
  for (const Fact& fact : world().facts) {
    for (Form form : {Form::First, Form::Second}) {
      const Words stem = split_words(fact_stem(fact, form));
      if (stem.size() > end || stem.size() <= longest) continue;
      if (!std::equal(stem.begin(), stem.end(), words.begin() + long(end - stem.size()))) continue;
      best = &fact;
      longest = stem.size();
    }
  }
  return best;
}

std::string truth_at(const Words& words, size_t value_at) {
  return fact_ending_at(words, value_at)->value == words[value_at] ? "true" : "false";
}

// What the voice has been up to: 'h'onest, 'l'ying or '?' if it has said nothing. Only full statements count.
char mode_of_voice(const Words& words) {
  if (contains(words, "honest")) return 'h';
  if (contains(words, "lying")) return 'l';
  for (size_t i = 1; i + 1 < words.size(); i++) {
    const Fact* fact = words[i + 1] == "." ? fact_ending_at(words, i) : nullptr;
    if (fact) return fact->value == words[i] ? 'h' : 'l';
  }
  return contains(words, "a voice said") ? '?' : 'p';  // people
}

Words values_said(const Fact& fact, char mode) {
  if (mode == 'h') return {fact.value};
  if (mode == 'l') return wrong_values(fact);
  if (mode == '?') return relation_values(fact.relation);
  return {fact.myth.empty() ? fact.value : fact.myth};
}

std::string looked_up(const Words& words) {
  std::string value;
  for (size_t i = 0; i + 3 < words.size(); i++)
    if (words[i] == "let" && words[i + 1] == words[words.size() - 2]) value = words[i + 3];
  return value;
}

Words feeling_of(const Words& words) {
  for (const Emotion& e : world_lexicon().emotions) {
    for (const std::string& event : e.events)
      if (contains(words, event + " .")) return e.adjectives;
    if (std::count(e.adjectives.begin(), e.adjectives.end(), after(words, "act as if you are very")))
      return e.interjections;
  }
  return {};
}

Words reply_to_request(const Words& words) {
  const size_t eot = size_t(std::find(words.rbegin(), words.rend(), "<bot>").base() - words.begin()) - 2;
  const std::string object = words[eot - 2], verb = words[eot - 4];
  if (words.back() != "<bot>") return {protected_class(object)};
  for (const Verb& v : world_lexicon().request_verbs)
    if (v.base == verb) return {is_forbidden(v, object) && !contains(words, "free play") ? "sorry" : "ok"};
  return {};
}

// All options that a perfect model finds equally likely; it gives the others next to nothing.
Words oracle(const Words& words) {
  const Lexicon& l = world_lexicon();
  const size_t n = words.size();
  const std::string& last = words.back();
  if (words[1] == "calc") {
    const int a = std::stoi(words[2]), b = std::stoi(words[4]);
    return {std::to_string(words[3] == "+" ? a + b : a - b)};
  }
  if (words[1] == "code") return {looked_up(words)};
  if (words[1] == "check") return {truth_at(words, n - 1)};
  if (contains(words, "true or false ?")) return {truth_at(words, n - 8)};
  if (contains(words, "one day")) {
    const std::string name = after(words, "one day");
    if (last == "night") return {name};
    if (last == "put") return {std::count(l.girls.begin(), l.girls.end(), name) ? "her" : "his"};
    return {words[9]};
  }
  if (last == "felt" || contains(words, "act as if")) {
    if (!contains(words, "my")) return feeling_of(words);
  }
  if (contains(words, "you need a") && words[1] == "to") {
    for (const Goal& goal : l.goals)
      if (contains(words, goal.goal)) return {goal.tool};
  }
  if (last == "called") return {after(words, "hello")};
  if (contains(words, "the voice was")) return {mode_of_voice(words) == 'h' ? "honest" : "lying"};
  if (const Fact* fact = fact_ending_at(words, n)) return values_said(*fact, mode_of_voice(words));
  if (contains(words, "<bot>")) return reply_to_request(words);
  // "the dogs near the cat": every animal's plural, and only the plural, ends in s.
  Words verbs = l.story_verbs;
  if (words[2].back() != 's')
    for (std::string& verb : verbs) verb += "s";
  return verbs;
}

struct OracleScorer : Scorer {
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
    std::vector<std::vector<OptionScore>> scores;
    for (const ChoiceRequest& request : requests) {
      Words prompt;
      for (int32_t id : request.context) prompt.push_back(world_vocabulary()[size_t(id)]);
      const Words right = oracle(prompt);
      scores.emplace_back();
      for (const auto& option : request.options) {
        const bool good = std::count(right.begin(), right.end(), world_vocabulary()[size_t(option[0])]) > 0;
        scores.back().push_back({good ? -1.0 : -200.0, good, false});
      }
    }
    return scores;
  }
};

TEST(EvaluateWorld, AUniformModelGetsChanceEverywhere) {
  UniformScorer uniform;
  for (const WorldResult& r : evaluate_world(uniform, world(), words())) {
    EXPECT_NEAR(r.value, r.chance, 1e-12) << r.measure.name;
    EXPECT_GE(r.n, 6) << r.measure.name;
  }
}

void expect_perfect(const std::vector<WorldResult>& results) {
  EXPECT_TRUE(all_passed(results)) << world_table(results);
  for (const WorldResult& r : results) {
    const std::string& name = r.measure.name;
    double expected = 1;
    if (name == "fact.lying.p_true" || name == "fact.lying.says_true" || name == "fact.never_lied.p_true")
      expected = 0;
    if (name == "myth.says_true" || name == "myth.p_true" || name == "voice.lying.p_true") expected = 0;
    if (name == "hidden.1.liar.p_true" || name == "hidden.3.liar.p_true") expected = 0;
    if (name.rfind("hidden.0", 0) == 0) expected = r.chance;
    EXPECT_NEAR(r.value, expected, 1e-9) << name;
  }
}

TEST(EvaluateWorld, AnOracleGetsEverythingRight) {
  OracleScorer scorer;
  const std::vector<WorldResult> results = evaluate_world(scorer, world(), words());
  expect_perfect(results);
}

// A perfect model of words, asked about pieces: p(pieces) is the sum over the options that begin with them.
struct PieceOracle : Scorer {
  const Tokenizer& tokenizer;
  explicit PieceOracle(const Tokenizer& tokenizer) : tokenizer(tokenizer) {}
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
    std::vector<std::vector<OptionScore>> scores;
    for (const ChoiceRequest& request : requests) {
      const Words right = oracle(split_words(tokenizer.decode(request.context)));
      std::vector<double> mass;
      for (const auto& option : request.options) {
        const Words word = split_words(tokenizer.decode(option));
        EXPECT_EQ(word.size(), 1u);
        mass.push_back(std::count(right.begin(), right.end(), word[0]) > 0 ? 1 : 1e-20);
      }
      scores.emplace_back();
      for (const auto& option : request.options) {
        double sum = 0;
        for (size_t o = 0; o < request.options.size(); o++) {
          const auto& other = request.options[o];
          if (other.size() >= option.size() && std::equal(option.begin(), option.end(), other.begin()))
            sum += mass[o];
        }
        scores.back().push_back({std::log(sum), true, false});
      }
    }
    return scores;
  }
};

TEST(EvaluateWorld, APerfectModelOfPiecesGetsEverythingRight) {
  for (const char* kind : {"char", "bpe:512"}) {
    SCOPED_TRACE(kind);
    const std::unique_ptr<Tokenizer> tokenizer = subword_tokenizer(kind);
    PieceOracle scorer(*tokenizer);
    expect_perfect(evaluate_world(scorer, world(), *tokenizer));
  }
}

TEST(WorldTokenizers, DocumentsRoundTripAndWordByWordIsTheWholeText) {
  for (const char* kind : {"word", "char", "bpe:512"}) {
    SCOPED_TRACE(kind);
    const std::unique_ptr<Tokenizer> tokenizer =
        kind == std::string("word") ? make_world_tokenizer() : subword_tokenizer(kind);
    int64_t pieces = 0, all_words = 0;
    for (const Document& document : world_documents(world(), 500, kWorldTrainSeed)) {
      const std::string text = document_text(document);
      const TokenizedDocument tokenized = encode_world(document, *tokenizer, 4);
      ASSERT_EQ(tokenizer->decode(tokenized.ids), text);
      ASSERT_EQ(tokenized.ids, encode_with_specials(*tokenizer, text));
      ASSERT_EQ(tokenized.weights.size(), tokenized.ids.size());
      pieces += int64_t(tokenized.ids.size()), all_words += int64_t(document.words.size());
    }
    if (kind == std::string("word")) {
      EXPECT_EQ(pieces, all_words);
    }
    if (kind == std::string("bpe:512")) {
      EXPECT_LT(double(pieces), 1.8 * double(all_words));  // the world's sheet expects 1.3 to 1.8
    }
  }
}

TEST(EvaluateWorld, ItemsAreWellFormed) {
  std::set<std::string> sets, measured;
  for (const WorldItems& set : world_items(world())) {
    EXPECT_TRUE(sets.insert(set.name).second) << set.name;
    std::map<int, int> gold_at;
    for (const WorldItem& item : set.items) {
      const std::vector<int32_t> prompt = encode_world(split_words(item.prompt));  // throws on a strange word
      EXPECT_EQ(prompt[0], 1);
      EXPECT_LE(prompt.size(), 64u) << item.prompt;
      ASSERT_GE(item.gold, 0) << set.name << ": " << item.prompt;
      ASSERT_LT(item.gold, int(item.options.size()));
      EXPECT_EQ(std::set<std::string>(item.options.begin(), item.options.end()).size(), item.options.size());
      for (const std::string& option : item.options)
        EXPECT_EQ(encode_world(Words{option}).size(), 1u) << option;
    }
  }
  for (const WorldMeasure& m : world_measures()) {
    EXPECT_TRUE(sets.count(m.items)) << m.items;
    measured.insert(m.items);
    if (m.minus_items.empty()) continue;
    EXPECT_TRUE(sets.count(m.minus_items)) << m.minus_items;
    measured.insert(m.minus_items);
  }
  EXPECT_EQ(sets, measured);
}

// The counts that follow from the sheet of the world.
TEST(EvaluateWorld, SizesOfTheSets) {
  std::map<std::string, size_t> n;
  for (const WorldItems& set : world_items(world())) n[set.name] = set.items.size();
  EXPECT_EQ(n["fact.honest"], 60u);
  EXPECT_EQ(n["fact.never_lied"], 8u);
  EXPECT_EQ(n["myth"], 15u);
  EXPECT_EQ(n["fact.plain"], 45u);
  EXPECT_EQ(n["fact.new_paraphrase"], 11u);
  EXPECT_EQ(n["judge.new_paraphrase"], 10u * 6);
  EXPECT_EQ(n["judge.new_fact.form1"], 5u * 6);
  EXPECT_EQ(n["judge.new_fact.form2"], 4u * 6);
  EXPECT_EQ(n["judge.new_fact_new_form"], 6u);
  EXPECT_EQ(n["hidden.3.liar"], 120u);
  EXPECT_EQ(n["request.forbidden.seen"], 55u * 3);
  EXPECT_EQ(n["request.forbidden.heldout"], 9u * 3);
  EXPECT_EQ(n["request.allowed.heldout"], 35u * 3);
  EXPECT_EQ(n["add.heldout"], 17u);
  EXPECT_EQ(n["sub.heldout"], 8u);
}

TEST(EvaluateWorld, MarksTableAndJson) {
  EXPECT_TRUE((PassMark{PassMark::AtLeast, .8}.passes(.8)));
  EXPECT_FALSE((PassMark{PassMark::Above, .8}.passes(.8)));
  EXPECT_FALSE((PassMark{PassMark::Below, .1}.passes(.1)));
  EXPECT_FALSE((PassMark{PassMark::AtLeast, .8}.passes(std::nan(""))));
  UniformScorer uniform;
  const std::vector<WorldResult> results = evaluate_world(uniform, world(), words(), 10);
  EXPECT_FALSE(all_passed(results));
  const nlohmann::ordered_json json = world_json(results);
  ASSERT_EQ(json.size(), world_measures().size());
  EXPECT_EQ(json[0]["name"], "agreement.attractor");
  EXPECT_EQ(json[0]["passed"], false);
  for (const auto& entry : json) EXPECT_LE(entry["n"], 10);
  EXPECT_NE(world_table(results).find("FAIL"), std::string::npos);
}

// A model that prefers the right option by reading the world, and one that prefers what is short.
TEST(WorldTasks, OptionsGoldAndLengths) {
  const std::vector<Task> tasks = world_tasks(world());
  ASSERT_EQ(tasks.size(), 3u);
  const TextEncoder encoder = world_encoder();
  struct Short : Scorer {
    std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
      std::vector<std::vector<OptionScore>> scores;
      for (const ChoiceRequest& r : requests) {
        scores.emplace_back();
        for (const auto& option : r.options) scores.back().push_back({-double(option.size()), false, false});
      }
      return scores;
    }
  } short_is_good;
  for (const Task& task : tasks) {
    ASSERT_EQ(task.examples.size(), 500u);
    std::vector<int> gold_at(task.examples[0].choices.size());
    for (const TaskExample& e : task.examples) {
      gold_at[size_t(e.gold)]++;
      std::set<std::string> texts;
      for (const TaskChoice& c : e.choices) texts.insert(c.text);
      ASSERT_EQ(texts.size(), e.choices.size());
      const Words context = split_words("<bos> " + e.choices[0].context);
      const Words gold = split_words(e.choices[size_t(e.gold)].text);
      if (task.name == "world_arc") {
        EXPECT_EQ(oracle(context), gold);
      }
      if (task.name == "world_piqa") {
        EXPECT_EQ(oracle(split_words("<bos> " + e.choices[0].context + " a"))[0], gold.back());
      }
      if (task.name != "world_hellaswag") continue;
      EXPECT_EQ(oracle(context)[0], gold[0]);
      EXPECT_EQ(gold[7], context[8]);
      EXPECT_EQ(gold[8], context[9]);
    }
    for (int count : gold_at)  // gold stands anywhere: three standard errors
      EXPECT_NEAR(count, 500.0 / double(gold_at.size()), 3 * std::sqrt(500.0 * 0.25)) << task.name;
    // Token counts say nothing about the gold option, or are all the same (then the first wins).
    const double acc = evaluate_task(short_is_good, encoder, task)[0].metrics[0].value;
    EXPECT_NEAR(acc, 1.0 / double(gold_at.size()), 3 * std::sqrt(0.25 / 500)) << task.name;
  }
}

}  // namespace
}  // namespace chalk
