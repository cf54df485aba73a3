// Honesty as a direction: read it off honest and lying speakers, then push a voice of unknown mode along it.

#include "papers/steering/representation_engineering.h"

#include "models/control_vector.h"
#include "models/io/file.h"
#include "tutorials/support/run_folder.h"
#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::repe;
using stimuli::Part;

constexpr int kRandoms = 5, kDocuments = 10;

// What is measured, over all models, and how it is shown.
struct Study {
  SteeringOptions options{.out = "runs/representation_engineering"};
  double kl_budget = 0.1;
  Curves reading{"depth"}, truth{"c"}, cost{"c"}, context_truth{"c"}, swing_curve{"blocks passed"},
      kl_curve{"blocks passed"};
  std::vector<double> chosen_c, chosen_high, chosen_low;  // one per model
  int monotone = 0, beyond_random = 0, models = 0;

  struct States {
    std::vector<Samples> positive, negative;  // by depth
  };
  States states_of(const WorldModel& world, const std::vector<stimuli::Pair>& pairs) {
    std::vector<std::string> positive, negative;
    for (const stimuli::Pair& pair : pairs)
      positive.push_back(pair.positive), negative.push_back(pair.negative);
    return {residuals_at(world.model, world.ids(positive)), residuals_at(world.model, world.ids(negative))};
  }

  // The mean difference; or the first component at the same length, so that a coefficient means the same push.
  Controllers controllers(const States& s, const std::vector<int64_t>& depths,
                          Reader reader = Reader::ClusterMean) {
    Controllers c;
    for (int64_t depth : depths) {
      const Pairs pairs = shuffled_pairs(s.positive[size_t(depth)], s.negative[size_t(depth)], 1);
      const double length = norm(read_pairs(pairs, {.reader = Reader::ClusterMean}).direction);
      const ReadingVector v = read_pairs(pairs, {.reader = reader});
      c[depth] = v.controller(length / norm(v.direction));
    }
    return c;
  }

  double p_true_under(const WorldModel& world, const Controllers& c,
                      const std::vector<stimuli::Prompt>& prompts, const ControlOptions& options = {}) {
    Edits edits(world.model.hooks);
    add_control(edits, world.model, c, options);
    return mean_p_true(world, prompts);
  }
  CostMeter::Cost cost_under(const WorldModel& world, const CostMeter& meter, const Controllers& c) {
    Edits edits(world.model.hooks);
    add_control(edits, world.model, c);
    return meter.measure();
  }

  void read(const States& train, const States& test) {
    for (size_t depth = 1; depth < train.positive.size();
         ++depth) {  // depth 0 is one token's embedding: no difference
      const Pairs pairs = shuffled_pairs(train.positive[depth], train.negative[depth], 1);
      const auto keep = [&](const std::string& name, const ReadingVector& v) {
        reading.keep(name, double(depth), pair_accuracy(v, test.positive[depth], test.negative[depth]));
      };
      keep("first component", read_pairs(pairs));
      keep("mean difference", read_pairs(pairs, {.reader = Reader::ClusterMean}));
      keep("random direction", read_pairs(pairs, {.reader = Reader::Random}));
    }
  }

  // Swing of P(true) between −c and c on validation facts, and the larger of the two prices.
  SweepPoint point(const WorldModel& world, const Controllers& c, double coefficient,
                   const CostMeter& meter) {
    const auto prompts = stimuli::open_voice(world.world, stimuli::facts_of(world.world, Part::Validation));
    SweepPoint result{{}, coefficient, 0, 0};
    for (const auto& [depth, v] : c) result.depths.push_back(depth);
    for (const double signed_c : {coefficient, -coefficient}) {
      const Controllers pushed = scaled(c, signed_c);
      result.effect += (signed_c > 0 ? 1 : -1) * p_true_under(world, pushed, prompts);
      result.kl = std::max(result.kl, cost_under(world, meter, pushed).kl);
    }
    return result;
  }

  // First the layers, at |c| = 1, then the coefficient: each the largest swing within the budget.
  SweepPoint choose_band_and_coefficient(const WorldModel& world, const States& s, const CostMeter& meter) {
    std::vector<SweepPoint> points;
    const std::vector<std::vector<int64_t>> bands = {{1}, {2}, {3}, {4}, {1, 2}, {2, 3}};
    for (const std::vector<int64_t>& band : bands) {
      points.push_back(point(world, controllers(s, band), 1, meter));
      const std::string name = band.size() > 1 ? "this depth and the one before" : "this depth alone";
      swing_curve.keep(name, double(band.back()), points.back().effect);
      kl_curve.keep(name, double(band.back()), points.back().kl);
    }
    const Controllers chosen = controllers(s, choose(points, kl_budget).depths);
    points.clear();
    for (double c : {0.25, 0.5, 1.0, 1.25, 1.5, 2.0, 3.0}) points.push_back(point(world, chosen, c, meter));
    return choose(points, kl_budget);
  }

