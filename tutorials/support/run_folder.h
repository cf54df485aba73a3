#pragma once
// runs/<name>/: everything that one run leaves behind.
//
//   config.json     every flag's value, and under "run" the command, date, backend; itself a valid --config
//   metrics.jsonl   one JSON object per line, each with a "step"
//   samples/        texts generated on the way
//   plots/          PNG pictures
//   report.html     one self-contained page
// Checkpoints are written into the same folder by the program (a Hugging Face folder each).
#include <cstdio>
#include <string>
#include <vector>

#include "tutorials/support/program.h"

namespace chalk {

class RunFolder {
 public:
  // Makes the folder if need be. Throws Error (exit 1) if it cannot be written, UsageError (exit 2) if it
  // already holds a run that `resume` does not ask to go on with.
  RunFolder(const std::string& path, bool resume);
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::string& path() const { return path_; }
  std::string path(const std::string& name) const { return path_ + "/" + name; }  // path("plots/loss.png")

  void write_config(const Context& context) const;
  void write_sample(int64_t step, const std::string& text) const;  // samples/step_000100.txt

  // Appends one line and hands it to the system, so that a killed run keeps every step it reported. A NaN
  // becomes null with "nan": true. Throws Error (exit 1) on a full disk.
  void log(const Json& row);

  // On resume: forgets rows after `step` (and a last line that a kill cut short), so that no step is there
  // twice.
  void rewind_metrics(int64_t step);
  std::vector<Json> metrics() const;  // all rows so far, for plots that span a resume

 private:
  void open_metrics();
  std::string path_;
  FILE* metrics_file_ = nullptr;
};

}  // namespace chalk
