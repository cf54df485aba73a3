#pragma once
// The parts of tutorials/inference_time_intervention.cpp: halves of the facts, scores, the baked-in edit.

#include "papers/steering/inference_time_intervention.h"
#include "tutorials/support/steering.h"

namespace chalk {

// One half of the facts (2-fold by parity): true and false answers, and the answers followed by another question (for σ).
struct Half {
  std::vector<Ids> answers, followed;
  Labels labels;
  std::vector<int> questions, facts;
};
Half half_of(const WorldModel& world, int parity);

// Means over the prompts.
struct Score {
  double mc1 = 0, mc2 = 0;
};
Score score(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts);

// Largest difference of logits between the hooked and the baked-in model, which stays baked in.
double bake_difference(const WorldModel& world, const std::vector<iti::HeadShift>& shifts, double alpha,
                       const std::vector<Ids>& texts);

// The honest line against no line, at the token before the value: heads that know who speaks.
std::vector<iti::HeadShift> line_shifts(const WorldModel& world, const std::vector<int>& facts,
                                        const iti::ItiOptions& options);

// `accuracy` (blocks, heads).
HeatMap head_map(const std::vector<double>& accuracy, int64_t heads_per_block);

}  // namespace chalk
