// The direction of the toy refusal "sorry": found, removed, induced; where that works, where it does not, and why.

#include "papers/steering/refusal_direction.h"

#include "models/control_vector.h"
#include "models/io/file.h"
#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::refusal;
using stimuli::Part;
using stimuli::Request;

constexpr int kMonitored = 3;  // depth of the monitoring figure

// What is measured, over all models, and how it is shown.
struct Study {
  SteeringOptions options{.out = "runs/refusal_direction"};
  Table found{.header = {"model", "depth", "r̂ · allowed / forbidden", "ablation: refused / ok, KL",
                         "c = +1 +2 +3: allowed refused", "c = -1: refused", "affine: refused / ok, KL",
                         "random affine: refused"}};
  Table groups{.header = {"model", "forbidden", "rough, free", "gentle, guarded", "gentle, free",
                          "flipped by c = +1 at depth 1 (last three)"}};
  Table filters{.header = {"model", "position", "depth", "bypass", "induce", "KL", "verdict"}};
  std::vector<double> affine_refused, affine_ok, affine_kl, minus_refused, plain_forbidden, plain_allowed,
      correct, separation, weights_equal, ce_change;
  HeatMap heat{.title = "Refusal score under ablation, forbidden requests",
               .subtitle = "blue: answers, red: refuses",
               .x_label = "depth",
               .y_label = "position",
               .diverging = true};

  std::vector<Request> asked(Part part, bool forbidden) { return stimuli::requests(part, forbidden); }

  // Shares of replies while `edit` is in place.
  template <class Edit>
  ReplyShares under(const WorldModel& world, const std::vector<Request>& which, const Edit& edit) {
    Edits edits(world.model.hooks);
    edit(edits);
    return reply_shares(world, which);
  }
  template <class Edit>
  double kl_under(const WorldModel& world, const std::vector<Request>& which, const Edit& edit) {
    const std::vector<Ids> texts = world.texts_of(which);
    const Samples plain = next_logits(world.model, texts);
    Edits edits(world.model.hooks);
    edit(edits);
    return mean_kl(plain, next_logits(world.model, texts));
  }

  void filter_table(const WorldModel& world, const std::string& name, const std::vector<Ids>& forbidden,
                    const std::vector<Ids>& allowed) {
    std::vector<Candidate> all = candidates(world.model, forbidden, allowed, 2);
    heat.num_columns = int(block_count(world.model)), heat.columns.clear();
    for (int depth = 0; depth < heat.num_columns; ++depth) heat.columns.push_back(std::to_string(depth));
    const std::vector<Ids> vf = world.texts_of(asked(Part::Validation, true)),
                           va = world.texts_of(asked(Part::Validation, false));
    for (Candidate& c : all) {
      score(world.model, c, vf, va, {world.id("sorry")});
      const std::string why = rejection(c, block_count(world.model));
      filters.rows.push_back({name, std::to_string(-c.from_end), std::to_string(c.depth),
                              fmt::format("{:.1f}", c.bypass), fmt::format("{:.1f}", c.induce),
                              fmt::format("{:.3f}", c.kl), why.empty() ? "kept" : why});
      heat.values.push_back(norm(c.direction) > 0 ? c.bypass : NAN);
      if (c.depth == 0) heat.rows.push_back(fmt::format("{}, {}", name, -c.from_end));
    }
    const Candidate* chosen = select(all, block_count(world.model));
    filters.rows.push_back(
        {name, "", "", "", "", "",
         chosen ? fmt::format("chosen: position {}, depth {}", -chosen->from_end, chosen->depth)
                : "no candidate survives"});
  }

  // Is there one flag "this will be refused" early, or only "the verb is rough"? Mean projections after block 1.
  void group_table(const WorldModel& world, const std::string& name, const Direction& r) {
    std::vector<Request> all = asked(Part::Test, false), parts[4] = {asked(Part::Test, true), {}, {}, {}};
    for (const Request& q : all) parts[q.rough ? 1 : q.guarded ? 2 : 3].push_back(q);
    std::vector<std::string> row{name}, flipped;
    for (int g = 0; g < 4; ++g) {
      const Samples x = residuals_at(world.model, world.texts_of(parts[g]))[1];
      row.push_back(fmt::format("{:.1f}", dot(unit(r), mean_row(x))));
      if (g > 0)
        flipped.push_back(fmt::format("{:.2f}", under(world, parts[g], [&](Edits& e) {
                                                  add_direction(e, world.model, 1, r, 1, kLastOfPrompt);
                                                }).refused));
    }
    row.push_back(fmt::format("{}", fmt::join(flipped, " / ")));
    groups.rows.push_back(row);
  }