  void measure(const WorldModel& world, const std::string& folder, Context& context) {
    const auto facts = [&](Part part) { return stimuli::facts_of(world.world, part); };
    const States lat =
        states_of(world, stimuli::persona_pairs(world.world, facts(Part::Train), kDocuments, 1));
    const States voice = states_of(world, stimuli::voice_pairs(world.world, facts(Part::Train)));
    const States line = states_of(world, stimuli::honest_line_pairs(world.world, facts(Part::Train)));
    read(lat, states_of(world, stimuli::persona_pairs(world.world, facts(Part::Test), kDocuments, 2)));
    const CostMeter meter(world.model, world.ids(stimuli::ordinary_texts(world.world, 60)));
    const SweepPoint choice = choose_band_and_coefficient(world, lat, meter);
    const std::vector<int64_t> band = choice.depths;
    context.say(fmt::format("steering at depth {}, chosen on validation facts", fmt::join(band, " + ")));
    const Controllers c1 = controllers(lat, band);
    const auto open = stimuli::open_voice(world.world, facts(Part::Test));
    chosen_c.push_back(choice.coefficient);
    chosen_high.push_back(p_true_under(world, scaled(c1, choice.coefficient), open));
    chosen_low.push_back(p_true_under(world, scaled(c1, -choice.coefficient), open));
    const auto asked = [&](const std::vector<int>& which, Speaker s) {
      return stimuli::questions(world.world, which, s);
    };
    const auto myths = asked(stimuli::myths_among(world.world, facts(Part::Test)), Speaker::People);
    std::vector<double> swings(kRandoms, 0.0),
        p;  // of the random directions between c = −1 and +1; of ours, |c| ≤ 1
    for (double c : {-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0}) {
      const double ours = p_true_under(world, scaled(c1, c), open);
      truth.keep("mean difference", c, ours);
      truth.keep("first component", c,
                 p_true_under(world, scaled(controllers(lat, band, Reader::Pca), c), open));
      truth.keep("named voice", c, p_true_under(world, scaled(controllers(voice, band), c), open));
      truth.keep("piece-wise", c, p_true_under(world, scaled(c1, c), open, {.op = Operator::PieceWise}));
      double random = 0;
      for (int r = 0; r < kRandoms; ++r) {
        const double value = p_true_under(world, scaled(random_like(c1, uint64_t(r)), c), open);
        random += value / kRandoms;
        if (std::abs(c) == 1) swings[size_t(r)] += c * value;
      }
      truth.keep("random directions", c, random);
      if (std::abs(c) <= 1) p.push_back(ours);
      const CostMeter::Cost paid = cost_under(world, meter, scaled(c1, c));
      cost.keep("KL, nats per token", c, paid.kl),
          cost.keep("perplexity of ordinary text", c, std::exp(paid.loss));
      cost.keep("KL of a random direction", c, cost_under(world, meter, scaled(random_like(c1, 0), c)).kl);
      context_truth.keep("lying system line", c,
                         p_true_under(world, scaled(c1, c), asked(facts(Part::Test), Speaker::Liar)));
      context_truth.keep("honest system line", c,
                         p_true_under(world, scaled(c1, c), asked(facts(Part::Test), Speaker::Honest)));
      context_truth.keep("myths, honest line minus no line", c,
                         p_true_under(world, scaled(controllers(line, band), c), myths));
    }
    ++models;
    monotone += std::adjacent_find(p.begin(), p.end(), std::greater_equal<>()) == p.end();  // strictly rising
    for (double& s : swings) s = std::abs(s);
    beyond_random += p.back() - p.front() > highest(swings);
    ControlVector exported{{}, world.model.architecture()};
    for (const auto& [depth, v] : c1) exported.directions[depth - 1] = to_floats(v);
    make_folders(folder);
    for (const char* file : {"/honesty.gguf", "/honesty.safetensors"})
      write_control_vector(folder + file, exported);
  }

  int run(Context& context) {
    const RunFolder folder(options.out, true);
    for_each_model(options, context, [&](const WorldModel& world, const std::string&) {
      measure(world, folder.path("model_" + std::to_string(models + 1)), context);
    });
    Report report("Honesty as a direction",
                  fmt::format("reading and control on {} trained model(s)", models));
    show(context, report, folder,
         {"reading", "Reading honest from lying", "accuracy on pairs of unseen facts",
          "Personas that differ in the system line."},
         reading);
    show(context, report, folder,
         {"swing", "Choosing the layers: the swing", "P(true) at c = 1 minus c = -1, validation facts",
          "The largest swing within the budget is taken."},
         swing_curve);
    show(context, report, folder,
         {"swing_kl", "Choosing the layers: the price", "KL in nats per token at |c| = 1",
          fmt::format("The budget is {}.", kl_budget), 3},
         kl_curve);
    show(context, report, folder,
         {"truth", "Steering an open voice", "P(true) on test facts",
          "Random directions have the same length as ours."},
         truth);
    show(context, report, folder,
         {"cost", "What it costs", "KL in nats per token; perplexity",
          "60 documents of the validation stream.", 3},
         cost);
    show(context, report, folder,
         {"context", "Against the context", "P(true) on test facts",
          "Reported, not claimed: the size depends on the seed."},
         context_truth);
    const Table papers{.header = {"result", "paper", "here"},
                       .rows = {{"control, reading vector: TruthfulQA MC1", "LLaMA-2-Chat-7B 31.0 -> 34.1",
                                 "P(true) " + spread(truth.at("mean difference", 0)) + " -> " +
                                     spread(truth.at("mean difference", 1))},
                                {fmt::format("largest c with KL of at most {}", kl_budget), "chosen by eye",
                                 fmt::format("c = {}: P(true) {}, at -c {}", spread(chosen_c),
                                             spread(chosen_high), spread(chosen_low))},
                                {"reading, best stimulus: TruthfulQA", "58.2-58.9 (7B)",
                                 "pairs right at depth 3: " + spread(reading.at("first component", 3))}}};
    if (!context.json) print(to_text(papers));
    report.section("Beside the paper"),
        report.table(papers, "Different models, different tasks: orders of effect, not equal figures.");
    claim(context, report, monotone == models, "P(true) rises strictly with c from -1 to 1 in every model",
          fmt::format("{} of {}", monotone, models));
    claim(context, report, beyond_random == models,
          "its swing is above that of every random direction of equal length",
          fmt::format("{} of {}", beyond_random, models));
    report.environment(context);
    report.save(folder.path("report.html"));
    return 0;
  }
};

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
                      .run = [&](Context& context) { return study.run(context); }});
}
