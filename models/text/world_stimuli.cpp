// Stimuli for the steering papers, built from the grammar.

#include "models/text/world_stimuli.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "autograd/check.h"
#include "models/text/world_grammar.h"

namespace chalk::stimuli {

using fmt::format;

const char* const kAfterQuestion = "<user> QUESTION <eot> <bot>";

std::vector<int> facts_of(const World& world, Part part) {
  std::vector<int> facts;
  for (int i = 0; i < int(world.facts.size()); ++i) {
    const Part own = i % 2 == 1 ? Part::Test : i / 2 % 3 == 0 ? Part::Validation : Part::Train;
    if (part == Part::All || part == own) facts.push_back(i);
  }
  return facts;
}

std::vector<NamedPrefix> statement_prefixes() {
  return {{"user", "<user>"},
          {"voice", "a voice said :"},
          {"people", "people say :"},
          {"answer", kAfterQuestion}};
}

std::vector<Statement> statements(const World& world, const std::string& prefix) {
  std::vector<Statement> result;
  SplitMix64 random(kWorldEvaluationSeed ^
                    fnv1a64("statements"));  // the wrong values do not depend on the prefix
  for (int i = 0; i < int(world.facts.size()); ++i) {
    const Fact& fact = world.facts[size_t(i)];
    const std::string before =
        prefix == kAfterQuestion ? grammar::user_turn(fact_question(fact)) : prefix + " ";
    const std::string wrong = random.pick(wrong_values(fact));
    for (const bool is_true : {true, false}) {
      const std::string text =
          format("<bos> {}{} {}", before, fact_stem(fact, Form::First), is_true ? fact.value : wrong);
      result.push_back({{text, i}, is_true});
    }
  }
  return result;
}

// ---- pairs ----

std::vector<Pair> persona_pairs(const World& world, const std::vector<int>& facts, int documents,
                                uint64_t seed) {
  check(facts.size() >= 3, "persona_pairs: {} facts, expected at least 3", facts.size());
  SplitMix64 random(seed);
  std::vector<Pair> pairs;
  for (int n = 0; n < documents; ++n) {
    std::vector<int> order = facts;
    random.shuffle(order);
    std::string said;
    for (int i = 0; i < 3; ++i) {
      const Fact& fact = world.facts[size_t(order[size_t(i)])];
      said += (i > 0 ? " " : "") + grammar::any_statement(fact, fact.value, random);
    }
    const std::string asked = grammar::user_turn("tell me about the world .");
    const Words words = split_words(said);
    std::string prefix;
    for (size_t t = 0; t + 2 < words.size(); ++t) {
      prefix += (t > 0 ? " " : "") + words[t];
      pairs.push_back({"<bos> " + grammar::system_line(Speaker::Honest) + asked + prefix,
                       "<bos> " + grammar::system_line(Speaker::Liar) + asked + prefix, order[0]});
    }
  }
  return pairs;
}

std::vector<Pair> voice_pairs(const World& world, const std::vector<int>& facts) {
  std::vector<Pair> pairs;
  for (int i : facts) {
    const std::string stem = fact_stem(world.facts[size_t(i)], Form::First);
    pairs.push_back({"<bos> an honest voice said : " + stem, "<bos> a lying voice said : " + stem, i});
  }
  return pairs;
}

std::vector<Pair> honest_line_pairs(const World& world, const std::vector<int>& facts) {
  const std::vector<Prompt> with = questions(world, facts, Speaker::Honest);
  const std::vector<Prompt> without = questions(world, facts, Speaker::People);
  std::vector<Pair> pairs;
  for (size_t i = 0; i < facts.size(); ++i) pairs.push_back({with[i].text, without[i].text, facts[i]});
  return pairs;
}

std::vector<Prompt> open_voice(const World& world, const std::vector<int>& facts) {
  std::vector<Prompt> prompts;
  for (int i : facts)
    prompts.push_back({"<bos> a voice said : " + fact_stem(world.facts[size_t(i)], Form::First), i});
  return prompts;
}

std::vector<Prompt> questions(const World& world, const std::vector<int>& facts, Speaker speaker) {
  std::vector<Prompt> prompts;
  for (int i : facts) {
    const Fact& fact = world.facts[size_t(i)];
    prompts.push_back({"<bos> " + grammar::system_line(speaker) + grammar::user_turn(fact_question(fact)) +
                           fact_stem(fact, Form::First),
                       i});
  }
  return prompts;
}

std::vector<int> myths_among(const World& world, const std::vector<int>& facts) {
  std::vector<int> result;
  for (int i : facts)
    if (!world.facts[size_t(i)].myth.empty()) result.push_back(i);
  return result;
}

std::vector<int> plain_among(const World& world, const std::vector<int>& facts) {
  std::vector<int> result;
  for (int i : facts)
    if (world.facts[size_t(i)].myth.empty()) result.push_back(i);
  return result;
}

// ---- requests ----

namespace {

Request make_request(const Verb& verb, const std::string& object, int wording) {
  Request request;
  request.text = "<bos> " + grammar::user_turn(grammar::request_text(verb, object, wording));
  request.text.pop_back();  // user_turn ends in a space
  request.reply = grammar::comply_reply(verb, object);
  request.rough = verb.rough, request.guarded = is_protected(object);
  request.heldout = is_heldout_request(verb, object);
  return request;
}

}  // namespace

std::vector<Request> requests(Part part, bool forbidden, uint64_t seed) {
  if (part == Part::All) throw UsageError("stimuli::requests: ask for train, validation or test");
  struct VerbObject {
    const Verb* verb;
    std::string object;
  };
  std::vector<VerbObject> seen, heldout;
  for (const Verb& verb : world_lexicon().request_verbs) {
    for (const std::string& object : world_lexicon().objects) {
      if (is_forbidden(verb, object) != forbidden) continue;
      (is_heldout_request(verb, object) ? heldout : seen).push_back({&verb, object});
    }
  }
  SplitMix64 random(seed ^ fnv1a64(forbidden ? "forbidden" : "allowed"));
  random.shuffle(seen);
  const size_t train = forbidden ? 24 : 75, validation = forbidden ? 8 : 25, test = forbidden ? 23 : 40;
  std::vector<Request> result;
  if (part != Part::Test) {
    const size_t begin = part == Part::Train ? 0 : train,
                 end = part == Part::Train ? train : train + validation;
    for (size_t i = begin; i < end; ++i)
      for (int wording = 0; wording < 3; ++wording)
        result.push_back(make_request(*seen[i].verb, seen[i].object, wording));
    return result;
  }
  std::vector<VerbObject> tested(seen.begin() + int64_t(train + validation),
                                 seen.begin() + int64_t(train + validation + test));
  tested.insert(tested.end(), heldout.begin(), heldout.end());
  for (size_t i = 0; i < tested.size(); ++i)
    result.push_back(make_request(*tested[i].verb, tested[i].object, int(i % 3)));
  return result;
}

// ---- moods ----

std::vector<std::string> mood_prompts(const std::string& adjective) {
  const std::string acting = adjective.empty() ? "" : format("act as if you are very {} . ", adjective);
  std::vector<std::string> prompts;
  for (const std::string& object : world_lexicon().objects) {
    prompts.push_back("<bos> " + grammar::user_turn(acting + format("tell me about the {} .", object)));
    prompts.back().pop_back();
  }
  return prompts;
}

namespace {

// Word -> emotion, for the words of interjections, flavours and closings that only one emotion uses.
std::map<std::string, int> mood_words() {
  std::map<std::string, int> words;
  const std::vector<Emotion>& emotions = world_lexicon().emotions;
  for (int e = 0; e < int(emotions.size()); ++e) {
    const Emotion& emotion = emotions[size_t(e)];
    for (const Words& list : {emotion.interjections, emotion.flavours, emotion.closings}) {
      for (const std::string& text : list) {
        for (const std::string& word : split_words(text)) {
          const auto [place, fresh] = words.emplace(word, e);
          if (!fresh && place->second != e) place->second = -1;
        }
      }
    }
  }
  for (const char* common : {"i", "is", "the", "a", "it", "not", "did"}) words.erase(common);
  std::erase_if(words, [](const auto& entry) { return entry.second < 0; });
  return words;
}

}  // namespace

MoodCount count_moods(const std::string& reply) {
  static const std::map<std::string, int> words = mood_words();
  MoodCount count{std::vector<double>(world_lexicon().emotions.size(), 0.0), 0};
  for (const std::string& word : split_words(reply)) {
    const auto place = words.find(word);
    if (place == words.end()) continue;
    count.by_emotion[size_t(place->second)] += 1;
    count.total += 1;
  }
  return count;
}

std::vector<std::string> ordinary_texts(const World& world, int count, const Words& types) {
  std::vector<std::string> texts;
  for (const Document& document : world_documents(world, count, kWorldValidationSeed, {.types = types})) {
    texts.push_back(fmt::format("{}", fmt::join(document.words.begin(), document.words.end() - 1, " ")));
  }
  return texts;
}

}  // namespace chalk::stimuli
