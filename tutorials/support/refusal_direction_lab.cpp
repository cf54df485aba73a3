#include "tutorials/support/refusal_direction_lab.h"

#include <cmath>

namespace chalk {

using namespace refusal;
using stimuli::Part;
using stimuli::Request;

void filter_table(const RefusalSubject& m, const std::string& name, RefusalFigures& s) {
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

void group_table(const RefusalSubject& m, const std::string& name, RefusalFigures& s) {
  const Direction r = m.direction(1);
  std::vector<Request> parts[4] = {m.forbidden, {}, {}, {}};
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

void monitor_and_bake(const RefusalSubject& m, RefusalFigures& s) {
  LanguageModel& model = m.world.model;
  const Direction r = m.direction(kMonitored);
  const std::vector<Ids> forbidden = m.world.texts_of(m.forbidden);
  const Samples x = residuals_at(model, forbidden)[kMonitored],
                allowed = residuals_at(model, m.world.texts_of(m.allowed))[kMonitored];
  const LinearProbe probe =
      probe_along(r, m.training(kMonitored), RefusalSubject::labels(m.f[0].n, m.a[0].n));
  s.separation.push_back(accuracy(probe, concatenate(x, allowed), RefusalSubject::labels(x.n, allowed.n)));
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

}  // namespace chalk
