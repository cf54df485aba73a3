#include "tutorials/support/switchable_precision_lab.h"

#include <algorithm>
#include <map>

#include "tutorials/support/progress.h"

namespace chalk {

static int place_of(const std::vector<std::string>& names, const std::string& name) {
  return int(std::find(names.begin(), names.end(), name) - names.begin());
}

SwitchableTraining training_of(const SwitchableLabOptions& o, uint64_t seed) {
  const std::map<std::string, SwitchStrategy> by_name = {{"joint", SwitchStrategy::Joint},
                                                         {"sandwich", SwitchStrategy::Sandwich},
                                                         {"cyclic", SwitchStrategy::Cyclic},
                                                         {"random", SwitchStrategy::Random},
                                                         {"per-layer", SwitchStrategy::RandomPerLayer},
                                                         {"progressive", SwitchStrategy::Progressive}};
  return {.strategy = by_name.at(o.strategy),
          .distillation = Distillation(place_of(distillations, o.distillation)),
          .steps = o.steps,
          .lr = o.lr,
          .step_lr = o.step_lr,
          .seed = seed};
}

void train(QatLab& lab, SwitchableModel& model, const SwitchableTraining& training, const std::string& what) {
  SwitchableTrainer trainer(model, training);
  Progress progress(what, 0, training.steps, lab.context.quiet);
  for (int64_t i = 0; i < training.steps; ++i) {
    const Batch batch = lab.corpus.train(i);
    progress.step(i + 1, {.loss = trainer.train_step(batch).back(), .tokens = batch.B * batch.T});
  }
}

double loss_at(QatLab& lab, SwitchableModel& model, int bits) {
  model.set_precision(bits);
  return lab.loss(model.model);
}

double rounded_loss(QatLab& lab, int bits, bool best_step) {
  const auto model = lab.fresh();
  SwitchableOptions options{.widths = {bits}};
  options.quantizer.learned_steps = best_step;
  SwitchableModel switchable = make_switchable(*model, options);
  return loss_at(lab, switchable, bits);
}

Table comparison(QatLab& lab, const SwitchableLabOptions& o) {
  Table table{.header = {"trained with", "2 bits", "4 bits", "8 bits", "16 bits"}};
  const auto add = [&](const std::string& name, const SwitchableLabOptions& changed,
                       const SwitchableOptions& options) {
    const auto model = lab.fresh();
    SwitchableModel switchable = make_switchable(*model, options);
    SwitchableTraining training = training_of(changed, lab.seed);
    const bool one_width = changed.strategy != "joint" && changed.strategy != "sandwich";
    if (one_width) training.steps *= int64_t(widths.size());
    train(lab, switchable, training, name);
    table.rows.push_back({name});
    for (int bits : {2, 4, 8, 16})
      table.rows.back().push_back(fmt::format("{:.3f}", loss_at(lab, switchable, bits)));
  };
  for (const std::string& name : distillations) {
    SwitchableLabOptions changed = o;
    changed.distillation = name, changed.strategy = "joint";
    add("joint, " + name, changed, {.widths = widths});
  }
  for (const std::string& name : strategies) {
    SwitchableLabOptions changed = o;
    changed.strategy = name;
    if (name != "joint") add(name + ", " + o.distillation, changed, {.widths = widths});
  }
  add("joint, one norm for all widths", o, {.widths = widths, .private_norms = false});
  add("joint, nested grid", o, {.widths = widths, .nested_grid = true});
  return table;
}

}  // namespace chalk
