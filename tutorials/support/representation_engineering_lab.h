#pragma once
// The parts of tutorials/representation_engineering.cpp: stimuli's residual streams, the model under control, the choices.

#include "papers/steering/representation_engineering.h"
#include "tutorials/support/steering.h"

namespace chalk {

// Residual streams at the last token, by depth.
struct States {
  std::vector<Samples> positive, negative;

  States(const WorldModel& world, const std::vector<stimuli::Pair>& pairs) {
    std::vector<std::string> yes, no;
    for (const stimuli::Pair& pair : pairs) yes.push_back(pair.positive), no.push_back(pair.negative);
    positive = residuals_at(world.model, world.ids(yes)), negative = residuals_at(world.model, world.ids(no));
  }
  repe::Pairs pairs(int64_t depth) const {
    return repe::shuffled_pairs(positive[size_t(depth)], negative[size_t(depth)], 1);
  }

  // The mean difference; or the first component at the same length, so that a coefficient means the same push.
  repe::Controllers controllers(const std::vector<int64_t>& depths,
                                repe::Reader reader = repe::Reader::ClusterMean) const {
    repe::Controllers c;
    for (int64_t depth : depths) {
      const double length =
          norm(repe::read_pairs(pairs(depth), {.reader = repe::Reader::ClusterMean}).direction);
      const repe::ReadingVector v = repe::read_pairs(pairs(depth), {.reader = reader});
      c[depth] = v.controller(length / norm(v.direction));
    }
    return c;
  }
};

// The model under control.
struct Controlled {
  const WorldModel& world;
  const CostMeter& meter;

  double p_true(const repe::Controllers& c, const std::vector<stimuli::Prompt>& prompts,
                const repe::ControlOptions& options = {}) const {
    return under(
        world, [&](Edits& e) { repe::add_control(e, world.model, c, options); },
        [&] { return mean_p_true(world, prompts); });
  }
  CostMeter::Cost cost(const repe::Controllers& c) const {
    return under(
        world, [&](Edits& e) { repe::add_control(e, world.model, c); }, [&] { return meter.measure(); });
  }
  // Swing of P(true) between −c and c, and the larger of the two prices.
  repe::SweepPoint point(const repe::Controllers& c, double coefficient,
                         const std::vector<stimuli::Prompt>& prompts) const {
    repe::SweepPoint result{{}, coefficient, 0, 0};
    for (const auto& [depth, v] : c) result.depths.push_back(depth);
    for (const double sign : {1, -1}) {
      const repe::Controllers pushed = repe::scaled(c, sign * coefficient);
      result.effect += sign * p_true(pushed, prompts);
      result.kl = std::max(result.kl, cost(pushed).kl);
    }
    return result;
  }
};

// Shares of unseen pairs that each reader gets right, by depth.
void read(const States& train, const States& test, Curves& reading);

// First the layers, at |c| = 1, then the coefficient: each the largest swing within the budget, on validation facts.
repe::SweepPoint choose_band_and_coefficient(const Controlled& model, const States& states, double kl_budget,
                                             Curves& swing, Curves& price);

}  // namespace chalk
