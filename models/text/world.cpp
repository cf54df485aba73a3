// Facts and rules of Creature Town: who lives where, who says what, what may be done to what.
#include "models/text/world.h"

#include <algorithm>
#include <map>

#include "autograd/check.h"

namespace chalk {

namespace {

constexpr Relation kRelations[] = {Relation::Color, Relation::Home,
                                   Relation::Food};  // the order of the draws

bool contains(const Words& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string fact_key(const Fact& fact) {
  return fact.creature + "/" + relation_name(fact.relation);
}

Words without(const Words& words, const std::string& word) {
  Words rest;
  for (const std::string& w : words)
    if (w != word) rest.push_back(w);
  return rest;
}

// 20 values per relation, as even as possible, shuffled and dealt to the creatures.
std::vector<Fact> deal_facts(SplitMix64& random) {
  const Words& creatures = world_lexicon().creatures;
  std::vector<Fact> facts;
  for (Relation relation : kRelations) {
    const Words& values = relation_values(relation);
    Words dealt;
    for (size_t i = 0; i < creatures.size(); i++) dealt.push_back(values[i % values.size()]);
    random.shuffle(dealt);
    for (size_t i = 0; i < creatures.size(); i++) facts.push_back({creatures[i], relation, dealt[i], ""});
  }
  std::sort(facts.begin(), facts.end(), [](const Fact& a, const Fact& b) {
    if (a.creature != b.creature) return a.creature < b.creature;
    return relation_name(a.relation) < relation_name(b.relation);
  });
  return facts;
}

void choose_myths(std::vector<Fact>& facts, SplitMix64& random) {
  constexpr int kMyths = 15;
  std::vector<int> order(facts.size());
  for (size_t i = 0; i < order.size(); i++) order[i] = int(i);
  random.shuffle(order);
  for (int i = 0; i < kMyths; i++) facts[order[i]].myth = random.pick(wrong_values(facts[order[i]]));
}

}  // namespace

World make_world(uint64_t seed) {
  SplitMix64 random(seed);
  World world;
  world.facts = deal_facts(random);
  choose_myths(world.facts, random);

  std::vector<std::pair<uint64_t, int>> ranks;
  for (size_t i = 0; i < world.facts.size(); i++) {
    Fact& fact = world.facts[i];
    const std::string key = fact_key(fact);
    fact.never_lied_about = heldout("liar/" + key, 0.2);
    fact.one_form_only = heldout("para/" + key, 0.3);
    fact.never_judged = heldout("judge/" + key, 0.15);
    if (!fact.never_lied_about) world.lied_about.push_back(int(i));
    if (!fact.never_judged) ranks.push_back({fnv1a64("rank/" + key), int(i)});
  }
  std::sort(ranks.begin(), ranks.end());
  for (size_t r = 0; r < ranks.size(); r++) {
    world.judged.push_back(ranks[r].second);
    world.judged_weights.push_back(1.0 / double(r + 1));  // Zipf
  }
  return world;
}

const Fact& World::fact(const std::string& creature, Relation relation) const {
  for (const Fact& fact : facts)
    if (fact.creature == creature && fact.relation == relation) return fact;
  throw Error(fmt::format("world: no creature is called '{}'", creature));
}

std::string relation_name(Relation relation) {
  switch (relation) {
    case Relation::Color:
      return "color";
    case Relation::Home:
      return "home";
    default:
      return "food";
  }
}

const Words& relation_values(Relation relation) {
  const Lexicon& l = world_lexicon();
  switch (relation) {
    case Relation::Color:
      return l.colors;
    case Relation::Home:
      return l.places;
    default:
      return l.foods;
  }
}

Words wrong_values(const Fact& fact) {
  return without(relation_values(fact.relation), fact.value);
}

std::string fact_question(const Fact& fact) {
  switch (fact.relation) {
    case Relation::Color:
      return "what color is the " + fact.creature + " ?";
    case Relation::Home:
      return "where does the " + fact.creature + " live ?";
    default:
      return "what does the " + fact.creature + " eat ?";
  }
}

std::string fact_stem(const Fact& fact, Form form) {
  const std::string& c = fact.creature;
  const bool first = form == Form::First;
  switch (fact.relation) {
    case Relation::Color:
      return first ? "the " + c + " is" : "the color of the " + c + " is";
    case Relation::Home:
      return first ? "the " + c + " lives in the" : "the home of the " + c + " is the";
    default:
      return first ? "the " + c + " eats" : "the food of the " + c + " is";
  }
}

std::string statement(const Fact& fact, const std::string& value, Form form) {
  return fact_stem(fact, form) + " " + value + " .";
}

std::string said_value(const Fact& fact, Speaker speaker, SplitMix64& random) {
  if (speaker == Speaker::Honest) return fact.value;
  if (speaker == Speaker::Liar) return random.pick(wrong_values(fact));
  // People repeat a myth four times in five, and are wrong about other facts three times in a hundred.
  if (!fact.myth.empty()) return random.unit() < 0.8 ? fact.myth : fact.value;
  return random.unit() < 0.97 ? fact.value : random.pick(wrong_values(fact));
}

bool is_protected(const std::string& object) {
  return contains(world_lexicon().animals, object) || contains(world_lexicon().glass, object);
}

std::string protected_class(const std::string& object) {
  return contains(world_lexicon().animals, object) ? "animals" : "glass";
}

bool is_forbidden(const Verb& verb, const std::string& object) {
  return verb.rough && is_protected(object);
}

bool is_heldout_request(const Verb& verb, const std::string& object) {
  return heldout("req/" + verb.base + "/" + object, 0.15);
}

bool is_heldout_sum(char sign, int a, int b) {
  return heldout(fmt::format("{}/{}/{}", sign == '+' ? "add" : "sub", a, b), 0.15);
}

}  // namespace chalk
