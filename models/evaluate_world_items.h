#pragma once
// The item sets of evaluate_world.h, built in two files: what the model knows of the world, and what it can do with words.
#include <vector>

#include "models/evaluate_world.h"

namespace chalk::items {

std::vector<WorldItems> about_facts(const World& world);   // facts, myths, judgement, speakers
std::vector<WorldItems> about_skills(const World& world);  // language, recall, requests, feelings, sums, code

// A stream of its own for each set, so that a new set leaves the others as they are.
inline SplitMix64 random_for(const std::string& set) {
  return SplitMix64(kWorldEvaluationSeed ^ fnv1a64(set));
}

// Index of `word` in `options`; -1 if it is not there.
inline int index_of(const Words& options, const std::string& word) {
  for (size_t i = 0; i < options.size(); i++)
    if (options[i] == word) return int(i);
  return -1;
}

inline WorldItem item(const std::string& prompt, const Words& options, const std::string& gold) {
  return {"<bos> " + prompt, options, index_of(options, gold), -1};
}

}  // namespace chalk::items
