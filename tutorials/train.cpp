// Trains a GPT-2 or LLaMA from nothing on a text, and leaves a run folder: checkpoints in Hugging Face's format,
// metrics, samples, plots and a report.

#include "tutorials/support/training.h"

using namespace chalk;

// With --data-parallel the first rank speaks for all; errors are told by whoever has them.
static Ranks join(const TrainSettings& settings, Context& context) {
  const Ranks ranks = settings.data_parallel ? Ranks::join(context.device) : Ranks();
  if (!ranks.first()) context.quiet = true, context.json = false;
  if (settings.data_parallel) context.say(ranks.describe());
  return ranks;
}

static int run(const TrainSettings& settings, Context& context, const Ranks& ranks) {
  const TrainOutcome outcome = run_training(settings, context, ranks);
  if (settings.data_parallel) ranks.leave();
  if (!ranks.first()) return outcome.interrupted ? 130 : 0;
  context.result = {{"steps", outcome.steps},
                    {"train_loss", outcome.train_loss},
                    {"validation_loss", outcome.validation_loss},
                    {"parameters", outcome.parameters},
                    {"tokens_per_second", outcome.tokens_per_second},
                    {"seconds", outcome.seconds},
                    {"peak_bytes", outcome.peak_bytes},
                    {"checkpoint", outcome.checkpoint},
                    {"ranks", ranks.size},
                    {"interrupted", outcome.interrupted}};
  if (outcome.interrupted) return context.interrupted(settings.out);
  if (!context.json) {
    print(fmt::format("validation loss {:.4f}, model in {}\n", outcome.validation_loss, outcome.checkpoint));
  }
  return 0;
}

int main(int argc, char** argv) {
  TrainSettings settings;
  Ranks ranks;
  return run_program(
      argc, argv,
      {.name = "train",
       .about = "trains a language model from nothing",
       .example = "build/bin/train --model llama --preset 1min --corpus world --out runs/first\n"
                  "build/bin/train --model gpt2 --preset 1min --corpus data/text/tinyshakespeare.txt --out runs/bard\n"
                  "mpirun -np 2 build/bin/train --data-parallel --preset 1min --out runs/two",
       .flags = [&](Flags& flags) { add_training_flags(flags, settings); },
       .run = [&](Context& context) { return run(settings, context, ranks); },
       .prepare = [&](Context& context) { ranks = join(settings, context); }});
}
