#pragma once
// The parts of tutorials/contrastive_activation_addition.cpp: behaviour vectors, and the choice of their depth.

#include "papers/steering/contrastive_activation_addition.h"
#include "tutorials/support/mood.h"
#include "tutorials/support/steering.h"

namespace chalk {

using Texts = std::vector<std::string>;

// v at every depth from texts that end with the answer token.
std::vector<Direction> vectors(const WorldModel& world, const Texts& matching, const Texts& other);
Direction random_like(const Direction& v, uint64_t seed);
// p(happy interjection) / (p(happy) + p(sad)) at <bot>, mean over requests.
double matching(const WorldModel& world, const Texts& requests, int64_t depth, const Direction& v, double c);
// Requests about different objects: a half makes the vector, a quarter chooses the depth, a quarter tests.
Texts mood_part(stimuli::Part part, const std::string& adjective = "");
// The depth where adding and subtracting v differ most. Not the last one: no block reads it any more, v would add the same
// logits to every token.
int64_t choose_depth(const WorldModel& world, const std::string& name, const std::vector<Direction>& v,
                     Curves& layers);

}  // namespace chalk
