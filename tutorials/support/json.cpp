#include "tutorials/support/json.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "autograd/check.h"
#include "tutorials/support/files.h"

namespace chalk {

Json without_nan(Json value) {
  if (!value.is_structured()) return value;
  bool found = false;
  for (Json& child : value) {
    if (child.is_number_float() && !std::isfinite(child.get<double>())) {
      child = nullptr;
      found = true;
    } else {
      child = without_nan(std::move(child));
    }
  }
  if (found && value.is_object()) value["nan"] = true;
  return value;
}

std::string to_text(const Json& value, int indent) {
  return without_nan(value).dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json read_json(const std::string& path, int64_t max_bytes) {
  const std::string text = read_file(path, max_bytes);
  std::vector<std::set<std::string>> open_objects;  // the keys seen so far in each object that is still open
  std::string repeated;
  bool too_deep = false;
  auto watch = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > 64) too_deep = true;
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      repeated = parsed.get<std::string>();
    }
    return !too_deep;  // false drops the value: a hostile file cannot make us build it
  };
  Json value;
  try {
    value = Json::parse(text, watch);
  } catch (const Json::parse_error& e) {
    const auto end = text.begin() + std::min<size_t>(e.byte, text.size());
    const int64_t line = 1 + std::count(text.begin(), end, '\n');
    throw FileError(path, fmt::format("line {}", line),
                    "this is not JSON: expected a value, a comma or a bracket");
  }
  if (too_deep) throw FileError(path, "", "nested deeper than 64 levels");
  if (!repeated.empty()) throw FileError(path, repeated, "this key is given twice in one object");
  return value;
}

}  // namespace chalk
