// Comma-separated values as spreadsheets write them (RFC 4180).
#include <algorithm>

#include "autograd/check.h"
#include "models/evaluate_files.h"
#include "models/io/file.h"

namespace chalk {

namespace {

// Reads one field from `at` on, leaves `at` behind it (on a comma, a line break or the end).
std::string csv_field(const std::string& text, size_t& at, const std::string& path, size_t row) {
  std::string field;
  if (at >= text.size() || text[at] != '"') {
    const size_t end = std::min(text.find_first_of(",\r\n", at), text.size());
    field = text.substr(at, end - at);
    at = end;
    return field;
  }
  for (at++; at < text.size(); at++) {
    if (text[at] != '"') {
      field += text[at];
    } else if (at + 1 < text.size() && text[at + 1] == '"') {
      field += text[at++];  // "" inside quotes is one quote
    } else {
      at++;
      return field;
    }
  }
  throw FileError(path, fmt::format("row {}", row), "a quoted field is not closed");
}

}  // namespace

std::vector<std::vector<std::string>> read_csv(const std::string& path) {
  const std::string text = read_text(path, size_t(256) << 20);
  std::vector<std::vector<std::string>> rows;
  size_t at = text.rfind("\xEF\xBB\xBF", 0) == 0 ? 3 : 0;
  while (at < text.size()) {
    std::vector<std::string> row;
    for (;;) {
      row.push_back(csv_field(text, at, path, rows.size()));
      if (at >= text.size() || text[at] != ',') break;
      at++;
    }
    if (at < text.size() && text[at] == '\r') at++;
    if (at < text.size() && text[at] != '\n')
      throw FileError(path, fmt::format("row {}", rows.size()), "text after a closing quote");
    at++;
    if (row.size() == 1 && row[0].empty()) continue;  // a blank line
    if (!rows.empty() && row.size() != rows[0].size())
      throw FileError(path, fmt::format("row {}", rows.size()),
                      fmt::format("has {} fields, the header has {}", row.size(), rows[0].size()));
    rows.push_back(std::move(row));
  }
  if (rows.empty()) throw FileError(path, "", "is empty");
  return rows;
}

}  // namespace chalk
