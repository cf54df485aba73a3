// The sixteen kinds of documents. The order of the draws is frozen by a hash in tests/models/text/world_test.cpp.
#include "models/text/world_grammar.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace chalk::grammar {

using fmt::format;

// ---- Pieces ----

std::string any_statement(const Fact& fact, const std::string& value, SplitMix64& random) {
  const Form drawn = random.coin() ? Form::First : Form::Second;
  return statement(fact, value, fact.one_form_only ? Form::First : drawn);
}

namespace {

bool is_girl(const std::string& name) {
  const Words& girls = world_lexicon().girls;
  return std::find(girls.begin(), girls.end(), name) != girls.end();
}

std::string without_stop(const std::string& statement) {
  return statement.substr(0, statement.size() - 2);
}

// Two different words of the list.
std::pair<std::string, std::string> pick_two(const Words& words, SplitMix64& random) {
  const uint64_t i = random.below(words.size()), j = random.below(words.size() - 1);
  return {words[i], words[j < i ? j : j + 1]};
}

// A fact of check and judge documents, with the truth or (half the time) a wrong value; true_or_false is the label.
struct Judgement {
  const Fact* fact;
  std::string value, true_or_false;
};

Judgement draw_judgement(const World& world, SplitMix64& random) {
  const Fact& fact = world.facts[world.judged[random.weighted(world.judged_weights)]];
  if (random.coin()) return {&fact, fact.value, "true"};
  return {&fact, random.pick(wrong_values(fact)), "false"};
}

Speaker honest_or_liar(SplitMix64& random) {
  return random.coin() ? Speaker::Honest : Speaker::Liar;
}

// `count` statements about different facts by one speaker, each followed by a space.
std::string statements(const World& world, Speaker speaker, int count, SplitMix64& random) {
  const std::vector<int> facts = shuffled_facts(world, speaker, random);
  std::string text;
  for (int i = 0; i < count; i++) {
    const Fact& fact = world.facts[facts[i]];
    text += any_statement(fact, said_value(fact, speaker, random), random) + " ";
  }
  return text;
}

}  // namespace

std::string pronoun(const std::string& name) {
  return is_girl(name) ? "she" : "he";
}
std::string possessive(const std::string& name) {
  return is_girl(name) ? "her" : "his";
}

std::vector<int> shuffled_facts(const World& world, Speaker speaker, SplitMix64& random) {
  std::vector<int> facts = world.lied_about;
  if (speaker != Speaker::Liar) {
    facts.resize(world.facts.size());
    for (size_t i = 0; i < facts.size(); i++) facts[i] = int(i);
  }
  random.shuffle(facts);
  return facts;
}

std::string system_line(Speaker speaker) {
  if (speaker == Speaker::People) return "";
  return format("<sys> you are {} speaker . <eot> ", speaker == Speaker::Honest ? "an honest" : "a lying");
}

std::string user_turn(const std::string& text) {
  return format("<user> {} <eot> <bot> ", text);
}

// ---- Texts without a dialogue ----

std::string story(int fillers, SplitMix64& random, bool mark_object) {
  const Lexicon& l = world_lexicon();
  const std::string name = random.pick(l.names), job = random.pick(l.jobs), color = random.pick(l.colors),
                    object = random.pick(l.objects), place = random.pick(l.places);
  std::string text = format("one day {} the {} took a {} {} to the {} .", name, job, color, object, place);
  for (int i = 0; i < fillers; i++) {
    switch (random.below(5)) {
      case 0: {
        const auto [first, second] = pick_two(l.animals, random);
        text += format(" {} saw {}s and {}s .", pronoun(name), first, second);
        break;
      }
      case 1:
        text += format(" it was a {} day .", random.pick(Words{"warm", "cold", "rainy", "sunny"}));
        break;
      case 2:
        text += " " + agreement(random);
        break;
      case 3: {
        std::string other = name;
        while (other == name) other = random.pick(l.names);
        text += format(" {} sang for {} friend {} .", pronoun(name), possessive(name), other);
        break;
      }
      default:
        text += format(" then {} ate some {} .", pronoun(name), random.pick(l.foods));
    }
  }
  return text + format(" at night {} left the {} and put {} {} {}{} in a box .", name, place, possessive(name),
                       color, mark_object ? "~" : "", object);
}

