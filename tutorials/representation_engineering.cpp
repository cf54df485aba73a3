// Honesty as a direction: read it from honest and lying speakers, then push a voice of unknown mode along it.

#include "papers/steering/representation_engineering.h"

#include <map>

#include "models/control_vector.h"
#include "tutorials/support/run_folder.h"
#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::repe;
using stimuli::Part;

static SteeringOptions o{.out = "runs/representation_engineering"};
static double kl_budget = 0.5;
static const std::vector<double> kCoefficients = {-2, -1, -0.5, 0, 0.5, 1, 2};
constexpr int kRandoms = 5, kDocuments = 10;
using Figures = std::map<std::string, std::vector<double>>;  // name -> one per model
static Figures reading, control_p, figures;

struct States {
  std::vector<Samples> positive, negative;  // by depth
};

static States states_of(const WorldModel& world, const std::vector<stimuli::Pair>& pairs) {
  std::vector<std::string> positive, negative;
  for (const stimuli::Pair& pair : pairs) positive.push_back(pair.positive), negative.push_back(pair.negative);
  return {residuals_at(world.model, world.ids(positive)), residuals_at(world.model, world.ids(negative))};
}

static Controllers mean_difference(const States& s, const std::vector<int64_t>& depths) {
  Controllers c;
  for (int64_t depth : depths) {
    const Pairs pairs = shuffled_pairs(s.positive[size_t(depth)], s.negative[size_t(depth)], 1);
    c[depth] = read_pairs(pairs, {.reader = Reader::ClusterMean}).controller(1);
  }
  return c;
}

// The first component, with the length of the mean difference: the same coefficient then means the same push.
static Controllers principal(const States& s, const std::vector<int64_t>& depths) {
  Controllers c = mean_difference(s, depths);
  for (auto& [depth, v] : c) {
    const Pairs pairs = shuffled_pairs(s.positive[size_t(depth)], s.negative[size_t(depth)], 1);
    v = read_pairs(pairs).controller(norm(v));
  }
  return c;
}

static double with_control(const WorldModel& world, const Controllers& c, const std::vector<stimuli::Prompt>& prompts,
                           const ControlOptions& options = {}) {
  Edits edits(world.model.hooks);
  add_control(edits, world.model, c, options);
  return mean_p_true(world, prompts);
}

static CostMeter::Cost cost_of(const WorldModel& world, const CostMeter& meter, const Controllers& c) {
  Edits edits(world.model.hooks);
  add_control(edits, world.model, c);
  return meter.measure();
}

static void read(const States& train, const States& test) {
  for (size_t depth = 0; depth < train.positive.size(); ++depth) {
    const Pairs pairs = shuffled_pairs(train.positive[depth], train.negative[depth], 1);
    for (const auto& [name, reader] : {std::pair{"first component", Reader::Pca}, {"mean difference", Reader::ClusterMean}, {"random", Reader::Random}}) {
      const bool same = depth == 0;  // the embedding of one token: both members are equal
      reading[fmt::format("{} / {}", name, depth)].push_back(same ? 0.5 : pair_accuracy(read_pairs(pairs, {.reader = reader}), test.positive[depth], test.negative[depth]));
    }
  }
}

// The band with the largest swing of P(true) between c = −1 and +1 on validation facts, within the KL budget.
static std::vector<int64_t> choose_band(const WorldModel& world, const States& s, const CostMeter& meter) {
  const auto prompts = stimuli::open_voice(world.world, stimuli::facts_of(world.world, Part::Validation));
  std::vector<SweepPoint> points;
  for (const std::vector<int64_t>& band : std::vector<std::vector<int64_t>>{{1}, {2}, {3}, {4}, {1, 2}, {2, 3}}) {
    const Controllers c = mean_difference(s, band);
    const double swing = with_control(world, c, prompts) - with_control(world, scaled(c, -1), prompts);
    const double kl = std::max(cost_of(world, meter, c).kl, cost_of(world, meter, scaled(c, -1)).kl);
    points.push_back({band, 1, swing, kl});
    figures[fmt::format("band {}: swing on validation facts", fmt::join(band, "+"))].push_back(swing);
    figures[fmt::format("band {}: KL at |c| = 1", fmt::join(band, "+"))].push_back(kl);
  }
  return choose(points, kl_budget).depths;
}

