#include "models/io/json.h"

#include <nlohmann/json.hpp>
#include <unordered_set>
#include <vector>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {
namespace {

using nlohmann::json;

// Null when the key is absent or null.
const json* look_up(const json& object, const std::string& path, const std::string& key) {
  check_object(object, path, key);
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

[[noreturn]] void wrong_type(const std::string& path, const std::string& key, const char* expected,
                             const json* got) {
  if (got == nullptr) throw FileError(path, key, fmt::format("is missing, expected {}", expected));
  throw FileError(path, key, fmt::format("is of type {}, expected {}", got->type_name(), expected));
}

}  // namespace

json parse_json(std::string_view text, const std::string& path, const std::string& field, int max_depth) {
  std::vector<std::unordered_set<std::string>> open_objects;  // keys seen so far, one set per open brace
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth > max_depth)
      throw FileError(path, field, fmt::format("JSON nested deeper than {} levels", max_depth));
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second)
      throw FileError(path, field, "JSON key \"" + printable(parsed.get<std::string>()) + "\" appears twice");
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& problem) {
    throw FileError(path, field, std::string("is not valid JSON: ") + problem.what());
  }
}

json read_json(const std::string& path, size_t max_bytes) {
  const MappedFile file(path);
  if (file.size > max_bytes)
    throw FileError(path, "", fmt::format("has {} bytes, expected JSON of at most {}", file.size, max_bytes));
  return parse_json({reinterpret_cast<const char*>(file.data), file.size}, path);
}

void check_object(const json& value, const std::string& path, const std::string& field) {
  if (!value.is_object())
    throw FileError(path, field,
                    fmt::format("found JSON of type {} where an object was expected", value.type_name()));
}

int64_t get_int(const json& object, const std::string& path, const std::string& key, int64_t min, int64_t max,
                std::optional<int64_t> fallback) {
  const json* value = look_up(object, path, key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number_integer()) wrong_type(path, key, "an integer", value);
  const bool beyond_int64 =
      value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  if (beyond_int64 || value->get<int64_t>() < min || value->get<int64_t>() > max)
    throw FileError(path, key, fmt::format("is {}, expected {} to {}", value->dump(), min, max));
  return value->get<int64_t>();
}

double get_number(const json& object, const std::string& path, const std::string& key, double min, double max,
                  std::optional<double> fallback) {
  const json* value = look_up(object, path, key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number()) wrong_type(path, key, "a number", value);
  const double number = value->get<double>();
  if (!(number >= min && number <= max))
    throw FileError(path, key, fmt::format("is {}, expected {} to {}", value->dump(), min, max));
  return number;
}

bool get_bool(const json& object, const std::string& path, const std::string& key,
              std::optional<bool> fallback) {
  const json* value = look_up(object, path, key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) wrong_type(path, key, "true or false", value);
  return value->get<bool>();
}

std::string get_string(const json& object, const std::string& path, const std::string& key,
                       std::optional<std::string> fallback) {
  const json* value = look_up(object, path, key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_string()) wrong_type(path, key, "a string", value);
  return value->get<std::string>();
}

}  // namespace chalk
