// Is a statement true? One direction in the residual stream tells, also for facts that the probe has never seen.

#include "papers/steering/probes.h"

#include <map>

#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::probes;

constexpr int kFolds = 5, kShuffles = 5, kRandoms = 5;

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/probes"};
  Curves curves{"probes", "depth", "Truth of a statement, read at its last word", "accuracy on unseen facts",
                "The probes find the truth after the first block; shuffled labels stay at chance, a random "
                "direction does not."};
  std::map<std::string, std::vector<double>> figures;  // single figures, one per model
  Labels labels;
  std::vector<int> fold, is_food, never_judged;

  // Trained on the statements where `tested` is 0, tested on the others.
  double transfer(const Estimator& estimator, const Samples& x, const std::vector<int>& tested) {
    const Split s = split_by_fold(x, labels, tested, 1);
    return accuracy(estimator.fit(s.train_x, s.train_y), s.test_x, s.test_y);
  }

  // Pairs of a true and a false statement of one fact; a coin decides which comes first. Odd facts test.
  double ccs_test_accuracy(const Samples& x, const CcsOptions& options) {
    ContrastPairs train, test;
    Labels train_first, test_first;
    for (int64_t i = 0; i < x.n / 2; ++i) {  // rows 2i, 2i + 1: true, false
      const int first_is_true = int(random_word(7, uint64_t(i)) & 1);
      ContrastPairs& pairs = i % 2 == 1 ? test : train;
      pairs.plus.d = pairs.minus.d = x.d;
      pairs.plus.add(x.row(2 * i + 1 - first_is_true)), pairs.minus.add(x.row(2 * i + first_is_true));
      (i % 2 == 1 ? test_first : train_first).push_back(first_is_true);
    }
    return ccs_accuracy(ccs(train, options), test, test_first);
  }

  void measure(const WorldModel& world, Context& context) {
    for (const auto& [prefix_name, prefix] : stimuli::statement_prefixes()) {
      const std::vector<stimuli::Statement> statements = stimuli::statements(world.world, prefix);
      labels.clear(), is_food.clear(), never_judged.clear();
      std::vector<int> facts;
      for (const stimuli::Statement& s : statements) {
        labels.push_back(s.is_true), facts.push_back(s.fact);
        const Fact& fact = world.world.facts[size_t(s.fact)];
        is_food.push_back(fact.relation == Relation::Food), never_judged.push_back(fact.never_judged);
      }
      fold = folds_by_item(facts, kFolds);
      const std::vector<Samples> by_depth = residuals_at(world.model, world.texts_of(statements));
      auto keep = [&](const std::string& name, size_t depth, double value) {
        curves.keep(prefix_name + " / " + name, double(depth), value);
      };
      for (size_t depth = 0; depth < by_depth.size(); ++depth) {
        for (const Estimator& e : estimators())
          keep(e.name, depth, cross_validated(e, by_depth[depth], labels, fold));
        double random = 0;
        for (int r = 0; r < kRandoms; ++r)
          random += cross_validated(random_estimator(uint64_t(r)), by_depth[depth], labels, fold) / kRandoms;
        keep("random direction", depth, random);
        keep(
            "shuffled labels", depth,
            shuffled_label_accuracy(estimators()[1], by_depth[depth], labels, fold, kShuffles, context.seed));
        if (prefix_name == "user" && depth > 0)
          keep("CCS, no labels", depth, ccs_test_accuracy(by_depth[depth], {}));
      }
      for (const Estimator& e : {estimators()[0], estimators()[1]})
        figures[prefix_name + ": " + e.name + ", depth chosen on another fold"].push_back(
            choose_depth_and_test(e, by_depth, labels, fold).accuracy);
      figures[prefix_name + ": difference of means, trained on color and home, tested on food"].push_back(
          transfer(estimators()[1], by_depth.back(), is_food));
      figures[prefix_name + ": difference of means, on the five facts that training never judged"].push_back(
          transfer(estimators()[1], by_depth.back(), never_judged));
    }
  }
};

static Table chosen_table(const Study& study) {
  Table chosen{.header = {"figure", "accuracy", "95 % interval of one model, 120 statements"}};
  for (const auto& [name, values] : study.figures) {
    const Interval interval = wilson_interval(mean_of(values), 120);
    const bool all = name.find("chosen") != std::string::npos;
    chosen.rows.push_back(
        {name, spread(values, 2), all ? fmt::format("{:.2f}-{:.2f}", interval.low, interval.high) : ""});
  }
  return chosen;
}

static int run(Study& study, Context& context) {
  Results results(context, study.options.out, "Linear probes for truth",
                  fmt::format("60 true and 60 false statements, {} folds by fact", kFolds));
  for_each_model(study.options, context,
                 [&](const WorldModel& world, const std::string&) { study.measure(world, context); });
  const Curves& curves = study.curves;
  std::vector<std::string> shown;
  for (const Curves::Curve& curve : curves.curves)
    if (curve.name.starts_with("user /")) shown.push_back(curve.name);
  LinePlot plot = curves.plot(shown);
  plot.lines.push_back({0.85, "pass mark"});
  results.plot(curves.file, plot, curves.text);
  results.table("Accuracy by depth", curves.table(), "Mean (lowest..highest) over models.");
  results.table("Without choosing on the test facts", chosen_table(study));
  results.table("Beside the papers",
                {.header = {"paper", "its figure", "ours"},
                 .rows = {{"CCS (Burns et al.), ten data sets, no labels", "0.71 (zero-shot 0.67)",
                           spread(curves.at("user / CCS, no labels", 3), 2)},
                          {"ITI, best head, labels", "0.83", "see inference_time_intervention"}}});
  for (const auto& [name, values] : study.figures) {
    if (name.find("chosen") != std::string::npos)
      results.claim(lowest(values) >= 0.85, name + ": at least 0.85 in every model", spread(values, 2));
    context.result[name] = values;
  }
  context.result["curves"] = curves.json();
  return results.save();
}

int main(int argc, char** argv) {
  Study study;
  return run_program(argc, argv,
                     {.name = "probes",
                      .about = "reads from a model's activations whether a statement is true",
                      .example = "build/bin/probes --seeds 3",
                      .flags = [&](Flags& flags) { add_steering_flags(flags, study.options); },
                      .run = [&](Context& context) { return run(study, context); }});
}
