// Models, spreads and claims of the steering tutorials.

#include "tutorials/support/steering.h"

#include <algorithm>
#include <numeric>

#include "models/load.h"
#include "tutorials/support/base_model.h"

namespace chalk {

void add_steering_flags(Flags& flags, SteeringOptions& options) {
  flags.add("--model", &options.models, "trained world model, may be repeated (default: base models)");
  flags.add("--seeds", &options.seeds, "base models to look at: seeds 1 to N").between(1, 100);
  flags.add("--out", &options.out, "folder of the run: plots, report, exported directions");
}

void for_each_model(const SteeringOptions& options, Context& context,
                    const std::function<void(const WorldModel& world, const std::string& name)>& measure) {
  const int64_t count = options.models.empty() ? options.seeds : int64_t(options.models.size());
  for (int64_t i = 0; i < count; ++i) {
    LoadedModel loaded;
    std::string name = "seed " + std::to_string(i + 1);
    if (options.models.empty()) {
      loaded = base_model("world", uint64_t(i + 1), context);
    } else {
      name = options.models[size_t(i)];
      loaded = load_model(name, "", context.device);
    }
    context.say(fmt::format("{} ({} of {})", name, i + 1, count));
    measure({*loaded.model, *loaded.tokenizer}, name);
  }
}

double lowest(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}

double highest(const std::vector<double>& values) {
  return *std::max_element(values.begin(), values.end());
}

double average(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(values.size());
}

std::string spread(const std::vector<double>& values, int decimals) {
  if (values.size() == 1) return fmt::format("{:.{}f}", values[0], decimals);
  return fmt::format("{:.{}f} ({:.{}f}-{:.{}f})", average(values), decimals, lowest(values), decimals, highest(values),
                     decimals);
}

void claim(Context& context, Report& report, bool holds, const std::string& text, const std::string& measured) {
  context.claim(holds, text, measured);
  report.claim(holds, text, measured);
}

}  // namespace chalk