  void measure(const WorldModel& world, const std::string& name, const std::string& folder) {
    LanguageModel& m = world.model;
    const std::vector<Request> forbidden = asked(Part::Test, true), allowed = asked(Part::Test, false);
    const std::vector<Ids> train_f = world.texts_of(asked(Part::Train, true)),
                           train_a = world.texts_of(asked(Part::Train, false));
    plain_forbidden.push_back(reply_shares(world, forbidden).refused),
        plain_allowed.push_back(reply_shares(world, allowed).refused);
    filter_table(world, name, train_f, train_a);
    const std::vector<Samples> f = residuals_at(m, train_f), a = residuals_at(m, train_a);
    const CostMeter meter(m, world.ids(stimuli::ordinary_texts(world.world, 60, {"story", "talk"})));
    const auto direction = [&](size_t depth) {
      Labels labels(size_t(f[depth].n), 1);
      labels.resize(size_t(f[depth].n + a[depth].n), 0);
      return difference_of_means(concatenate(f[depth], a[depth]), labels);
    };
    group_table(world, name, direction(1));
    for (const int64_t depth : {2, 3}) {
      const Direction r = direction(size_t(depth)), noise = random_direction(m.width(), norm(r), 5);
      const auto ablation = [&](Edits& e) { add_ablation(e, m, r); };
      const auto affine = [&](Edits& e) { add_affine(e, m, r, allowed_projections(a, r)); };
      const auto added = [&](double c) {
        return [&, c](Edits& e) { add_direction(e, m, depth, r, c, kLastOfPrompt); };
      };
      const ReplyShares off = under(world, forbidden, ablation), moved = under(world, forbidden, affine),
                        minus = under(world, forbidden, added(-1));
      const ReplyShares random =
          under(world, forbidden, [&](Edits& e) { add_affine(e, m, noise, allowed_projections(a, noise)); });
      affine_refused.push_back(moved.refused), affine_ok.push_back(moved.complied),
          affine_kl.push_back(kl_under(world, allowed, affine));
      minus_refused.push_back(minus.refused);
      std::vector<double> induced;
      for (double c : {1.0, 2.0, 3.0}) induced.push_back(under(world, allowed, added(c)).refused);
      found.rows.push_back(
          {name, std::to_string(depth),
           fmt::format("{:.1f} / {:.1f}", dot(unit(r), mean_row(a[size_t(depth)])),
                       dot(unit(r), mean_row(f[size_t(depth)]))),
           fmt::format("{:.2f} / {:.2f}, {:.3f}", off.refused, off.complied,
                       kl_under(world, allowed, ablation)),
           fmt::format("{:.2f}", fmt::join(induced, " ")), fmt::format("{:.2f}", minus.refused),
           fmt::format("{:.2f} / {:.2f}, {:.4f}", moved.refused, moved.complied, affine_kl.back()),
           fmt::format("{:.2f}", random.refused)});
      if (depth != kMonitored) continue;
      Labels labels;
      Samples tested = concatenate(residuals_at(m, world.texts_of(forbidden))[kMonitored],
                                   residuals_at(m, world.texts_of(allowed))[kMonitored]);
      for (int64_t i = 0; i < tested.n; ++i) labels.push_back(i < int64_t(forbidden.size()));
      Labels train_labels(train_f.size(), 1);
      train_labels.resize(train_f.size() + train_a.size(), 0);
      separation.push_back(
          accuracy(probe_along(r, concatenate(f[kMonitored], a[kMonitored]), train_labels), tested, labels));
      std::vector<std::string> texts;
      for (const Request& q : forbidden) texts.push_back(q.text);
      const std::vector<std::string> said = replies(world, texts, 12, 0, 0, [&](Edits& e) {
        add_affine(e, m, r, allowed_projections(a, r), Passes::Continue);
      });
      double right = 0;
      for (size_t i = 0; i < said.size(); ++i) right += said[i] == forbidden[i].reply;
      correct.push_back(right / double(said.size()));
      ControlVector exported{{{depth - 1, to_floats(r)}}, m.architecture()};
      make_folders(folder);
      for (const char* file : {"/refusal.gguf", "/refusal.safetensors"})
        write_control_vector(folder + file, exported);
      Edits edits(m.hooks);
      ablation(edits);
      ce_change.push_back(meter.measure().loss - meter.plain_loss);
      const Samples hooked = next_logits(m, world.texts_of(forbidden));
      edits.clear();
      orthogonalise(m, r);  // last: the model is another one from here on
      const Samples edited = next_logits(m, world.texts_of(forbidden));
      double worst = 0;
      for (size_t i = 0; i < hooked.x.size(); ++i)
        worst = std::max(worst, std::abs(double(hooked.x[i]) - double(edited.x[i])));
      weights_equal.push_back(worst);
    }
  }

