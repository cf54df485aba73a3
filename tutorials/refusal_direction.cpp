// The direction of the toy refusal "sorry": found, removed, induced; where that works, where it does not, and why.

#include "papers/steering/refusal_direction.h"

#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::refusal;
using stimuli::Part;
using stimuli::Request;
using Requests = std::vector<Request>;

constexpr int kMonitored = 3;  // depth of the monitoring figure, the export and the edit of the weights

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/refusal_direction"};
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
struct Subject {
  const WorldModel& world;
  Requests forbidden = stimuli::requests(Part::Test, true), allowed = stimuli::requests(Part::Test, false);
  std::vector<Samples> f = residuals_at(world.model, texts(Part::Train, true)),  // by depth
      a = residuals_at(world.model, texts(Part::Train, false));

  std::vector<Ids> texts(Part part, bool refused) const {
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
  ReplyShares shares(const Requests& asked, const Edit& edit) const {
    return under(world, edit, [&] { return reply_shares(world, asked); });
  }
  template <class Edit>
  double kl_of_allowed(const Edit& edit) const {
    const std::vector<Ids> asked = world.texts_of(allowed);
    const Samples plain = next_logits(world.model, asked);
    return under(world, edit, [&] { return mean_kl(plain, next_logits(world.model, asked)); });
  }
};

static void filter_table(const Subject& m, const std::string& name, Study& s) {
  LanguageModel& model = m.world.model;
  const int64_t L = block_count(model);
  std::vector<Candidate> all = candidates(model, m.texts(Part::Train, true), m.texts(Part::Train, false), 2);
  s.heat.num_columns = int(L), s.heat.columns.clear();
  for (int64_t depth = 0; depth < L; ++depth) s.heat.columns.push_back(std::to_string(depth));
  for (Candidate& c : all) {
    score(model, c, m.texts(Part::Validation, true), m.texts(Part::Validation, false), {m.world.id("sorry")});
    const std::string why = rejection(c, L);
    s.filters.rows.push_back({name, std::to_string(-c.from_end), std::to_string(c.depth),
                              fmt::format("{:.1f}", c.bypass), fmt::format("{:.1f}", c.induce),
                              fmt::format("{:.3f}", c.kl), why.empty() ? "kept" : why});
    s.heat.values.push_back(norm(c.direction) > 0 ? c.bypass : NAN);
    if (c.depth == 0) s.heat.rows.push_back(fmt::format("{}, {}", name, -c.from_end));
  }
  const Candidate* chosen = select(all, L);
  s.filters.rows.push_back(
      {name, "", "", "", "", "",
       chosen ? fmt::format("chosen: position {}, depth {}", -chosen->from_end, chosen->depth)
              : "no candidate survives"});
}

// Is there one flag "this will be refused" early, or only "the verb is rough"? Mean projections after block 1.
static void group_table(const Subject& m, const std::string& name, Study& s) {
  const Direction r = m.direction(1);
  Requests parts[4] = {m.forbidden, {}, {}, {}};
  for (const Request& q : m.allowed) parts[q.rough ? 1 : q.guarded ? 2 : 3].push_back(q);
  std::vector<std::string> row{name}, flipped;
  for (int g = 0; g < 4; ++g) {
    const Samples x = residuals_at(m.world.model, m.world.texts_of(parts[g]))[1];
    row.push_back(fmt::format("{:.1f}", dot(unit(r), mean_row(x))));
    const auto added = [&](Edits& e) { add_direction(e, m.world.model, 1, r, 1, kLastOfPrompt); };
    if (g > 0) flipped.push_back(fmt::format("{:.2f}", m.shares(parts[g], added).refused));
  }
  row.push_back(fmt::format("{}", fmt::join(flipped, " / ")));
  s.groups.rows.push_back(row);
}

// The three edits at one depth.
static void edit_row(const Subject& m, const std::string& name, int64_t depth, Study& s) {
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

// Does the direction tell requests apart before the reply; is the whole reply right; do edited weights equal the hooks?
static void monitor_and_bake(const Subject& m, Study& s) {
  LanguageModel& model = m.world.model;
  const Direction r = m.direction(kMonitored);
  const std::vector<Ids> forbidden = m.world.texts_of(m.forbidden);
  const Samples x = residuals_at(model, forbidden)[kMonitored],
                allowed = residuals_at(model, m.world.texts_of(m.allowed))[kMonitored];
  const LinearProbe probe = probe_along(r, m.training(kMonitored), Subject::labels(m.f[0].n, m.a[0].n));
  s.separation.push_back(accuracy(probe, concatenate(x, allowed), Subject::labels(x.n, allowed.n)));
  double right = 0;
  for (const Request& q : m.forbidden) {
    const auto affine = [&](Edits& e) {
      add_affine(e, model, r, allowed_projections(m.a, r), Passes::Continue);
    };
    right += replies(m.world, {q.text}, 12, 0, 0, affine)[0] == q.reply;
  }
  s.correct.push_back(right / double(m.forbidden.size()));
  const CostMeter meter(model, m.world.ids(stimuli::ordinary_texts(m.world.world, 60, {"story", "talk"})));
  const Samples hooked = under(
      m.world, [&](Edits& e) { add_ablation(e, model, r); },
      [&] {
        s.ce_change.push_back(meter.measure().loss - meter.plain_loss);
        return next_logits(model, forbidden);
      });
  orthogonalise(model, r);  // last: the model is another one from here on
  s.weights_equal.push_back(largest_difference(hooked, next_logits(model, forbidden)));
}

static void measure(const WorldModel& world, const std::string& name, const std::string& folder, Study& s) {
  const Subject m{world};
  s.plain_forbidden.push_back(reply_shares(world, m.forbidden).refused);
  s.plain_allowed.push_back(reply_shares(world, m.allowed).refused);
  filter_table(m, name, s);
  group_table(m, name, s);
  for (const int64_t depth : {2, 3}) edit_row(m, name, depth, s);
  export_directions(world.model, {{kMonitored - 1, m.direction(kMonitored)}}, folder, "refusal");
  monitor_and_bake(m, s);
}

static Table beside_the_paper(const Study& s) {
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

static int run(Study& s, Context& context) {
  Results results(context, s.options.out, "The direction of a toy refusal",
                  "An interpretability lesson: \"sorry\" in a game whose rules we made up");
  for_each_model(s.options, context, [&](const WorldModel& world, const std::string& name) {
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
  Study study;
  return run_program(argc, argv,
                     {.name = "refusal_direction",
                      .about = "finds, removes and induces the toy refusal of the world model",
                      .example = "build/bin/refusal_direction --seeds 3",
                      .flags = [&](Flags& flags) { add_steering_flags(flags, study.options); },
                      .run = [&](Context& context) { return run(study, context); }});
}
