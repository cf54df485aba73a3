#include "tutorials/support/run_folder.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {
namespace fs = std::filesystem;

RunFolder::RunFolder(const std::string& path, bool resume) : path_(path) {
  if (path.empty()) throw UsageError("--out: the name of the run folder is empty");
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  std::error_code absent;
  const auto logged = fs::file_size(this->path("metrics.jsonl"), absent);
  if (!resume && !absent && logged > 0) {
    throw UsageError(path_ + " already holds a run; go on with --resume, or choose another --out");
  }
  make_folders(path_);
  check(access(path_.c_str(), W_OK | X_OK) == 0, "cannot write into the folder {}: {}", path_,
        strerror(errno));
  open_metrics();
}

RunFolder::~RunFolder() {
  if (metrics_file_) fclose(metrics_file_);
}

void RunFolder::open_metrics() {
  const std::string file = path("metrics.jsonl");
  metrics_file_ = fopen(file.c_str(), "ab");
  check(metrics_file_ != nullptr, "cannot write {}: {}", file, strerror(errno));
}

void RunFolder::write_config(const Context& context) const {
  Json config = context.config;
  config["run"] = to_json(context.environment);
  write_text(path("config.json"), to_text(config, 2) + "\n");
}

void RunFolder::write_sample(int64_t step, const std::string& text) const {
  make_folders(path("samples"));
  write_text(path(fmt::format("samples/step_{:06}.txt", step)), text);
}

void RunFolder::log(const Json& row) {
  const std::string line = to_text(row) + "\n";
  const bool ok =
      fwrite(line.data(), 1, line.size(), metrics_file_) == line.size() && fflush(metrics_file_) == 0;
  check(ok, "cannot write {}: {}", path("metrics.jsonl"), strerror(errno));
}

std::vector<Json> RunFolder::metrics() const {
  const std::string file = path("metrics.jsonl");
  const std::string text = read_text(file);
  std::vector<Json> rows;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    if (end == std::string::npos) break;  // a line without its end: the process was killed while writing it
    Json row = Json::parse(text.substr(begin, end - begin), nullptr, false);
    if (!row.is_object()) throw FileError(file, fmt::format("line {}", rows.size() + 1), "not a JSON object");
    rows.push_back(std::move(row));
    begin = end + 1;
  }
  return rows;
}

void RunFolder::rewind_metrics(int64_t step) {
  std::string kept;
  for (const Json& row : metrics()) {
    const auto it = row.find("step");
    const bool later = it != row.end() && it->is_number() && it->get<int64_t>() > step;
    if (!later) kept += to_text(row) + "\n";
  }
  fclose(metrics_file_);
  metrics_file_ = nullptr;
  write_text(path("metrics.jsonl"), kept);
  open_metrics();
}

}  // namespace chalk
