#pragma once
// What a training run leaves for eyes: the loss curve, the samples, one page.

#include "tutorials/support/plot.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"
#include "tutorials/support/training.h"

namespace chalk {

// Training and validation loss over the step, from metrics.jsonl.
LinePlot loss_plot(const RunFolder& run);

// samples/ in the order of their steps.
std::vector<std::pair<int64_t, std::string>> run_samples(const RunFolder& run);

// plots/loss.png and report.html from the run's metrics.jsonl and samples.
void write_training_report(const RunFolder& run, const Context& context, const TrainOutcome& outcome);

}  // namespace chalk
