// Models, spreads and claims of the steering tutorials.

#include "tutorials/support/steering.h"

#include <algorithm>
#include <numeric>

#include "autograd/check.h"
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
  return fmt::format("{:.{}f} ({:.{}f}-{:.{}f})", average(values), decimals, lowest(values), decimals,
                     highest(values), decimals);
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

Table Curves::table(int decimals) const {
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

LinePlot Curves::plot(const std::string& title, const std::string& y,
                      const std::vector<std::string>& only) const {
  LinePlot plot{.title = title, .x = {.label = axis}, .y = {.label = y}};
  for (const Curve& curve : curves) {
    if (!only.empty() && std::count(only.begin(), only.end(), curve.name) == 0) continue;
    Series series;
    series.name = curve.name, series.points = true;
    for (const Point& point : curve.points) {
      series.x.push_back(point.x), series.y.push_back(average(point.values));
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

void show(Context& context, Report& report, const RunFolder& folder, const Section& section,
          const Curves& curves) {
  const Table table = curves.table(section.decimals);
  const LinePlot plot = curves.plot(section.title, section.y);
  if (!context.json) print(section.title + ": " + section.y + "\n" + to_text(table) + "\n");
  save_png(plot, folder.path("plots/" + section.file + ".png"));
  report.section(section.title);
  report.plot(plot, section.text);
  report.table(table);
  context.result[section.file] = curves.json();
}

void claim(Context& context, Report& report, bool holds, const std::string& text,
           const std::string& measured) {
  context.claim(holds, text, measured);
  report.claim(holds, text, measured);
}

}  // namespace chalk
