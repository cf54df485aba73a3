#include "models/io/gguf_metadata.h"

#include <cstdlib>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {
namespace {

const GgufValue& required(const GgufMetadata& metadata, const std::string& key) {
  const GgufValue* value = metadata.find(key);
  if (value == nullptr) throw FileError(metadata.path, key, "is missing from the metadata");
  return *value;
}

template <class T>
const T& of_type(const GgufMetadata& metadata, const std::string& key, const char* expected) {
  const T* value = std::get_if<T>(&required(metadata, key).value);
  if (value == nullptr)
    throw FileError(metadata.path, key, std::string("has the wrong type, expected ") + expected);
  return *value;
}

}  // namespace

const GgufValue* GgufMetadata::find(const std::string& key) const {
  for (const Entry& entry : entries)
    if (entry.key == key) return &entry.value;
  return nullptr;
}

void GgufMetadata::set(const std::string& key, GgufValue value) {
  for (Entry& entry : entries) {
    if (entry.key != key) continue;
    entry.value = std::move(value);
    return;
  }
  entries.push_back({key, std::move(value)});
}

int64_t GgufMetadata::get_int(const std::string& key, int64_t min, int64_t max) const {
  const GgufValue& value = required(*this, key);
  int64_t number = 0;
  bool fits = value.type != GgufType::Bool;
  if (const uint64_t* natural = std::get_if<uint64_t>(&value.value); natural != nullptr) {
    fits = fits && *natural <= static_cast<uint64_t>(INT64_MAX);
    number = static_cast<int64_t>(*natural);
  } else {
    number = of_type<int64_t>(*this, key, "an integer");
  }
  if (!fits || number < min || number > max)
    throw FileError(path, key, fmt::format("is {}, expected an integer from {} to {}", number, min, max));
  return number;
}

int64_t GgufMetadata::get_int(const std::string& key, int64_t min, int64_t max, int64_t fallback) const {
  return find(key) == nullptr ? fallback : get_int(key, min, max);
}

double GgufMetadata::get_number(const std::string& key, double min, double max) const {
  double number = of_type<double>(*this, key, "a floating-point number");
  if (required(*this, key).type == GgufType::F32)
    number = std::strtod(fmt::format("{}", static_cast<float>(number)).c_str(), nullptr);
  if (!(number >= min && number <= max))
    throw FileError(path, key, fmt::format("is {}, expected {} to {}", number, min, max));
  return number;
}

double GgufMetadata::get_number(const std::string& key, double min, double max, double fallback) const {
  return find(key) == nullptr ? fallback : get_number(key, min, max);
}

bool GgufMetadata::get_bool(const std::string& key, bool fallback) const {
  const GgufValue* value = find(key);
  if (value == nullptr) return fallback;
  if (value->type != GgufType::Bool) throw FileError(path, key, "has the wrong type, expected a bool");
  return std::get<uint64_t>(value->value) != 0;
}

std::string GgufMetadata::get_string(const std::string& key) const {
  return of_type<std::string>(*this, key, "a string");
}

std::string GgufMetadata::get_string(const std::string& key, const std::string& fallback) const {
  return find(key) == nullptr ? fallback : get_string(key);
}

std::vector<std::string> GgufMetadata::get_strings(const std::string& key) const {
  return of_type<std::vector<std::string>>(*this, key, "a list of strings");
}

std::vector<double> GgufMetadata::get_numbers(const std::string& key) const {
  if (std::holds_alternative<std::vector<double>>(required(*this, key).value))
    return of_type<std::vector<double>>(*this, key, "a list of numbers");
  const std::vector<int64_t> integers = get_ints(key);
  return std::vector<double>(integers.begin(), integers.end());
}

std::vector<int64_t> GgufMetadata::get_ints(const std::string& key) const {
  const GgufValue& value = required(*this, key);
  if (const auto* natural = std::get_if<std::vector<uint64_t>>(&value.value); natural != nullptr) {
    for (const uint64_t number : *natural)
      if (number > static_cast<uint64_t>(INT64_MAX)) throw FileError(path, key, "holds a number beyond 2^63");
    return std::vector<int64_t>(natural->begin(), natural->end());
  }
  return of_type<std::vector<int64_t>>(*this, key, "a list of integers");
}

}  // namespace chalk
