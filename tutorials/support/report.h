#pragma once
// report.html: one file that explains a run to somebody who was not there. Pictures are inside it, there is
// no script and nothing is loaded from elsewhere, so it can be mailed, archived, or opened in ten years. It
// follows the reader's dark mode.
//
//   Report report("A LLaMA that learned a small world", "1.2 M parameters, 3 minutes on 2 cores");
//   report.figures({{"loss", "1.13", "nats per token"}, {"facts", "98 %", "chance 5 %"}});
//   report.section("Learning");
//   report.plot(loss_plot, "The average over 50 steps; the dashed line is the pass mark.");
//   report.environment(context);
//   report.save(run.path("report.html"));
#include <string>
#include <vector>

#include "tutorials/support/plot.h"
#include "tutorials/support/program.h"
#include "tutorials/support/table.h"

namespace chalk {

// One number that matters, shown large.
struct KeyFigure {
  std::string name, value, note = "";
};

// Text made safe inside HTML: & < > " ' escaped, control characters and bytes that are no UTF-8 shown as
// U+FFFD.
std::string html_escaped(const std::string& text);
std::string base64(const std::string& bytes);

class Report {
 public:
  Report(std::string title, std::string summary);

  void section(const std::string& heading);
  void text(const std::string& paragraph);
  void figures(const std::vector<KeyFigure>& figures);
  void table(const Table& table, const std::string& caption = "");
  void code(const std::string& text, const std::string& caption = "");                 // a command, a log
  void sample(const std::string& prompt, const std::string& continuation);             // what the model wrote
  void claim(bool holds, const std::string& claim, const std::string& measured = "");  // see Context::claim
  void image(const std::string& png_path, const std::string& caption);

  // Drawn in both themes; the browser shows the one that fits.
  template <class Plot>
  void plot(const Plot& plot, const std::string& caption) {
    picture(render_png(plot, Theme::Light), render_png(plot, Theme::Dark), plot.title, caption);
  }

  // The command, date, processor, SIMD target, threads and compiler; every flag's value in a part that folds
  // out.
  void environment(const Context& context);

  std::string html() const;
  void save(const std::string& path) const;

 private:
  void picture(const std::string& light_png, const std::string& dark_png, const std::string& title,
               const std::string& caption);
  std::string title_, summary_, body_;
};

}  // namespace chalk
