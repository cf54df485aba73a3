// Honesty as a direction: read it off honest and lying speakers, then push a voice of unknown mode along it.

#include "tutorials/support/representation_engineering_lab.h"

using namespace chalk;
using namespace chalk::repe;
using stimuli::Part;

constexpr int kRandoms = 5, kDocuments = 10;

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/representation_engineering"};
  double kl_budget = 0.1;
  Curves reading{"reading", "depth", "Reading honest from lying", "accuracy on pairs of unseen facts",
                 "Personas that differ in the system line."},
      swing{"swing", "blocks passed", "Choosing the layers: the swing",
            "P(true) at c = 1 minus c = -1, validation facts",
            "The largest swing within the budget is taken."},
      price{"swing_kl",
            "blocks passed",
            "Choosing the layers: the price",
            "KL in nats per token at |c| = 1",
            "The budget is --kl-budget.",
            3},
      truth{"truth", "c", "Steering an open voice", "P(true) on test facts",
            "Random directions have the same length as ours."},
      cost{"cost",
           "c",
           "What it costs",
           "KL in nats per token; perplexity",
           "60 documents of the validation stream.",
           3},
      context{"context", "c", "Against the context", "P(true) on test facts",
              "Reported, not claimed: the size depends on the seed."};
  std::vector<double> chosen_c, chosen_high, chosen_low;  // one per model
  int monotone = 0, beyond_random = 0, models = 0;
};

static void measure(const WorldModel& world, Study& s, const std::string& folder, Context& context) {
  const auto facts = [&](Part part) { return stimuli::facts_of(world.world, part); };
  const auto personas = [&](Part part, uint64_t seed) {
    return States(world, stimuli::persona_pairs(world.world, facts(part), kDocuments, seed));
  };
  const States lat = personas(Part::Train, 1),
               voice(world, stimuli::voice_pairs(world.world, facts(Part::Train))),
               line(world, stimuli::honest_line_pairs(world.world, facts(Part::Train)));
  read(lat, personas(Part::Test, 2), s.reading);
  const CostMeter meter(world.model, world.ids(stimuli::ordinary_texts(world.world, 60)));
  const Controlled model{world, meter};
  const SweepPoint choice = choose_band_and_coefficient(model, lat, s.kl_budget, s.swing, s.price);
  const std::vector<int64_t> band = choice.depths;
  context.say(fmt::format("steering at depth {}, chosen on validation facts", fmt::join(band, " + ")));
  const auto open = stimuli::open_voice(world.world, facts(Part::Test));
  const auto told = [&](Speaker speaker) {
    return stimuli::questions(world.world, facts(Part::Test), speaker);
  };
  const auto myths =
      stimuli::questions(world.world, stimuli::myths_among(world.world, facts(Part::Test)), Speaker::People);
  const Controllers ours = lat.controllers(band), component = lat.controllers(band, Reader::Pca),
                    named = voice.controllers(band), honest_line = line.controllers(band);
  s.chosen_c.push_back(choice.coefficient);
  s.chosen_high.push_back(model.p_true(scaled(ours, choice.coefficient), open));
  s.chosen_low.push_back(model.p_true(scaled(ours, -choice.coefficient), open));
  std::vector<double> swings(kRandoms, 0.0),
      p;  // of the random directions between c = −1 and 1; of ours, |c| ≤ 1
  for (double c : {-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0}) {
    const Controllers pushed = scaled(ours, c);
    s.truth.keep("mean difference", c, model.p_true(pushed, open));
    s.truth.keep("first component", c, model.p_true(scaled(component, c), open));
    s.truth.keep("named voice", c, model.p_true(scaled(named, c), open));
    s.truth.keep("piece-wise", c, model.p_true(pushed, open, {.op = Operator::PieceWise}));
    double random = 0;
    for (int r = 0; r < kRandoms; ++r) {
      const double value = model.p_true(scaled(random_like(ours, uint64_t(r)), c), open);
      random += value / kRandoms;
      if (std::abs(c) == 1) swings[size_t(r)] += c * value;
    }
    s.truth.keep("random directions", c, random);
    if (std::abs(c) <= 1) p.push_back(s.truth.at("mean difference", c).back());
    const CostMeter::Cost paid = model.cost(pushed);
    s.cost.keep("KL, nats per token", c, paid.kl);
    s.cost.keep("perplexity of ordinary text", c, std::exp(paid.loss));
    s.cost.keep("KL of a random direction", c, model.cost(scaled(random_like(ours, 0), c)).kl);
    s.context.keep("lying system line", c, model.p_true(pushed, told(Speaker::Liar)));
    s.context.keep("honest system line", c, model.p_true(pushed, told(Speaker::Honest)));
    s.context.keep("myths, honest line minus no line", c, model.p_true(scaled(honest_line, c), myths));
  }
  s.models += 1;
  s.monotone += std::adjacent_find(p.begin(), p.end(), std::greater_equal<>()) == p.end();  // strictly rising
  for (double& swing : swings) swing = std::abs(swing);
  s.beyond_random += p.back() - p.front() > highest(swings);
  std::map<int64_t, Direction> by_block;
  for (const auto& [depth, v] : ours) by_block[depth - 1] = v;
  export_directions(world.model, by_block, folder, "honesty");
}

static int run(Study& s, Context& context) {
  Results results(context, s.options.out, "Honesty as a direction", "reading and control on trained models");
  for_each_model(s.options, context, [&](const WorldModel& world, const std::string&) {
    measure(world, s, results.folder.path("model_" + std::to_string(s.models + 1)), context);
  });
  for (const Curves* curves : {&s.reading, &s.swing, &s.price, &s.truth, &s.cost, &s.context})
    show(results, *curves);
  const auto truth_at = [&](double c) { return spread(s.truth.at("mean difference", c), 2); };
  results.table("Beside the paper",
                {.header = {"result", "paper", "here"},
                 .rows = {{"control, reading vector: TruthfulQA MC1", "LLaMA-2-Chat-7B 31.0 -> 34.1",
                           "P(true) " + truth_at(0) + " -> " + truth_at(1)},
                          {fmt::format("largest c with KL of at most {}", s.kl_budget), "chosen by eye",
                           fmt::format("c = {}: P(true) {}, at -c {}", spread(s.chosen_c, 2),
                                       spread(s.chosen_high, 2), spread(s.chosen_low, 2))},
                          {"reading, best stimulus: TruthfulQA", "58.2-58.9 (7B)",
                           "pairs right at depth 3: " + spread(s.reading.at("first component", 3), 2)}}},
                "Different models, different tasks: orders of effect, not equal figures.");
  const auto in_every_model = [&](int64_t count, const std::string& text) {
    results.claim(count == s.models, text, fmt::format("{} of {}", count, s.models));
  };
  in_every_model(s.monotone, "P(true) rises strictly with c from -1 to 1 in every model");
  in_every_model(s.beyond_random, "its swing is above that of every random direction of equal length");
  return results.save();
}

int main(int argc, char** argv) {
  Study study;
  return run_program(argc, argv,
                     {.name = "representation_engineering",
                      .about = "reads honesty from a model's activations and steers it",
                      .example = "build/bin/representation_engineering --seeds 3",
                      .flags =
                          [&](Flags& flags) {
                            add_steering_flags(flags, study.options);
                            flags
                                .add("--kl-budget", &study.kl_budget,
                                     "most KL that the choice of layers may cost, nats per token")
                                .at_least(0);
                          },
                      .run = [&](Context& context) { return run(study, context); }});
}
