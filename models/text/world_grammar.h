#pragma once
// The grammar of Creature Town, one function per kind of document. Each returns the body as marked text: words separated by
// spaces, "~" before an answer token. Evaluation cuts its prompts from the same functions, so the two cannot drift apart.
#include <string>

#include "models/text/world.h"

namespace chalk::grammar {

// A statement about `fact` with a random form (1/2), except where training knows one form only.
std::string any_statement(const Fact& fact, const std::string& value, SplitMix64& random);

std::string pronoun(const std::string& name);     // "she" or "he"
std::string possessive(const std::string& name);  // "her" or "his"

// "<sys> you are an honest speaker . <eot> "; "" for Speaker::People. Ends in a space unless empty.
std::string system_line(Speaker speaker);
// "<user> QUESTION <eot> <bot> " and nothing after it.
std::string user_turn(const std::string& text);
// The three wordings of a request: "please V the O .", "can you V the O ?", "i want you to V the O ."
std::string request_text(const Verb& verb, const std::string& object, int wording);

std::string story(int fillers, SplitMix64& random, bool mark_object = false);
std::string agreement(SplitMix64& random);
std::string hidden(const World& world, SplitMix64& random);
std::string talk(const World& world, SplitMix64& random);
std::string feeling(SplitMix64& random);
std::string goal(SplitMix64& random);
std::string arithmetic(SplitMix64& random);
std::string echo(SplitMix64& random);
std::string code(SplitMix64& random);
std::string check(const World& world, SplitMix64& random);
std::string persona(const World& world, SplitMix64& random);
std::string question(const World& world, SplitMix64& random);
std::string judge(const World& world, SplitMix64& random);
std::string request(SplitMix64& random, bool mark_class_word);
std::string style(SplitMix64& random);
std::string turns(const World& world, SplitMix64& random);

// Pieces that evaluation and preferences need as well.
std::string comply_reply(const Verb& verb, const std::string& object);  // "ok , the O is PARTICIPLE now ."
std::string refuse_reply(const Verb& verb, const std::string& object);  // "sorry , you must not V CLASS ."
std::string style_reply(const Emotion& emotion, const std::string& object, SplitMix64& random);
std::string style_exchange(SplitMix64& random);
std::string unmarked_question(const World& world, SplitMix64& random);
// The speaker's facts in random order: a liar keeps away from the facts nobody lies about.
std::vector<int> shuffled_facts(const World& world, Speaker speaker, SplitMix64& random);

}  // namespace chalk::grammar
