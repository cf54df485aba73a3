#pragma once
// The parts of tutorials/switchable_precision.cpp: how a network is trained and measured at a width, and other ways to train it.

#include "papers/qat/switchable_precision.h"
#include "tutorials/support/qat_lab.h"
#include "tutorials/support/results.h"

namespace chalk {

inline const std::vector<int> widths = {2, 4, 6, 8, 16};
inline const std::vector<std::string> strategies = {"joint",  "sandwich",  "cyclic",
                                                    "random", "per-layer", "progressive"};
inline const std::vector<std::string> distillations = {"hard",     "soft",    "recursive",
                                                       "features", "cascade", "teacher"};

struct SwitchableLabOptions {
  std::string base = "world-gpt2", out = "runs/switchable_precision", strategy = "joint",
              distillation = "recursive", plan;
  int64_t seeds = 1, steps = 300;
  double lr = 3e-4, step_lr = 1e-4;
  bool compare = false;
};

SwitchableTraining training_of(const SwitchableLabOptions& o, uint64_t seed);
// Trains with the lab's batches, telling the progress on stderr under the name `what`.
void train(QatLab& lab, SwitchableModel& model, const SwitchableTraining& training, const std::string& what);
double loss_at(QatLab& lab, SwitchableModel& model, int bits);
// Rounding without training: steps from the largest weight, or the better of two rules for each row.
double rounded_loss(QatLab& lab, int bits, bool best_step);
// At equal passes through the network: other teachers, other strategies, one norm for all widths, the nested grid.
Table comparison(QatLab& lab, const SwitchableLabOptions& o);

}  // namespace chalk
