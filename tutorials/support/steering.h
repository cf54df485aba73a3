#pragma once
// What the steering tutorials share: the trained models they look at, and figures over several of them.

#include <functional>
#include <string>
#include <vector>

#include "models/world_behaviour.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"

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

// One figure over models: "0.54 (0.52-0.59)", or "0.54" for one model.
std::string spread(const std::vector<double>& values, int decimals = 2);
double lowest(const std::vector<double>& values);
double highest(const std::vector<double>& values);
double average(const std::vector<double>& values);

// Named curves over one axis (depth, coefficient), one value per model at each point.
struct Curves {
  explicit Curves(std::string axis) : axis(std::move(axis)) {}
  void keep(const std::string& name, double x, double value);
  const std::vector<double>& at(const std::string& name,
                                double x) const;  // throws Error when nothing is there
  Table table(int decimals = 2) const;            // a row per curve, a column per x
  // Mean over models as lines, lowest to highest as bands. `only`: names of the curves to draw (empty: all).
  LinePlot plot(const std::string& title, const std::string& y,
                const std::vector<std::string>& only = {}) const;
  Json json() const;

 private:
  struct Point {
    double x;
    std::vector<double> values;
  };
  struct Curve {
    std::string name;
    std::vector<Point> points;
  };
  std::string axis;  // "depth", "c"
  std::vector<Curve> curves;
};

// One section of a report: the table on stdout, plot and table in the report, plots/FILE.png, the figures in `result`.
struct Section {
  std::string file, title, y, text;
  int decimals = 2;
};
void show(Context& context, Report& report, const RunFolder& folder, const Section& section,
          const Curves& curves);

// A claim in both places: the exit code (context) and the report.
void claim(Context& context, Report& report, bool holds, const std::string& text,
           const std::string& measured);

}  // namespace chalk
