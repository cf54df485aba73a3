#pragma once
// What a tutorial has found, said once and put wherever it belongs: tables on stdout and in the report, plots as PNG and in
// the report, claims in the exit code and in the report.
//
//   Results results(context, options.out, "OBQ, OBS, OBD", "one layer at a time");
//   results.table("Output errors", errors, "Shares of plain rounding's.");
//   results.plot("errors", bars, "Below 1: better than rounding.");
//   results.claim(highest(shares) < 1, "OBQ is below rounding", spread(shares));
//   return results.save();

#include <string>

#include "tutorials/support/over_seeds.h"
#include "tutorials/support/report.h"
#include "tutorials/support/run_folder.h"

namespace chalk {

struct Results {
  Context& context;
  RunFolder folder;  // made, with its config.json, before anything is measured
  Report report;

  Results(Context& context, const std::string& out, const std::string& title, const std::string& summary);

  // A section of its own; nothing on stdout with --json.
  void table(const std::string& heading, const Table& table, const std::string& caption = "");
  // plots/FILE.png
  template <class Plot>
  void plot(const std::string& file, const Plot& plot, const std::string& caption) {
    save_png(plot, folder.path("plots/" + file + ".png"));
    report.plot(plot, caption);
  }
  // See Context::claim.
  void claim(bool holds, const std::string& text, const std::string& measured = "");

  // Writes report.html, how to make it again at its end. Returns 0: whether a claim failed, run_program knows.
  int save();
};

}  // namespace chalk
