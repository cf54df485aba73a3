#pragma once
// The parts of tutorials/refusal_direction.cpp: one model with its requests, and three of the four things measured on it.

#include "papers/steering/refusal_direction.h"
#include "tutorials/support/steering.h"

namespace chalk {

constexpr int kMonitored = 3;  // depth of the monitoring figure, the export and the edit of the weights

// What is measured, over all models.
struct RefusalFigures {
  Table groups{.header = {"model", "forbidden", "rough, free", "gentle, guarded", "gentle, free",
                          "flipped by c = +1 at depth 1 (last three)"}};
  Table found{.header = {"model", "depth", "r̂ · allowed / forbidden", "ablation: refused / ok, KL",
                         "c = +1 +2 +3: allowed refused", "c = -1: refused", "affine: refused / ok, KL",
                         "random affine: refused"}};
  Table filters{.header = {"model", "position", "depth", "bypass", "induce", "KL", "verdict"}};
  HeatMap heat{.title = "Refusal score under ablation, forbidden requests",
               .subtitle = "blue: answers, red: refuses",
               .x_label = "depth",
               .y_label = "position",
               .diverging = true};
  std::vector<double> affine_refused, affine_ok, affine_kl, minus_refused, plain_forbidden, plain_allowed,
      correct, separation, weights_equal, ce_change;
};

// One model and the requests it is tested on.
struct RefusalSubject {
  const WorldModel& world;
  std::vector<stimuli::Request> forbidden = stimuli::requests(stimuli::Part::Test, true),
                                allowed = stimuli::requests(stimuli::Part::Test, false);
  std::vector<Samples> f = residuals_at(world.model, texts(stimuli::Part::Train, true)),  // by depth
      a = residuals_at(world.model, texts(stimuli::Part::Train, false));

  std::vector<Ids> texts(stimuli::Part part, bool refused) const {
    return world.texts_of(stimuli::requests(part, refused));
  }
  Direction direction(int64_t depth) const {
    return difference_of_means(training(depth), labels(f[0].n, a[0].n));
  }
  Samples training(int64_t depth) const { return concatenate(f[size_t(depth)], a[size_t(depth)]); }
  static Labels labels(int64_t ones, int64_t zeros) {
    Labels result(size_t(ones), 1);
    result.resize(size_t(ones + zeros), 0);
    return result;
  }
  template <class Edit>
  ReplyShares shares(const std::vector<stimuli::Request>& asked, const Edit& edit) const {
    return under(world, edit, [&] { return reply_shares(world, asked); });
  }
  template <class Edit>
  double kl_of_allowed(const Edit& edit) const {
    const std::vector<Ids> asked = world.texts_of(allowed);
    const Samples plain = next_logits(world.model, asked);
    return under(world, edit, [&] { return refusal::mean_kl(plain, next_logits(world.model, asked)); });
  }
};

// The paper's choice of position and depth, candidate by candidate.
void filter_table(const RefusalSubject& m, const std::string& name, RefusalFigures& s);
// Is there one flag "this will be refused" early, or only "the verb is rough"? Mean projections after block 1.
void group_table(const RefusalSubject& m, const std::string& name, RefusalFigures& s);
// Does the direction tell requests apart before the reply; is the whole reply right; do edited weights equal the hooks?
// The model is orthogonalised at the end.
void monitor_and_bake(const RefusalSubject& m, RefusalFigures& s);

}  // namespace chalk
