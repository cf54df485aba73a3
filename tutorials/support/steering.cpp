// Models and curves of the steering tutorials.

#include "tutorials/support/steering.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "models/control_vector.h"
#include "models/io/file.h"
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
    if (loaded.model->blocks().size() < 4) {
      throw UsageError(
          fmt::format("{}: the steering programs look at depths 1 to 4; this model has {} blocks", name,
                      loaded.model->blocks().size()));
    }
    context.say(fmt::format("{} ({} of {})", name, i + 1, count));
    measure({*loaded.model, *loaded.tokenizer}, name);
  }
}

double largest_difference(const Samples& a, const Samples& b) {
  double largest = 0;
  for (size_t i = 0; i < a.x.size(); ++i)
    largest = std::max(largest, std::abs(double(a.x[i]) - double(b.x[i])));
  return largest;
}

// ---- curves ----

void Curves::keep(const std::string& name, double x, double value) {
  auto curve = std::find_if(curves.begin(), curves.end(), [&](const Curve& c) { return c.name == name; });
  if (curve == curves.end()) curve = curves.insert(curve, {name, {}});
  auto point =
      std::find_if(curve->points.begin(), curve->points.end(), [&](const Point& p) { return p.x >= x; });
  if (point == curve->points.end() || point->x != x) point = curve->points.insert(point, {x, {}});
  point->values.push_back(value);
}

const std::vector<double>& Curves::at(const std::string& name, double x) const {
  for (const Curve& curve : curves) {
    if (curve.name != name) continue;
    for (const Point& point : curve.points)
      if (point.x == x) return point.values;
  }
  throw Error(fmt::format("no value of '{}' at {} = {}", name, axis, x));
}

Table Curves::table() const {
  std::vector<double> all;
  for (const Curve& curve : curves)
    for (const Point& point : curve.points) all.push_back(point.x);
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  Table table{.header = {""}};
  for (double x : all) table.header.push_back(fmt::format("{} = {:g}", axis, x));
  for (const Curve& curve : curves) {
    std::vector<std::string> row{curve.name};
    for (double x : all) {
      const auto point =
          std::find_if(curve.points.begin(), curve.points.end(), [&](const Point& p) { return p.x == x; });
      row.push_back(point == curve.points.end() ? "" : spread(point->values, decimals));
    }
    table.rows.push_back(row);
  }
  return table;
}

LinePlot Curves::plot(const std::vector<std::string>& only) const {
  LinePlot plot{.title = title, .x = {.label = axis}, .y = {.label = y}};
  for (const Curve& curve : curves) {
    if (!only.empty() && std::count(only.begin(), only.end(), curve.name) == 0) continue;
    Series series;
    series.name = curve.name, series.points = true;
    for (const Point& point : curve.points) {
      series.x.push_back(point.x), series.y.push_back(mean_of(point.values));
      series.low.push_back(lowest(point.values)), series.high.push_back(highest(point.values));
    }
    plot.series.push_back(series);
  }
  return plot;
}

Json Curves::json() const {
  Json result = Json::object();
  for (const Curve& curve : curves) {
    Json points = Json::array();
    for (const Point& point : curve.points) points.push_back({{axis, point.x}, {"values", point.values}});
    result[curve.name] = points;
  }
  return result;
}

void show(Results& results, const Curves& curves) {
  const Table table = curves.table();
  if (!results.context.json) print(curves.title + ": " + curves.y + "\n" + to_text(table) + "\n");
  results.report.section(curves.title);
  results.plot(curves.file, curves.plot(), curves.text);
  results.report.table(table);
  results.context.result[curves.file] = curves.json();
}

void export_directions(const LanguageModel& model, const std::map<int64_t, Direction>& by_block,
                       const std::string& folder, const std::string& name) {
  ControlVector exported{{}, model.architecture()};
  for (const auto& [block, direction] : by_block) exported.directions[block] = to_floats(direction);
  make_folders(folder);
  for (const char* ending : {".gguf", ".safetensors"})
    write_control_vector(join_path(folder, name + ending), exported);
}

}  // namespace chalk