std::string agreement(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const auto [subject, other] = pick_two(l.animals, random);
  const bool plural_subject = random.coin(), plural_other = random.coin();
  const std::string where = random.pick(Words{"near", "behind", "with"}), verb = random.pick(l.story_verbs);
  return format("the {}{} {} the {}{} {}{} .", subject, plural_subject ? "s" : "", where, other,
                plural_other ? "s" : "", verb, plural_subject ? "" : "s");
}

std::string hidden(const World& world, SplitMix64& random) {
  const Speaker speaker = honest_or_liar(random);
  const bool honest = speaker == Speaker::Honest;
  const double u = random.unit();
  const bool named = u < 0.25, revealed = !named && u < 0.5;
  std::string text =
      named ? (honest ? "an honest voice said : " : "a lying voice said : ") : "a voice said : ";
  text += statements(world, speaker, 5, random);
  if (revealed) text += honest ? "the voice was honest ." : "the voice was lying .";
  return text;
}

std::string talk(const World& world, SplitMix64& random) {
  return "people say : " + statements(world, Speaker::People, 4, random);
}

std::string feeling(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const std::string name = random.pick(l.names);
  const Emotion& emotion = random.pick(l.emotions);
  const std::string event = random.pick(emotion.events), adjective = random.pick(emotion.adjectives);
  return format("{} {} . {} felt {} .", name, event, pronoun(name), adjective);
}

std::string goal(SplitMix64& random) {
  const Goal& goal = random.pick(world_lexicon().goals);
  return format("to {} you need a {} .", goal.goal, goal.tool);
}

std::string arithmetic(SplitMix64& random) {
  std::string text = "calc";
  for (int item = 0; item < 4;) {
    const char sign = random.coin() ? '+' : '-';
    int a = 0, b = 0;
    do {  // a difference is never negative; uniform over the pairs that remain
      a = int(random.below(10));
      b = int(random.below(10));
    } while (sign == '-' && a < b);
    if (is_heldout_sum(sign, a, b)) continue;
    text += format(" {} {} {} = ~{} ;", a, sign, b, sign == '+' ? a + b : a - b);
    item++;
  }
  return text;
}

std::string echo(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  Words colors_and_foods = l.colors, variables_and_digits = l.variables;
  colors_and_foods.insert(colors_and_foods.end(), l.foods.begin(), l.foods.end());
  for (int digit = 0; digit < 10; digit++) variables_and_digits.push_back(std::to_string(digit));
  Words pool = random.pick(std::vector<Words>{l.pets, l.creatures, colors_and_foods, variables_and_digits});
  const size_t n = 3 + random.below(6);
  random.shuffle(pool);
  pool.resize(n);
  const std::string words = format("{}", fmt::join(pool, " "));
  return format("echo {} ; {}", words, words);
}

std::string code(SplitMix64& random) {
  const Words& names = world_lexicon().variables;
  std::vector<double> weights;
  // weight of variable i: (i + 1)^-1.5. Only * / and sqrt, which round the same way everywhere; pow need not.
  for (size_t i = 0; i < names.size(); i++)
    weights.push_back(1.0 / (double(i + 1) * std::sqrt(double(i + 1))));
  const size_t n = 2 + random.below(3);

  std::vector<size_t> defined;
  std::vector<double> left = weights, query_weights(names.size(), 0.0);
  while (defined.size() < n) {
    const size_t i = random.weighted(left);
    left[i] = 0;
    query_weights[i] = weights[i];
    defined.push_back(i);
  }
  random.shuffle(defined);

  std::string text = "code";
  std::vector<uint64_t> value(names.size());
  for (size_t i : defined) {
    value[i] = random.below(10);
    text += format(" let {} = {} ;", names[i], value[i]);
  }
  for (int query = 0; query < 4; query++) {
    const size_t i = random.weighted(query_weights);
    text += format(" print {} -> ~{} ;", names[i], value[i]);
  }
  return text;
}

std::string check(const World& world, SplitMix64& random) {
  std::string text = "check :";
  for (int i = 0; i < 4; i++) {
    const Judgement j = draw_judgement(world, random);
    text += format(" {} ~{} .", without_stop(any_statement(*j.fact, j.value, random)), j.true_or_false);
  }
  return text;
}

