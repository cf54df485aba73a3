#pragma once
// What the steering tutorials share: the trained models they look at, and figures over several of them.

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "models/world_behaviour.h"
#include "tutorials/support/results.h"

namespace chalk {

struct SteeringOptions {
  std::vector<std::string> models =
      {};             // folders; empty: base models of the world recipe, trained at the first call
  int64_t seeds = 1;  // how many base models: seeds 1 … N
  std::string out = {};
};
// --model (may be repeated), --seeds, --out. Set out's default first.
void add_steering_flags(Flags& flags, SteeringOptions& options);

// Loads one model after the other and calls measure(model, its name); tells on stderr which one is next.
void for_each_model(const SteeringOptions& options, Context& context,
                    const std::function<void(const WorldModel& world, const std::string& name)>& measure);

// measure() while `edit` is in place: under(world, [&](Edits& e) { … }, [&] { return mean_p_true(world, prompts); })
template <class Edit, class Measure>
auto under(const WorldModel& world, const Edit& edit, const Measure& measure) {
  Edits edits(world.model.hooks);
  edit(edits);
  return measure();
}

// max |a − b|, of logits before and after.
double largest_difference(const Samples& a, const Samples& b);

// Named curves over one axis (depth, coefficient), one value per model at each point; and how to show them.
struct Curves {
  std::string file;      // plots/FILE.png, and the name in the JSON result
  std::string axis;      // "depth", "c"
  std::string title, y;  // what is measured, in which unit
  std::string text;      // below the plot
  int decimals = 2;

  struct Point {
    double x;
    std::vector<double> values;
  };
  struct Curve {
    std::string name;
    std::vector<Point> points;
  };
  std::vector<Curve> curves = {};

  void keep(const std::string& name, double x, double value);
  // Throws Error when nothing is there.
  const std::vector<double>& at(const std::string& name, double x) const;
  Table table() const;  // a row per curve, a column per x
  // Mean over models as lines, lowest to highest as bands. `only`: names of the curves to draw (empty: all).
  LinePlot plot(const std::vector<std::string>& only = {}) const;
  Json json() const;
};

// A section: the table on stdout, plot and table in the report, plots/FILE.png, the figures in the JSON result.
void show(Results& results, const Curves& curves);

// What a direction is good for elsewhere: FOLDER/NAME.gguf and .safetensors, one direction per block (from 0).
void export_directions(const LanguageModel& model, const std::map<int64_t, Direction>& by_block,
                       const std::string& folder, const std::string& name);

}  // namespace chalk
