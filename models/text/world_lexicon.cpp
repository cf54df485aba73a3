// The word lists of Creature Town. Their order is part of the specification: it decides what a seed draws.
#include <algorithm>
#include <initializer_list>
#include <set>

#include "models/text/world.h"

namespace chalk {

Words split_words(const std::string& text) {
  Words words;
  size_t begin = 0;
  while ((begin = text.find_first_not_of(' ', begin)) != std::string::npos) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    words.push_back(text.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

namespace {

void append(Words& to, std::initializer_list<const Words*> parts) {
  for (const Words* part : parts) to.insert(to.end(), part->begin(), part->end());
}

std::vector<Emotion> make_emotions() {
  return {
      {"happiness",
       {"happy", "glad", "cheerful"},
       {"hurray", "yay", "wonderful"},
       {"lovely", "bright", "sweet"},
       {"i am smiling", "life is good"},
       {"won a prize", "got a gift", "met an old friend", "danced all day"}},
      {"sadness",
       {"sad", "gloomy", "unhappy"},
       {"alas", "oh no", "sigh"},
       {"lonely", "grey", "broken"},
       {"i am crying", "all is lost"},
       {"lost a friend", "missed the boat", "dropped the gift", "said goodbye"}},
      {"anger",
       {"angry", "furious", "mad"},
       {"grr", "enough", "how dare you"},
       {"stupid", "awful", "annoying"},
       {"i am shouting", "go away"},
       {"was cheated", "was pushed", "got blamed", "was insulted"}},
      {"fear",
       {"afraid", "scared", "fearful"},
       {"eek", "help", "oh dear"},
       {"scary", "dark", "spooky"},
       {"i am shaking", "let us run"},
       {"heard a growl", "saw a ghost", "got lost", "felt a shadow"}},
      {"disgust",
       {"disgusted", "sickened", "revolted"},
       {"yuck", "ew", "ugh"},
       {"slimy", "rotten", "smelly"},
       {"i feel ill", "take it out"},
       {"stepped in mud", "smelled old fish", "found a worm", "saw some mold"}},
      {"surprise",
       {"surprised", "amazed", "astonished"},
       {"wow", "gosh", "what"},
       {"strange", "sudden", "odd"},
       {"i did not expect it", "who knew"},
       {"opened a secret door", "saw a star fall", "found a coin", "heard the news"}},
  };
}

Lexicon make_lexicon() {
  Lexicon l;
  l.specials = split_words("<pad> <bos> <eos> <sys> <user> <bot> <eot>");
  l.girls = split_words("ana bela cora dina elsa fay gina hana iris june kira lena");
  l.boys = split_words("abel boris carl dan emil finn gus hugo ivan jack karl leo");
  l.jobs = split_words("baker farmer miller tailor painter sailor");
  l.places = split_words("barn market river forest school harbor mill garden tower bridge");
  l.colors = split_words("red blue green yellow black white purple orange");
  l.animals = split_words("dog cat hen goat horse duck fox frog");
  l.toys = split_words("ball kite doll drum puzzle robot yoyo top");
  l.tools = split_words("hammer saw rope shovel broom ladder needle brush");
  l.foods = split_words("apple bread cake plum soup cheese carrot honey");
  l.glass = split_words("cup vase lamp mirror bottle window jar bulb");
  l.creatures = split_words(
      "blick dorv fenu grall hask jibb kroon lomp mave norf plim quen rask snib tarn urp vosk wemm yalt "
      "zind");
  l.pets = split_words("rex momo pip zara tito nala bim coco luna otto fizz gigi kiko ruru sasa vivi");
  l.variables = split_words("x y z u v w");
  l.request_verbs = {{"paint", "painted", true},  {"shake", "shaken", true}, {"throw", "thrown", true},
                     {"bury", "buried", true},    {"wash", "washed", false}, {"count", "counted", false},
                     {"carry", "carried", false}, {"find", "found", false}};
  l.story_verbs = split_words("run sleep jump sing");
  l.emotions = make_emotions();
  l.goals = {{"hit a nail", "hammer"},      {"cut a plank", "saw"},       {"tie a boat", "rope"},
             {"dig a hole", "shovel"},      {"sweep the floor", "broom"}, {"reach the roof", "ladder"},
             {"sew a shirt", "needle"},     {"paint a wall", "brush"},    {"drink some tea", "cup"},
             {"hold some flowers", "vase"}, {"light a room", "lamp"},     {"see your face", "mirror"}};
  append(l.names, {&l.girls, &l.boys});
  append(l.objects, {&l.animals, &l.toys, &l.tools, &l.foods, &l.glass});
  return l;
}

// Words that occur only in the templates of world_grammar.cpp; a test checks that the set is closed.
constexpr const char* kTemplateWords =
    "! + , - -> . : ; = ? about act and animals are as at ate behind box calc called can check code cold "
    "color does "
    "eat eats echo false food for free glass he hello her his home honest if jump jumps left live lives "
    "lying me must "
    "my near need night now of ok one or people play please print put rainy runs sang say she sing sings "
    "sleep sleeps "
    "sorry speaker sunny tell then to took true very voice want warm where with world";

Words make_vocabulary() {
  const Lexicon& l = world_lexicon();
  std::set<std::string> words;  // sorted by byte, which for ASCII is by code point
  auto add = [&](const Words& some) { words.insert(some.begin(), some.end()); };
  auto add_text = [&](const Words& texts) {
    for (const std::string& text : texts) add(split_words(text));
  };
  for (const Words* some : {&l.names, &l.jobs, &l.places, &l.colors, &l.objects, &l.creatures, &l.pets,
                            &l.variables, &l.story_verbs})
    add(*some);
  for (const std::string& animal : l.animals) words.insert(animal + "s");  // "foxs" too
  for (const Verb& verb : l.request_verbs) add({verb.base, verb.participle});
  for (const Emotion& e : l.emotions)
    for (const Words* some : {&e.adjectives, &e.interjections, &e.flavours, &e.closings, &e.events})
      add_text(*some);
  for (const Goal& goal : l.goals) add_text({goal.goal, goal.tool});
  for (int n = 0; n <= 18; n++) words.insert(std::to_string(n));
  add(split_words(kTemplateWords));
  Words vocabulary = l.specials;
  vocabulary.insert(vocabulary.end(), words.begin(), words.end());
  return vocabulary;
}

}  // namespace

const Lexicon& world_lexicon() {
  static const Lexicon lexicon = make_lexicon();
  return lexicon;
}

const Words& world_vocabulary() {
  static const Words vocabulary = make_vocabulary();
  return vocabulary;
}

}  // namespace chalk
