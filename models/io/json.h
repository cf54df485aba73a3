#pragma once
// JSON from files that may lie: parsing that refuses duplicate keys and deep nesting, and getters that check
// type and range. Every failure is a FileError that names the file and the key.
// Parsed objects are nlohmann::json (keys sorted, look-up in log n); for output use nlohmann::ordered_json,
// which keeps the order of insertion but looks keys up one after another, so that parsing a large object with
// it is quadratic.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace chalk {

// `path` and `field` only name the source in messages.
nlohmann::json parse_json(std::string_view text, const std::string& path, const std::string& field = "",
                          int max_depth = 64);

// Parses a whole file of at most `max_bytes`.
nlohmann::json read_json(const std::string& path, size_t max_bytes = size_t{256} << 20);

// object[key]. An absent key or a null gives the fallback; without a fallback it is an error. So is a value
// of another type (true is not 1, 1.0 is not an integer) or out of [min, max]. `object` itself must be a JSON
// object.
int64_t get_int(const nlohmann::json& object, const std::string& path, const std::string& key, int64_t min,
                int64_t max, std::optional<int64_t> fallback = {});
double get_number(const nlohmann::json& object, const std::string& path, const std::string& key, double min,
                  double max, std::optional<double> fallback = {});
bool get_bool(const nlohmann::json& object, const std::string& path, const std::string& key,
              std::optional<bool> fallback = {});
std::string get_string(const nlohmann::json& object, const std::string& path, const std::string& key,
                       std::optional<std::string> fallback = {});

// Throws FileError unless `value` is a JSON object; `field` names it in the message.
void check_object(const nlohmann::json& value, const std::string& path, const std::string& field);

}  // namespace chalk
