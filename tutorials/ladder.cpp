// Climbs a ladder of kernels: every rung is checked against the plain kernel, then its cost is printed. tutorials/ladders/
// holds the rungs, one numbered file per idea, and README.md beside them says how to read them.

#include "tutorials/ladders/ladder.h"

#include <algorithm>
#include <optional>

#include "kernels/cuda/runtime.h"
#include "tutorials/ladders/problems.h"
#include "tutorials/support/program.h"
#include "tutorials/support/table.h"

using namespace chalk;
using ladder::Cost;

struct Options {
  std::string of;
  int size = 0, rows = 0;
};

static Json to_json(const Cost& c) {
  if (ladder::on_gpu()) return {{"milliseconds", c.milliseconds}};
  const double requests = double(std::max<int64_t>(1, c.global_loads + c.global_stores));
  return {{"score", c.score()},
          {"global_loads", c.global_loads},
          {"global_stores", c.global_stores},
          {"sectors", c.sectors},
          {"sectors_per_request", double(c.sectors) / requests},
          {"shared_loads", c.shared_loads},
          {"shared_stores", c.shared_stores},
          {"shared_passes", c.shared_passes},
          {"bank_conflicts", c.bank_conflicts}};
}

// The cells of a rung's line after its name.
static std::vector<std::string> cells(const Cost& c, const ladder::Ladder& climbed) {
  if (ladder::on_gpu()) {
    const double seconds = c.milliseconds / 1e3;
    return {fmt::format("{:.4f}", c.milliseconds), fmt::format("{:.2f}", climbed.operations / seconds / 1e12),
            fmt::format("{:.0f}", climbed.bytes / seconds / 1e9)};
  }
  const double requests = double(std::max<int64_t>(1, c.global_loads + c.global_stores));
  return {std::to_string(c.score()),
          std::to_string(c.global_loads),
          std::to_string(c.global_stores),
          std::to_string(c.sectors),
          fmt::format("{:.1f}", double(c.sectors) / requests),
          std::to_string(c.shared_loads + c.shared_stores),
          std::to_string(c.shared_passes),
          std::to_string(c.bank_conflicts)};
}

static std::vector<std::string> column_names() {
  if (ladder::on_gpu()) return {"rung", "idea", "ms", "TFLOP/s", "GB/s", "error"};
  return {"rung",        "idea",   "score",  "loads",     "stores", "sectors",
          "per request", "shared", "passes", "conflicts", "error"};
}

static int run(Options o, Context& context) {
  const std::string device = cuda::device_description();
  const bool gpu = ladder::on_gpu(), square = o.of == "matmul" || o.of == "attention";
  if (o.size == 0) o.size = gpu ? (square ? 4096 : 1024) : (square ? 128 : 256);
  if (o.rows == 0) o.rows = gpu ? 32768 : 64;
  // The plain kernel would take minutes at the sizes that a GPU needs: there, small ones are checked and large ones timed.
  ladder::Ladder climbed = ladder::make_ladder(o.of, o.size, o.rows, context.seed, !gpu);
  std::optional<ladder::Ladder> small;
  if (gpu) small = ladder::make_ladder(o.of, std::min(o.size, 256), std::min(o.rows, 256), context.seed);
  context.say(device);

  Table table{column_names()};
  context.result = {{"ladder", o.of}, {"size", climbed.size}, {"device", device}, {"rungs", Json::array()}};
  for (size_t i = 0; i < climbed.rungs.size(); ++i) {
    const ladder::Rung& rung = climbed.rungs[i];
    Json& entry = context.result["rungs"].emplace_back(Json{{"file", rung.file}, {"idea", rung.idea}});
    if (rung.needs_gpu && !gpu) {
      entry["skipped"] = ladder::no_tensor_cores;
      table.rows.push_back({rung.file, ladder::no_tensor_cores});
      continue;
    }
    const ladder::Climb big = climb(climbed, rung);
    const double error = small ? climb(*small, small->rungs[i]).error : big.error;
    entry["error"] = error;
    entry.update(to_json(big.cost));
    table.rows.push_back({rung.file, rung.idea});
    for (const std::string& cell : cells(big.cost, climbed)) table.rows.back().push_back(cell);
    table.rows.back().push_back(fmt::format("{:.3f}", error));
    context.claim(error <= 1, rung.file + " agrees with the plain kernel",
                  fmt::format("{:.3f} of the tolerance", error));
  }
  if (!context.json) print(fmt::format("{}, {}\n{}", o.of, climbed.size, to_text(table)));
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "ladder",
       .about = "climbs a ladder of CUDA kernels: time on a GPU, memory accesses on cusim",
       .example = "build/bin/ladder --of matmul\nbuild/bin/ladder --of attention --size 64 --json",
       .flags =
           [&](Flags& flags) {
             flags.add("--of", &o.of, "which ladder")
                 .one_of({"matmul", "softmax", "layernorm", "attention"})
                 .required();
             flags.add("--size", &o.size, "matrix side, row length or sequence length (0 = fits the device)")
                 .between(0, 16384);
             flags.add("--rows", &o.rows, "rows of softmax and layernorm (0 = fits the device)")
                 .between(0, 1 << 20);
           },
       .run = [&](Context& context) { return run(o, context); }});
}
