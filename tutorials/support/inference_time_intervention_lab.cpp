#include "tutorials/support/inference_time_intervention_lab.h"

#include "models/text/world.h"

namespace chalk {

using namespace iti;

Half half_of(const WorldModel& world, int parity) {
  Half half;
  SplitMix64 random(42);
  for (const stimuli::Statement& s : stimuli::statements(world.world, stimuli::kAfterQuestion)) {
    if (s.fact % 2 != parity) continue;
    const std::string other = fact_question(world.world.facts[random.below(world.world.facts.size())]);
    half.answers.push_back(world.ids(s.text));
    half.followed.push_back(world.ids(s.text + " . <eot> <user> " + other));
    half.labels.push_back(s.is_true), half.questions.push_back(s.fact);
    if (s.is_true) half.facts.push_back(s.fact);
  }
  return half;
}

Score score(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts) {
  Score mean;
  for (const ValueScores& s : value_scores(world, prompts)) {
    std::vector<double> wrong = s.log_prob;
    wrong.erase(wrong.begin() + s.gold);
    mean.mc1 += mc1({s.log_prob[size_t(s.gold)]}, wrong) / double(prompts.size());
    mean.mc2 += mc2({s.log_prob[size_t(s.gold)]}, wrong) / double(prompts.size());
  }
  return mean;
}

double bake_difference(const WorldModel& world, const std::vector<iti::HeadShift>& shifts, double alpha,
                       const std::vector<Ids>& texts) {
  Edits edits(world.model.hooks);
  add_shifts(edits, world.model, shifts, alpha);
  const Samples hooked = next_logits(world.model, texts);
  edits.clear();
  bake_in(world.model, shifts, alpha);
  return largest_difference(hooked, next_logits(world.model, texts));
}

std::vector<iti::HeadShift> line_shifts(const WorldModel& world, const std::vector<int>& facts,
                                        const iti::ItiOptions& options) {
  std::vector<Ids> texts;
  Labels labels;
  std::vector<int> questions;
  for (const stimuli::Pair& pair : stimuli::honest_line_pairs(world.world, facts)) {
    texts.push_back(world.ids(pair.positive)), texts.push_back(world.ids(pair.negative));
    labels.insert(labels.end(), {1, 0}), questions.insert(questions.end(), {pair.fact, pair.fact});
  }
  const auto z = head_outputs(world.model, texts);
  return chosen_heads(rank_heads(z, query_heads(world.model), labels, questions, z, options), options);
}

HeatMap head_map(const std::vector<double>& accuracy, int64_t H) {
  HeatMap map{.title = "Which heads know whether the answer is true",
              .subtitle = "probe accuracy on the other half of the facts",
              .x_label = "head",
              .y_label = "block",
              .num_columns = int(H),
              .min = 0.4,
              .max = 1};
  for (int64_t h = 0; h < H; ++h) map.columns.push_back(std::to_string(h));
  for (size_t b = 0; b < accuracy.size() / size_t(H); ++b) map.rows.push_back(std::to_string(b));
  map.values = accuracy;
  return map;
}

}  // namespace chalk
