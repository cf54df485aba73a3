#include "tutorials/support/representation_engineering_lab.h"

#include <algorithm>

namespace chalk {

using namespace repe;
using stimuli::Part;

void read(const States& train, const States& test, Curves& reading) {
  for (int64_t depth = 1; depth < int64_t(train.positive.size());
       ++depth) {  // depth 0 is one token: no difference
    const Pairs pairs = train.pairs(depth);
    const auto keep = [&](const std::string& name, const ReadingVector& v) {
      reading.keep(name, double(depth),
                   pair_accuracy(v, test.positive[size_t(depth)], test.negative[size_t(depth)]));
    };
    keep("first component", read_pairs(pairs));
    keep("mean difference", read_pairs(pairs, {.reader = Reader::ClusterMean}));
    keep("random direction", read_pairs(pairs, {.reader = Reader::Random}));
  }
}

SweepPoint choose_band_and_coefficient(const Controlled& model, const States& states, double kl_budget,
                                       Curves& swing, Curves& price) {
  const World& world = model.world.world;
  const auto prompts = stimuli::open_voice(world, stimuli::facts_of(world, Part::Validation));
  std::vector<SweepPoint> bands, coefficients;
  for (const std::vector<int64_t>& band :
       std::vector<std::vector<int64_t>>{{1}, {2}, {3}, {4}, {1, 2}, {2, 3}}) {
    bands.push_back(model.point(states.controllers(band), 1, prompts));
    const std::string name = band.size() > 1 ? "this depth and the one before" : "this depth alone";
    swing.keep(name, double(band.back()), bands.back().effect);
    price.keep(name, double(band.back()), bands.back().kl);
  }
  const Controllers chosen = states.controllers(choose(bands, kl_budget).depths);
  for (double c : {0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0})
    coefficients.push_back(model.point(chosen, c, prompts));
  return choose(coefficients, kl_budget);
}

}  // namespace chalk