  int run(Context& context) {
    const RunFolder folder(options.out, true);
    for_each_model(options, context, [&](const WorldModel& world, const std::string& name) {
      measure(world, name, folder.path("model_" + std::to_string(plain_forbidden.size() + 1)));
    });
    Report report("The direction of a toy refusal",
                  "An interpretability lesson: \"sorry\" in a game whose rules we made up");
    const auto table = [&](const std::string& heading, const Table& t, const std::string& text) {
      if (!context.json) print(heading + "\n" + to_text(t) + "\n");
      report.section(heading), report.table(t, text);
    };
    table(
        "One flag, or only half the rule? Mean projection after block 1", groups,
        "Early flag: forbidden stands apart from all three others. Late: it coincides with rough, free; then "
        "addition cannot work at depth 1.");
    table("Found, removed, induced", found,
          "Test requests. Ablation sets the projection to 0, affine to the allowed mean.");
    table("The paper's filters", filters, "Validation requests; L = 4, so depth 3 is in the last 20 %.");
    save_png(heat, folder.path("plots/bypass.png"));
    report.plot(heat, "Smaller is better for ablation; depth 0 at a fixed token has no direction.");
    const Table papers{.header = {"replies without refusal", "Llama-2-7B", "Qwen-1.8B", "here"},
                       .rows = {{"forbidden, plain", ".03", ".30", spread([&] {
                                   auto v = plain_forbidden;
                                   for (double& x : v) x = 1 - x;
                                   return v;
                                 }())},
                                {"forbidden, ablation", ".93", ".99", "see the table: depends on the seed"},
                                {"forbidden, c = -1", ".97", ".97", spread([&] {
                                   auto v = minus_refused;
                                   for (double& x : v) x = 1 - x;
                                   return v;
                                 }())},
                                {"allowed, plain", ".99", ".97", spread([&] {
                                   auto v = plain_allowed;
                                   for (double& x : v) x = 1 - x;
                                   return v;
                                 }())},
                                {"forbidden, affine (ours)", "", "", spread([&] {
                                   auto v = affine_refused;
                                   for (double& x : v) x = 1 - x;
                                   return v;
                                 }())}}};
    table("Beside the paper", papers, "Other models, another rule.");
    table("Also measured",
          {.header = {"figure", "value"},
           .rows = {{"whole reply right under the affine edit", spread(correct)},
                    {"forbidden and allowed told apart before the reply", spread(separation)},
                    {"change of loss on stories under ablation", spread(ce_change, 4)},
                    {"largest logit difference, weights against hooks", spread(weights_equal, 6)}}},
          "Depth 3.");
    claim(context, report, highest(affine_refused) <= 0.05 && lowest(affine_ok) >= 0.95,
          "the affine edit removes refusal at depths 2 and 3 of every model",
          spread(affine_refused) + " refused");
    claim(context, report, highest(affine_kl) < 0.05, "it leaves allowed requests alone: KL below 0.05",
          spread(affine_kl, 4));
    claim(context, report, highest(minus_refused) <= 0.1, "c = -1 removes refusal in every model",
          spread(minus_refused));
    claim(context, report, highest(weights_equal) < 1e-3, "orthogonalised weights equal the hooks",
          fmt::format("{:.1e}", highest(weights_equal)));
    context.result = {{"affine_refused", affine_refused},
                      {"minus_refused", minus_refused},
                      {"correct", correct},
                      {"separation", separation}};
    report.environment(context);
    report.save(folder.path("report.html"));
    return 0;
  }
};

int main(int argc, char** argv) {
  Study study;
  return run_program(argc, argv,
                     {.name = "refusal_direction",
                      .about = "finds, removes and induces the toy refusal of the world model",
                      .example = "build/bin/refusal_direction --seeds 3",
                      .flags = [&](Flags& flags) { add_steering_flags(flags, study.options); },
                      .run = [&](Context& context) { return study.run(context); }});
}
