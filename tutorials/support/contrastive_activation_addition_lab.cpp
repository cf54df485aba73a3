#include "tutorials/support/contrastive_activation_addition_lab.h"

#include <cmath>

namespace chalk {

using namespace caa;
using stimuli::Part;

std::vector<Direction> vectors(const WorldModel& world, const Texts& matching, const Texts& other) {
  const std::vector<Samples> a = residuals_at(world.model, world.ids(matching)),
                             b = residuals_at(world.model, world.ids(other));
  std::vector<Direction> v;
  for (size_t depth = 0; depth < a.size(); ++depth) v.push_back(behaviour_vector(a[depth], b[depth]));
  return v;
}

Direction random_like(const Direction& v, uint64_t seed) {
  return random_direction(int64_t(v.size()), norm(v), seed);
}

double matching(const WorldModel& world, const Texts& requests, int64_t depth, const Direction& v, double c) {
  Edits edits(world.model.hooks);
  add(edits, world.model, depth, v, c, {.from_marker = true});
  const Samples logits = next_logits(world.model, world.ids(requests));
  double sum = 0;
  for (int64_t i = 0; i < logits.n; ++i) {
    const std::vector<double> p = next_probabilities(logits.row(i), logits.d);
    double yes = 1e-300, no = 1e-300;
    for (const char* word : {"hurray", "yay", "wonderful"}) yes += p[size_t(world.id(word))];
    for (const char* word : {"alas", "oh", "sigh"}) no += p[size_t(world.id(word))];
    sum += match_probability(std::log(yes), std::log(no)) / double(logits.n);
  }
  return sum;
}

Texts mood_part(Part part, const std::string& adjective) {
  const Texts all = stimuli::mood_prompts(adjective);
  Texts result;
  for (size_t i = 0; i < all.size(); ++i) {
    if ((i % 4 < 2 ? Part::Train : i % 4 == 2 ? Part::Validation : Part::Test) == part)
      result.push_back(all[i]);
  }
  return result;
}

int64_t choose_depth(const WorldModel& world, const std::string& name, const std::vector<Direction>& v,
                     Curves& layers) {
  int64_t chosen = 1;
  double most = -1;
  for (int64_t depth = 1; depth < int64_t(v.size()); ++depth) {
    const auto at = [&](double c) {
      return matching(world, mood_part(Part::Validation), depth, v[size_t(depth)], c);
    };
    const double difference = at(1) - at(-1);
    layers.keep(name, double(depth), difference);
    if (difference > most && depth + 1 < int64_t(v.size())) most = difference, chosen = depth;
  }
  return chosen;
}

}  // namespace chalk
