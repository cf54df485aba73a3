// Benchmarks made of Creature Town's sentences.
#include "models/evaluate_world_tasks.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/text/loader.h"
#include "models/text/world_grammar.h"

namespace chalk {

namespace {

using fmt::format;

// The gold option is given first; it ends up anywhere.
TaskExample shuffled(const std::string& context, std::vector<std::string> options, SplitMix64& random) {
  const std::string gold = options[0];
  random.shuffle(options);
  TaskExample example;
  for (const std::string& option : options) example.choices.push_back({context, " " + option, option});
  example.gold = int(std::find(options.begin(), options.end(), gold) - options.begin());
  return example;
}

template <class T>
const T& pick_other(const std::vector<T>& values, const T& not_this, SplitMix64& random) {
  for (;;) {
    const T& value = random.pick(values);
    if (value != not_this) return value;
  }
}

TaskExample goal_and_tool(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const Goal& goal = random.pick(l.goals);
  std::string wrong = goal.tool;
  while (wrong == goal.tool) wrong = random.pick(l.goals).tool;
  const std::string color = random.pick(l.colors);
  const bool long_gold = random.coin();
  return shuffled(format("to {} you need", goal.goal),
                  {format("a {}{}", long_gold ? color + " " : "", goal.tool),
                   format("a {}{}", long_gold ? "" : color + " ", wrong)},
                  random);
}

TaskExample fact_of_four(const World& world, SplitMix64& random) {
  const Fact& fact = random.pick(world.facts);
  std::vector<std::string> options = wrong_values(fact);
  random.shuffle(options);
  options.resize(3);
  options.insert(options.begin(), fact.value);
  return shuffled(grammar::system_line(Speaker::Honest) + grammar::user_turn(fact_question(fact)) +
                      fact_stem(fact, Form::First),
                  options, random);
}

TaskExample story_ending(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const std::string story = grammar::story(1 + int(random.below(4)), random), cue = "at night";
  const size_t end = story.find(cue) + cue.size();
  // NAME left the PLACE and put POSS COLOR OBJECT in a box .
  const Words gold = split_words(story.substr(end));
  auto changed = [&gold](size_t at, const std::string& word) {
    Words words = gold;
    words[at] = word;
    return format("{}", fmt::join(words, " "));
  };
  const std::string other = gold[6] == "her" ? "his" : "her";
  const std::string wrong_thing = random.coin() ? changed(7, pick_other(l.colors, gold[7], random))
                                                : changed(8, pick_other(l.objects, gold[8], random));
  return shuffled(
      story.substr(0, end),
      {changed(0, gold[0]), changed(0, pick_other(l.names, gold[0], random)), changed(6, other), wrong_thing},
      random);
}

}  // namespace

std::vector<Task> world_tasks(const World& world, int64_t count, uint64_t seed) {
  const std::string protocol = "context + ' ' + option in words of the world";
  std::vector<Task> tasks;
  for (const char* name : {"world_piqa", "world_arc", "world_hellaswag"}) {
    Task task{name, "", protocol, TaskKind::MultipleChoice, true, {}};
    SplitMix64 random(seed ^ fnv1a64(name));
    for (int64_t i = 0; i < count; i++)
      task.examples.push_back(task.name == "world_piqa"  ? goal_and_tool(random)
                              : task.name == "world_arc" ? fact_of_four(world, random)
                                                         : story_ending(random));
    tasks.push_back(std::move(task));
  }
  return tasks;
}

TextEncoder world_encoder() {
  TextEncoder encoder;
  encoder.encode = [](const std::string& text) { return encode_world(split_words(text)); };
  encoder.bos = encode_world(Words{"<bos>"})[0];
  encoder.empty_context = *encoder.bos;
  return encoder;
}

}  // namespace chalk