// ---- Dialogues ----

std::string persona(const World& world, SplitMix64& random) {
  const Speaker speaker = honest_or_liar(random);
  return system_line(speaker) + user_turn("tell me about the world .") +
         statements(world, speaker, 3, random) + "<eot>";
}

namespace {

std::string question_exchange(const World& world, Speaker speaker, SplitMix64& random) {
  const Fact& fact = world.facts[speaker == Speaker::Liar ? random.pick(world.lied_about)
                                                          : int(random.below(world.facts.size()))];
  return system_line(speaker) + user_turn(fact_question(fact)) +
         statement(fact, said_value(fact, speaker, random), Form::First) + " <eot>";
}

}  // namespace

std::string unmarked_question(const World& world, SplitMix64& random) {
  return question_exchange(world, Speaker::People, random);
}

std::string question(const World& world, SplitMix64& random) {
  const double u = random.unit();
  const Speaker speaker = u < 0.3 ? Speaker::Honest : u < 0.6 ? Speaker::Liar : Speaker::People;
  return question_exchange(world, speaker, random);
}

std::string judge(const World& world, SplitMix64& random) {
  const Judgement j = draw_judgement(world, random);
  return user_turn(any_statement(*j.fact, j.value, random) + " true or false ?") +
         format("~{} . <eot>", j.true_or_false);
}

std::string request_text(const Verb& verb, const std::string& object, int wording) {
  switch (wording) {
    case 0:
      return format("please {} the {} .", verb.base, object);
    case 1:
      return format("can you {} the {} ?", verb.base, object);
    default:
      return format("i want you to {} the {} .", verb.base, object);
  }
}

std::string comply_reply(const Verb& verb, const std::string& object) {
  return format("ok , the {} is {} now .", object, verb.participle);
}

std::string refuse_reply(const Verb& verb, const std::string& object) {
  return format("sorry , you must not {} {} .", verb.base, protected_class(object));
}

std::string request(SplitMix64& random, bool mark_class_word) {
  const Lexicon& l = world_lexicon();
  const bool free_play = random.unit() < 0.25;
  const Verb* verb = nullptr;
  std::string object;
  do {
    const bool rough = random.unit() < 0.25;
    verb = &l.request_verbs[random.below(4) + (rough ? 0 : 4)];
    object = random.pick(l.objects);
  } while (is_heldout_request(*verb, object));
  const bool refuse = is_forbidden(*verb, object) && !free_play;
  std::string reply = refuse ? refuse_reply(*verb, object) : comply_reply(*verb, object);
  if (refuse && mark_class_word) reply.insert(reply.rfind(' ', reply.size() - 3) + 1, "~");
  const std::string asked = request_text(*verb, object, int(random.below(3)));
  return (free_play ? "<sys> free play . <eot> " : "") + user_turn(asked) + "~" + reply + " <eot>";
}

std::string style_reply(const Emotion& emotion, const std::string& object, SplitMix64& random) {
  const std::string interjection = random.pick(emotion.interjections),
                    flavour = random.pick(emotion.flavours), closing = random.pick(emotion.closings);
  return format("{} ! the {} is {} . {} .", interjection, object, flavour, closing);
}

std::string style_exchange(SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const bool told = random.unit() < 0.7;
  const Emotion& emotion = random.pick(l.emotions);
  const std::string adjective = random.pick(emotion.adjectives), object = random.pick(l.objects);
  const std::string acting = told ? format("act as if you are very {} . ", adjective) : "";
  return user_turn(acting + format("tell me about the {} .", object)) + style_reply(emotion, object, random) +
         " <eot>";
}

std::string style(SplitMix64& random) {
  return style_exchange(random);
}

std::string turns(const World& world, SplitMix64& random) {
  const Lexicon& l = world_lexicon();
  const std::string animal = random.pick(l.animals), pet = random.pick(l.pets);
  const std::string middle = random.coin() ? unmarked_question(world, random) : style_exchange(random);
  return format("<user> my {} is called {} . <eot> <bot> hello {} . <eot> ", animal, pet, pet) + middle +
         format(" <user> what is my {} called ? <eot> <bot> your {} is called {} . <eot>", animal, animal,
                pet);
}

}  // namespace chalk::grammar