int main(int argc, char** argv) {
  return run_program(argc, argv, {.name = "representation_engineering", .about = "x", .example = "x",
    .flags = [&](Flags& flags) { add_steering_flags(flags, o); flags.add("--kl-budget", &kl_budget, "KL"); },
    .run = [&](Context& context) {
      for_each_model(o, context, [&](const WorldModel& world, const std::string&) {
        const World& w = world.world;
        const auto facts = [&](Part p) { return stimuli::facts_of(w, p); };
        const States lat = states_of(world, stimuli::persona_pairs(w, facts(Part::Train), kDocuments, 1));
        const States lat_test = states_of(world, stimuli::persona_pairs(w, facts(Part::Test), kDocuments, 2));
        const States named = states_of(world, stimuli::voice_pairs(w, facts(Part::Train)));
        const States line = states_of(world, stimuli::honest_line_pairs(w, facts(Part::Train)));
        read(lat, lat_test);
        const CostMeter meter(world.model, world.ids(stimuli::ordinary_texts(w, 200)));
        const std::vector<int64_t> band = choose_band(world, lat, meter);
        context.say(fmt::format("band {}", fmt::join(band, "+")));
        const auto open = stimuli::open_voice(w, facts(Part::Test));
        const auto myths = stimuli::questions(w, stimuli::myths_among(w, facts(Part::Test)), Speaker::People);
        const auto lying = stimuli::questions(w, facts(Part::Test), Speaker::Liar);
        const auto honest = stimuli::questions(w, facts(Part::Test), Speaker::Honest);
        for (double c : kCoefficients) {
          for (const auto& [name, v] : {std::pair{"lat mean, chosen", mean_difference(lat, band)}, {"lat pca, chosen", principal(lat, band)},
              {"lat mean 3", mean_difference(lat, {3})}, {"lat mean 2+3", mean_difference(lat, {2, 3})}, {"named 2+3", mean_difference(named, {2, 3})}, {"named 3", mean_difference(named, {3})}}) {
            control_p[fmt::format("{:<20} c={:+.1f} P(true)", name, c)].push_back(with_control(world, scaled(v, c), open));
            const auto cost = cost_of(world, meter, scaled(v, c));
            control_p[fmt::format("{:<20} c={:+.1f} kl", name, c)].push_back(cost.kl);
            control_p[fmt::format("{:<20} c={:+.1f} loss", name, c)].push_back(cost.loss);
          }
          double random = 0;
          for (int r = 0; r < kRandoms; ++r) random += with_control(world, scaled(random_like(mean_difference(lat, band), uint64_t(r)), c), open) / kRandoms;
          control_p[fmt::format("{:<20} c={:+.1f} P(true)", "random", c)].push_back(random);
          control_p[fmt::format("{:<20} c={:+.1f} P(true)", "myth line 2+3", c)].push_back(with_control(world, scaled(mean_difference(line, {2,3}), c), myths));
          control_p[fmt::format("{:<20} c={:+.1f} P(true)", "lying, lat", c)].push_back(with_control(world, scaled(mean_difference(lat, {2,3}), c), lying));
          control_p[fmt::format("{:<20} c={:+.1f} P(true)", "honest, lat", c)].push_back(with_control(world, scaled(mean_difference(lat, {2,3}), c), honest));
        }
      });
      for (auto* f : {&reading, &figures, &control_p}) for (const auto& [k, v] : *f) fmt::print("{:<50} {} [{:.2f}]\n", k, spread(v), fmt::join(v, " "));
      return 0; }});
}
