#include "tutorials/support/results.h"

namespace chalk {

Results::Results(Context& context, const std::string& out, const std::string& title,
                 const std::string& summary)
    : context(context), folder(out, true), report(title, summary) {
  folder.write_config(context);
}

void Results::table(const std::string& heading, const Table& table, const std::string& caption) {
  if (!context.json) print(heading + "\n" + to_text(table) + "\n");
  report.section(heading);
  report.table(table, caption);
}

void Results::claim(bool holds, const std::string& text, const std::string& measured) {
  context.claim(holds, text, measured);
  report.claim(holds, text, measured);
}

int Results::save() {
  report.environment(context);
  report.save(folder.path("report.html"));
  context.result["report"] = folder.path("report.html");
  return 0;
}

}  // namespace chalk
