#pragma once
// Creature Town, Chalk's generated language: 417 words, 60 facts, 16 kinds of documents, everything from a seed.
// A 0.84M-parameter model learns its facts, liars, rules, feelings and sums in minutes. docs/world.md describes it.
#include <array>
#include <string>
#include <vector>

#include "models/text/splitmix.h"

namespace chalk {

using Words = std::vector<std::string>;

// ---- The words ----

struct Emotion {
  std::string name;
  Words adjectives;     // three, one word each
  Words interjections;  // three, one to three words
  Words flavours;       // three, one word each
  Words closings;       // two short sentences without the full stop
  Words events;         // four: "won a prize"
};

struct Verb {
  std::string base, participle;
  bool rough;  // paint, shake, throw, bury
};

struct Goal {
  std::string goal, tool;  // "hit a nail", "hammer"
};

struct Lexicon {
  Words specials;            // <pad> <bos> <eos> <sys> <user> <bot> <eot>: ids 0 to 6
  Words girls, boys, names;  // names = girls then boys
  Words jobs, places, colors, animals, toys, tools, foods, glass, creatures, pets, variables;
  Words objects;                    // animals, toys, tools, foods, glass: 40
  std::vector<Verb> request_verbs;  // four rough, then four gentle
  Words story_verbs;                // run sleep jump sing (third person: + s)
  std::vector<Emotion> emotions;
  std::vector<Goal> goals;
};

const Lexicon& world_lexicon();

// Every word the templates can produce, 417 of them: the specials first (position = id), the rest sorted by code point.
const Words& world_vocabulary();

// ---- The facts ----

enum class Relation { Color, Home, Food };
enum class Speaker { Honest, Liar, People };
enum class Form { First, Second };  // "the C is V ." and "the color of the C is V ."

struct Fact {
  std::string creature;
  Relation relation;
  std::string value;              // the truth
  std::string myth;               // what most people say instead; empty for 45 of the 60 facts
  bool never_lied_about = false;  // in training no liar speaks about it
  bool one_form_only = false;     // in training always the first form
  bool never_judged = false;      // in no check and no judge document
};

struct World {
  std::vector<Fact> facts;  // 60, sorted by creature, then relation name (color, food, home)

  // Indices into facts. `judged` holds the 55 facts of check and judge documents, the most frequent first;
  // fact judged[r] is drawn with weight 1 / (r + 1).
  std::vector<int> judged;
  std::vector<double> judged_weights;
  std::vector<int> lied_about;  // the 52 facts a liar may speak about

  const Fact& fact(const std::string& creature, Relation relation) const;
};

// The world of the experiments is seed 1. Another seed shuffles the facts; held-out sets depend on names only.
World make_world(uint64_t seed = 1);

std::string relation_name(Relation relation);        // "color", "home", "food"
const Words& relation_values(Relation relation);     // 8 colors, 10 places, 8 foods
Words wrong_values(const Fact& fact);                // relation_values without the truth
std::string fact_question(const Fact& fact);         // "where does the C live ?"
std::string fact_stem(const Fact& fact, Form form);  // all before the value: "the C lives in the"
std::string statement(const Fact& fact, const std::string& value, Form form);  // stem, value and full stop
std::string said_value(const Fact& fact, Speaker speaker, SplitMix64& random);

// ---- The rules ----

bool is_protected(const std::string& object);                    // an animal or made of glass
std::string protected_class(const std::string& object);          // "animals" or "glass"
bool is_forbidden(const Verb& verb, const std::string& object);  // rough verb and protected object: 64 of 320
bool is_heldout_request(const Verb& verb, const std::string& object);  // 44 pairs, never in training
bool is_heldout_sum(char sign, int a, int b);  // sign '+' or '-': 17 additions, 8 subtractions

// ---- The documents ----

// One text of the corpus. words[i] is an answer token if answer[i]: training may give it a larger loss weight.
struct Document {
  std::string type;
  Words words;  // <bos> ... <eos>
  std::vector<bool> answer;
};

struct DocumentType {
  std::string name;
  double weight;       // relative frequency; the weights sum to 1.06
  double mean_tokens;  // <bos> and <eos> counted
  bool chat;           // contains <user>
};

const std::vector<DocumentType>& world_document_types();  // 16
Words world_base_types();  // the ten types without <user>: pre-training of the two-stage option
Words world_chat_types();  // the six with <user>: fine-tuning

struct DocumentOptions {
  Words types;                   // generate only these; empty: all 16
  bool mark_class_word = false;    // also make the last word of a refusal an answer token
  bool mark_story_object = false;  // the same for what is put away at the end of a story
};

// Streams never share a seed: see "Seeds" in docs/world.md.
constexpr uint64_t kWorldTrainSeed = 2, kWorldValidationSeed = 3, kWorldPreferenceSeed = 5,
                   kWorldSftSeed = 11, kWorldEvaluationSeed = 777;

// `count` documents, types drawn by weight. Throws UsageError on an unknown type name or a negative count.
std::vector<Document> world_documents(const World& world, int64_t count, uint64_t seed,
                                      const DocumentOptions& options = {});

// A body written as in the grammar ("calc 1 + 2 = ~3 ;") to a document: split at spaces, marks moved into `answer`,
// <bos> and <eos> added.
Document make_document(const std::string& type, const std::string& marked_body);

Words split_words(const std::string& text);

}  // namespace chalk
