#pragma once
// The parts of tutorials/cyclic_precision.cpp: a model from nothing with its text, one training, tables and plots.

#include "papers/qat/cyclic_precision.h"
#include "tutorials/support/results.h"
#include "tutorials/support/training.h"

namespace chalk {

struct CyclicLabOptions {
  std::string preset = "world-gpt2", out = "runs/cyclic_precision", optimizer = "adamw";
  int64_t seeds = 1, steps = 800, cycles = 32, static_steps = 160;
  int low = 3, high = 8, backward = 8;
  double lr = 2e-3;
};

// One way to train: its widths, and what came of it over the seeds.
struct CyclicRun {
  std::string name;
  CyclicSchedule schedule;
  int backward_bits;
  std::vector<double> loss = {};  // nats per token at the last width, one per seed
  double cost = 0;                // steps of 32-bit training
  Series curve = {};              // validation loss at `high` bits on the way, first seed
};

struct CyclicLab {
  const CyclicLabOptions& options;
  Context& context;
  uint64_t seed;
  TrainSettings settings;
  Corpus corpus;

  CyclicLab(const CyclicLabOptions& o, Context& c, uint64_t seed)
      : options(o), context(c), seed(seed), settings(training_preset(o.preset)) {
    settings.documents = 20000;
    settings.train.optimizer = o.optimizer, settings.train.lr = o.lr;
    settings.train.steps = o.steps, settings.train.seed = seed;
    corpus = make_corpus(settings, seed);
  }
  std::unique_ptr<LanguageModel> fresh() {
    return make_fresh_model(settings, *corpus.tokenizer, seed, context.device);
  }
  double loss(LanguageModel& model, int64_t batches) {
    return validation_loss(model, std::min(batches, corpus.validation_batches), corpus.validation);
  }
};

// Trains one run and evaluates it at its last width.
void train(CyclicLab& lab, CyclicRun& run);

std::string percent(double part, double whole);  // "-12.3 %": how far `part` is from `whole`
// The loss after the same few steps at each width.
Table table_of(const RangeTest& test);
// `still` is the run that the others are compared with.
Table result_table(const std::vector<CyclicRun>& runs, const CyclicRun& still);
LinePlot loss_plot(const std::vector<CyclicRun>& runs, const CyclicRun& still);
LinePlot bits_plot(const CyclicRun& run, int64_t steps);

}  // namespace chalk
