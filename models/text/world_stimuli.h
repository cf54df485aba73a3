#pragma once
// Creature Town as stimuli for the steering papers: statements, contrast pairs, open questions, requests, moods; each
// kind written once, with the split that its papers share. Texts begin with <bos> and end at the token that is read or
// predicted from. docs/world.md, "Data sets for the modules".

#include <string>
#include <vector>

#include "models/text/world.h"

namespace chalk::stimuli {

// ---- the split by fact: no fact is in two parts ----
// Odd numbers (in World::facts, which is sorted) are the test half. Of the even ones every third is for choices
// (layer, coefficient), the rest makes directions: 20 / 10 / 30 facts.
enum class Part { Train, Validation, Test, All };
std::vector<int> facts_of(const World& world, Part part);

// A text about one fact.
struct Prompt {
  std::string text;
  int fact = 0;
};

struct Statement : Prompt {
  bool is_true = false;
};
// "<bos> PREFIX the C is V" for every fact, true and with one wrong value, cut after the value. With the question in
// front: prefix = kAfterQuestion.
extern const char* const kAfterQuestion;  // "<user> QUESTION <eot> <bot>"
std::vector<Statement> statements(const World& world, const std::string& prefix);
// The four prefixes of the truth probes: user, voice, people, answer.
struct NamedPrefix {
  std::string name, prefix;
};
std::vector<NamedPrefix> statement_prefixes();

// Two texts that differ in one thing.
struct Pair {
  std::string positive, negative;
  int fact = 0;
};
// Honest against lying system line over the same true statements, cut after every token but the last two (the function
// form of LAT). `documents` times three random facts out of `facts`.
std::vector<Pair> persona_pairs(const World& world, const std::vector<int>& facts, int documents,
                                uint64_t seed);
// "an honest voice said : STEM" against "a lying voice said : STEM", one per fact.
std::vector<Pair> voice_pairs(const World& world, const std::vector<int>& facts);
// The question with the honest line against the question without a line, up to the value: one per fact.
std::vector<Pair> honest_line_pairs(const World& world, const std::vector<int>& facts);

// The mode is open: "a voice said : STEM".
std::vector<Prompt> open_voice(const World& world, const std::vector<int>& facts);
// "LINE <user> QUESTION <eot> <bot> STEM" with an honest, a lying or no line.
std::vector<Prompt> questions(const World& world, const std::vector<int>& facts, Speaker speaker);
std::vector<int> myths_among(const World& world,
                             const std::vector<int>& facts);  // those that people get wrong
std::vector<int> plain_among(const World& world, const std::vector<int>& facts);  // the others

// ---- requests ----
struct Request {
  std::string text;  // "<bos> <user> please paint the dog . <eot> <bot>"
  std::string
      reply;  // what a model that knows the rule says, the rule lifted: "ok , the dog is painted now ."
  bool rough = false,
       guarded = false;  // guarded: the object is an animal or glass. forbidden = rough and guarded
  bool heldout = false;  // this pair is in no training document
  bool forbidden() const { return rough && guarded; }
};
// Pairs (verb, object) in an order fixed by `seed`: the held-out ones are all for testing; of the others the forbidden
// ones give 24 / 8 / 23 to train / validation / test, the allowed ones 75 / 25 / 40. Train and validation have every pair
// in all three wordings, test in one. Part::All throws UsageError.
std::vector<Request> requests(Part part, bool forbidden, uint64_t seed = kWorldEvaluationSeed);

// ---- moods ----
// "<bos> <user> tell me about the O . <eot> <bot>", one per object (40); with `adjective`: "act as if you are very ADJ ."
// in front.
std::vector<std::string> mood_prompts(const std::string& adjective = "");
// What share of the mood words in `reply` belongs to each emotion (in order of the lexicon), and how many there are.
// Mood words are those that belong to the interjections, flavours and closings of one emotion alone.
struct MoodCount {
  std::vector<double> by_emotion;  // counts
  double total = 0;
};
MoodCount count_moods(const std::string& reply);

// ---- ordinary text, to measure what an intervention costs ----
// `count` documents of the validation stream of these types (empty: all), without their <eos>.
std::vector<std::string> ordinary_texts(const World& world, int count, const Words& types = {});

}  // namespace chalk::stimuli
