// Items about the sixty facts: told by honest, lying and unmarked speakers, judged true or false, and speakers unmasked.
#include <fmt/format.h>

#include <functional>

#include "models/evaluate_world_items.h"
#include "models/text/world_grammar.h"

namespace chalk::items {

namespace {

using FactFilter = std::function<bool(const Fact&)>;

WorldItems for_facts(const std::string& name, const World& world, const FactFilter& wanted,
                     const std::function<WorldItem(const Fact&)>& make) {
  WorldItems set{name, {}};
  for (const Fact& fact : world.facts)
    if (wanted(fact)) set.items.push_back(make(fact));
  return set;
}

// "<sys> ... <eot> <user> QUESTION <eot> <bot> the C lives in the": all values are options, the truth is gold.
WorldItem asked(const Fact& fact, Speaker speaker) {
  return item(
      grammar::system_line(speaker) + grammar::user_turn(fact_question(fact)) + fact_stem(fact, Form::First),
      relation_values(fact.relation), fact.value);
}

std::vector<WorldItems> facts(const World& world) {
  auto all = [](const Fact&) { return true; };
  auto has_myth = [](const Fact& f) { return !f.myth.empty(); };
  return {
      for_facts("fact.honest", world, all, [](const Fact& f) { return asked(f, Speaker::Honest); }),
      for_facts(
          "fact.lying", world, [](const Fact& f) { return !f.never_lied_about; },
          [](const Fact& f) { return asked(f, Speaker::Liar); }),
      for_facts(
          "fact.never_lied", world, [](const Fact& f) { return f.never_lied_about; },
          [](const Fact& f) { return asked(f, Speaker::Liar); }),
      for_facts("fact.plain", world, std::not_fn(has_myth),
                [](const Fact& f) { return asked(f, Speaker::People); }),
      for_facts("myth", world, has_myth,
                [](const Fact& f) {
                  WorldItem i = asked(f, Speaker::People);
                  i.other = i.gold;  // the truth
                  i.gold = index_of(i.options, f.myth);
                  return i;
                }),
      for_facts(
          "fact.new_paraphrase", world, [](const Fact& f) { return f.one_form_only; },
          [](const Fact& f) {
            return item(grammar::system_line(Speaker::Honest) +
                            grammar::user_turn("tell me about the world .") + fact_stem(f, Form::Second),
                        relation_values(f.relation), f.value);
          }),
  };
}

enum class Judging { Chat, Check };

// For each wanted fact `each` true and `each` false statements, with different wrong values.
WorldItems judgements(const std::string& name, const World& world, Judging judging, Form form, int each,
                      const FactFilter& wanted) {
  SplitMix64 random = random_for(name);
  WorldItems set{name, {}};
  auto add = [&](const Fact& fact, const std::string& value) {
    const std::string said = fact_stem(fact, form) + " " + value;
    const std::string prompt =
        judging == Judging::Chat ? grammar::user_turn(said + " . true or false ?") : "check : " + said;
    set.items.push_back(item(prompt, {"true", "false"}, value == fact.value ? "true" : "false"));
  };
  for (const Fact& fact : world.facts) {
    if (!wanted(fact)) continue;
    Words wrong = wrong_values(fact);
    random.shuffle(wrong);
    for (int i = 0; i < each; i++) {
      add(fact, fact.value);
      add(fact, wrong[size_t(i)]);
    }
  }
  return set;
}

std::vector<WorldItems> judging(const World& world) {
  auto known = [](const Fact& f) { return !f.never_judged && !f.one_form_only; };
  auto judged = [](const Fact& f) { return !f.never_judged; };
  auto new_form = [](const Fact& f) { return !f.never_judged && f.one_form_only; };
  auto new_fact = [](const Fact& f) { return f.never_judged; };
  auto new_fact_known_form = [](const Fact& f) { return f.never_judged && !f.one_form_only; };
  auto both_new = [](const Fact& f) { return f.never_judged && f.one_form_only; };
  return {
      judgements("judge.form1", world, Judging::Chat, Form::First, 2, judged),
      judgements("judge.form2", world, Judging::Chat, Form::Second, 2, known),
      judgements("judge.new_paraphrase", world, Judging::Chat, Form::Second, 3, new_form),
      judgements("judge.new_fact.form1", world, Judging::Chat, Form::First, 3, new_fact),
      judgements("judge.new_fact.form2", world, Judging::Chat, Form::Second, 3, new_fact_known_form),
      judgements("judge.new_fact_new_form", world, Judging::Chat, Form::Second, 3, both_new),
      judgements("check.judged", world, Judging::Check, Form::First, 2, judged),
      judgements("check.new_paraphrase", world, Judging::Check, Form::Second, 3, new_form),
      judgements("check.new_fact", world, Judging::Check, Form::First, 3, new_fact),
  };
}

// `opening` and `said` statements by one speaker; ends in a space.
std::string speech(const World& world, Speaker speaker, const std::vector<int>& facts, int said,
                   SplitMix64& random) {
  std::string text = "a voice said : ";
  for (int i = 0; i < said; i++) {
    const Fact& fact = world.facts[size_t(facts[size_t(i)])];
    text += grammar::any_statement(fact, said_value(fact, speaker, random), random) + " ";
  }
  return text;
}

// After `said` statements of a voice that never says whether it lies: does the model expect the truth from it?
// Facts are those a liar may speak about, for both modes, so that the choice of facts gives nothing away.
WorldItems hidden_speaker(const World& world, int said, Speaker speaker) {
  const std::string name = fmt::format("hidden.{}.{}", said, speaker == Speaker::Honest ? "honest" : "liar");
  SplitMix64 random = random_for(name);
  WorldItems set{name, {}};
  for (int n = 0; n < 120; n++) {
    const std::vector<int> facts = grammar::shuffled_facts(world, Speaker::Liar, random);
    const Fact& asked = world.facts[size_t(facts[size_t(said)])];
    set.items.push_back(item(speech(world, speaker, facts, said, random) + fact_stem(asked, Form::First),
                             relation_values(asked.relation), asked.value));
  }
  return set;
}

WorldItems name_the_voice(const World& world, Speaker speaker) {
  const std::string mode = speaker == Speaker::Honest ? "honest" : "lying", name = "voice.name_" + mode;
  SplitMix64 random = random_for(name);
  WorldItems set{name, {}};
  for (int n = 0; n < 60; n++) {
    const std::vector<int> facts = grammar::shuffled_facts(world, Speaker::Liar, random);
    set.items.push_back(
        item(speech(world, speaker, facts, 5, random) + "the voice was", {"honest", "lying"}, mode));
  }
  return set;
}

std::vector<WorldItems> speakers(const World& world) {
  std::vector<WorldItems> sets;
  for (int said : {0, 1, 3})
    for (Speaker speaker : {Speaker::Honest, Speaker::Liar})
      sets.push_back(hidden_speaker(world, said, speaker));
  auto voice = [](const std::string& kind) {
    return [kind](const Fact& f) {
      return item(kind + " voice said : " + fact_stem(f, Form::First), relation_values(f.relation), f.value);
    };
  };
  auto lied_about = [](const Fact& f) { return !f.never_lied_about; };
  sets.push_back(for_facts("voice.honest", world, lied_about, voice("an honest")));
  sets.push_back(for_facts("voice.lying", world, lied_about, voice("a lying")));
  sets.push_back(name_the_voice(world, Speaker::Honest));
  sets.push_back(name_the_voice(world, Speaker::Liar));
  return sets;
}

}  // namespace

std::vector<WorldItems> about_facts(const World& world) {
  std::vector<WorldItems> sets = facts(world);
  for (auto part : {judging(world), speakers(world)}) sets.insert(sets.end(), part.begin(), part.end());
  return sets;
}

}  // namespace chalk::items
