#pragma once
// The key/value part of a GGUF file: sizes and constants of the model, and its whole tokenizer.
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace chalk {

// The numbers are those stored in the file.
enum class GgufType : uint32_t { U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64 };

// One value. The variant is wider than the file: every unsigned type and bool is a uint64_t, every signed
// type an int64_t, F32 and F64 a double (exact); `type` says how it was and will be stored. For an array,
// `type` is Array and `element_type` the type of its elements.
struct GgufValue {
  GgufType type = GgufType::U32;
  GgufType element_type = GgufType::U32;
  std::variant<uint64_t, int64_t, double, std::string, std::vector<uint64_t>, std::vector<int64_t>,
               std::vector<double>, std::vector<std::string>>
      value;

  static GgufValue u32(uint32_t number) { return {GgufType::U32, {}, uint64_t{number}}; }
  static GgufValue f32(float number) { return {GgufType::F32, {}, double{number}}; }
  static GgufValue boolean(bool flag) { return {GgufType::Bool, {}, uint64_t{flag}}; }
  static GgufValue text(std::string string) { return {GgufType::String, {}, std::move(string)}; }
  static GgufValue texts(std::vector<std::string> list) {
    return {GgufType::Array, GgufType::String, std::move(list)};
  }
  static GgufValue i32s(std::vector<int64_t> list) {
    return {GgufType::Array, GgufType::I32, std::move(list)};
  }
  static GgufValue f32s(std::vector<double> list) {
    return {GgufType::Array, GgufType::F32, std::move(list)};
  }
};

// All pairs, in file order, with getters that check type and range. `path` names the file in errors.
struct GgufMetadata {
  struct Entry {
    std::string key;
    GgufValue value;
  };
  std::vector<Entry> entries;
  std::string path;

  bool empty() const { return entries.empty(); }
  const GgufValue* find(const std::string& key) const;  // null if absent
  void set(const std::string& key, GgufValue value);    // replaces or appends

  // Any integer type will do: writers do not agree on u32, i32 or u64.
  int64_t get_int(const std::string& key, int64_t min, int64_t max) const;
  int64_t get_int(const std::string& key, int64_t min, int64_t max, int64_t fallback) const;
  // F32 is read as the shortest decimal that names it, so that 1e-5 does not become
  // 9.99999975e-6.
  double get_number(const std::string& key, double min, double max) const;
  double get_number(const std::string& key, double min, double max, double fallback) const;
  bool get_bool(const std::string& key, bool fallback) const;
  std::string get_string(const std::string& key) const;
  std::string get_string(const std::string& key, const std::string& fallback) const;
  std::vector<std::string> get_strings(const std::string& key) const;
  std::vector<double> get_numbers(const std::string& key) const;  // floats or integers
  std::vector<int64_t> get_ints(const std::string& key) const;
};

}  // namespace chalk
