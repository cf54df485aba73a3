// Trains the model of a preset once and keeps it under runs/base/.

#include "tutorials/support/base_model.h"

#include <fmt/format.h>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {

LoadedModel base_model(const std::string& preset, uint64_t seed, Context& context) {
  TrainSettings settings = training_preset(preset);
  settings.out = fmt::format("runs/base/{}-seed{}", preset, seed);
  const std::string newest = newest_checkpoint(settings.out);
  const bool finished = newest.ends_with(fmt::format("step_{:08}", settings.train.steps));
  if (!finished) {
    context.say(fmt::format("training the base model {} first; later calls find it there", settings.out));
    settings.resume = !newest.empty();
    Context training =
        context;  // the run's config.json is that of `train`, not of the program that asked for it
    Flags flags;
    add_training_flags(flags, settings);
    training.name = "train", training.seed = seed, training.config = flags.config();
    training.config["seed"] = seed;
    if (run_training(settings, training).interrupted) {
      throw Error("interrupted while training the base model; the same command goes on from " + settings.out);
    }
  } else {
    context.say("base model: " + settings.out);
  }
  return load_model(settings.out, "", context.device);
}

}  // namespace chalk
