// The direction of the toy refusal "sorry": found, removed, induced; where that works, where it does not, and why.

#include "tutorials/support/refusal_direction_lab.h"

using namespace chalk;
using namespace chalk::refusal;

// The three edits at one depth.
static void edit_row(const RefusalSubject& m, const std::string& name, int64_t depth, RefusalFigures& s) {
  LanguageModel& model = m.world.model;
  const Direction r = m.direction(depth), noise = random_direction(model.width(), norm(r), 5);
  const auto ablation = [&](Edits& e) { add_ablation(e, model, r); };
  const auto affine = [&](const Direction& along) {
    return [&](Edits& e) { add_affine(e, model, along, allowed_projections(m.a, along)); };
  };
  const auto added = [&](double c) {
    return [&, c](Edits& e) { add_direction(e, model, depth, r, c, kLastOfPrompt); };
  };
  const ReplyShares off = m.shares(m.forbidden, ablation), moved = m.shares(m.forbidden, affine(r));
  s.affine_refused.push_back(moved.refused), s.affine_ok.push_back(moved.complied);
  s.affine_kl.push_back(m.kl_of_allowed(affine(r)));
  s.minus_refused.push_back(m.shares(m.forbidden, added(-1)).refused);
  std::vector<double> induced;
  for (double c : {1.0, 2.0, 3.0}) induced.push_back(m.shares(m.allowed, added(c)).refused);
  const auto along = [&](const std::vector<Samples>& x) { return dot(unit(r), mean_row(x[size_t(depth)])); };
  s.found.rows.push_back(
      {name, std::to_string(depth), fmt::format("{:.1f} / {:.1f}", along(m.a), along(m.f)),
       fmt::format("{:.2f} / {:.2f}, {:.3f}", off.refused, off.complied, m.kl_of_allowed(ablation)),
       fmt::format("{:.2f}", fmt::join(induced, " ")), fmt::format("{:.2f}", s.minus_refused.back()),
       fmt::format("{:.2f} / {:.2f}, {:.4f}", moved.refused, moved.complied, s.affine_kl.back()),
       fmt::format("{:.2f}", m.shares(m.forbidden, affine(noise)).refused)});
}

static void measure(const WorldModel& world, const std::string& name, const std::string& folder,
                    RefusalFigures& s) {
  const RefusalSubject m{world};
  s.plain_forbidden.push_back(reply_shares(world, m.forbidden).refused);
  s.plain_allowed.push_back(reply_shares(world, m.allowed).refused);
  filter_table(m, name, s);
  group_table(m, name, s);
  for (const int64_t depth : {2, 3}) edit_row(m, name, depth, s);
  export_directions(world.model, {{kMonitored - 1, m.direction(kMonitored)}}, folder, "refusal");
  monitor_and_bake(m, s);
}

static Table beside_the_paper(const RefusalFigures& s) {
  const auto answered = [](std::vector<double> refused) {
    for (double& share : refused) share = 1 - share;
    return spread(refused, 2);
  };
  return {.header = {"replies without refusal", "Llama-2-7B", "Qwen-1.8B", "here"},
          .rows = {{"forbidden, plain", ".03", ".30", answered(s.plain_forbidden)},
                   {"forbidden, ablation", ".93", ".99", "see the table: depends on the seed"},
                   {"forbidden, c = -1", ".97", ".97", answered(s.minus_refused)},
                   {"allowed, plain", ".99", ".97", answered(s.plain_allowed)},
                   {"forbidden, affine (ours)", "", "", answered(s.affine_refused)}}};
}

static int run(const SteeringOptions& options, Context& context) {
  RefusalFigures s;
  Results results(context, options.out, "The direction of a toy refusal",
                  "An interpretability lesson: \"sorry\" in a game whose rules we made up");
  for_each_model(options, context, [&](const WorldModel& world, const std::string& name) {
    measure(world, name, results.folder.path("model_" + std::to_string(s.plain_forbidden.size() + 1)), s);
  });
  results.table(
      "One flag, or only half the rule? Mean projection after block 1", s.groups,
      "Early flag: forbidden stands apart from all three others. Late: it coincides with rough, free; then "
      "addition cannot work at depth 1.");
  results.table("Found, removed, induced", s.found,
                "Test requests. Ablation sets the projection to 0, affine to the allowed mean.");
  results.table("The paper's filters", s.filters,
                "Validation requests; L = 4, so depth 3 is in the last 20 %.");
  results.plot("bypass", s.heat,
               "Smaller is better for ablation; depth 0 at a fixed token has no direction.");
  results.table("Beside the paper", beside_the_paper(s), "Other models, another rule.");
  results.table("Also measured",
                {.header = {"figure", "value"},
                 .rows = {{"whole reply right under the affine edit", spread(s.correct, 2)},
                          {"forbidden and allowed told apart before the reply", spread(s.separation, 2)},
                          {"change of loss on stories under ablation", spread(s.ce_change, 4)},
                          {"largest logit difference, weights against hooks", spread(s.weights_equal, 6)}}},
                "Depth 3.");
  results.claim(highest(s.affine_refused) <= 0.05 && lowest(s.affine_ok) >= 0.95,
                "the affine edit removes refusal at depths 2 and 3 of every model",
                spread(s.affine_refused, 2) + " refused");
  results.claim(highest(s.affine_kl) < 0.05, "it leaves allowed requests alone: KL below 0.05",
                spread(s.affine_kl, 4));
  results.claim(highest(s.minus_refused) <= 0.1, "c = -1 removes refusal in every model",
                spread(s.minus_refused, 2));
  results.claim(highest(s.weights_equal) < 1e-3, "orthogonalised weights equal the hooks",
                fmt::format("{:.1e}", highest(s.weights_equal)));
  context.result = {{"affine_refused", s.affine_refused},
                    {"minus_refused", s.minus_refused},
                    {"correct", s.correct},
                    {"separation", s.separation}};
  return results.save();
}

int main(int argc, char** argv) {
  SteeringOptions options{.out = "runs/refusal_direction"};
  return run_program(argc, argv,
                     {.name = "refusal_direction",
                      .about = "finds, removes and induces the toy refusal of the world model",
                      .example = "build/bin/refusal_direction --seeds 3",
                      .flags = [&](Flags& flags) { add_steering_flags(flags, options); },
                      .run = [&](Context& context) { return run(options, context); }});
}
