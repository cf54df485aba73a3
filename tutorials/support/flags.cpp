// CLI11 cuts the command line into flags and texts; the conversion of a text to a number is ours, so that
// every message says what was got and what was expected, and a config file goes through the same checks as a
// flag.
#include "tutorials/support/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

#include "autograd/check.h"
#include "models/io/json.h"

namespace chalk {
namespace {

std::string in_quotes(const std::string& text) {
  return "\"" + text + "\"";
}

// `where` says who is speaking: "--steps" or "run.json: steps".
[[noreturn]] void refuse(const std::string& where, const std::string& got, const std::string& expected) {
  throw UsageError(fmt::format("{}: got {}, expected {}", where, got, expected));
}

std::string number_text(double v) {
  return v == std::floor(v) ? fmt::format("{:.0f}", v) : fmt::format("{}", v);
}

std::string range_text(const Flag& flag) {
  const bool low = std::isfinite(flag.min), high = std::isfinite(flag.max);
  if (low && high) return fmt::format(" between {} and {}", number_text(flag.min), number_text(flag.max));
  if (low) return fmt::format(" of at least {}", number_text(flag.min));
  if (high) return fmt::format(" of at most {}", number_text(flag.max));
  return "";
}

std::string kind_text(const Flag& flag) {
  const bool real =
      std::holds_alternative<float*>(flag.target) || std::holds_alternative<double*>(flag.target);
  return (real ? "a number" : "a whole number") + range_text(flag);
}

template <class Number>
Number parse_number(const Flag& flag, const std::string& where, const std::string& text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const bool ok = error == std::errc() && stop == end && std::isfinite(double(value));
  if (!ok || double(value) < flag.min || double(value) > flag.max)
    refuse(where, in_quotes(text), kind_text(flag));
  return value;
}

bool parse_bool(const std::string& where, const std::string& text) {
  if (text == "true" || text == "1") return true;
  if (text == "false" || text == "0") return false;
  refuse(where, in_quotes(text), "true or false");
}

std::string checked_choice(const Flag& flag, const std::string& where, const std::string& text) {
  const auto& all = flag.choices;
  if (all.empty() || std::find(all.begin(), all.end(), text) != all.end()) return text;
  refuse(where, in_quotes(text), fmt::format("one of {}", fmt::join(all, ", ")));
}

// One text into the flag's target, by the target's type.
struct SetFromText {
  const Flag& flag;
  const std::string& where;
  const std::string& text;
  void operator()(bool* target) const { *target = parse_bool(where, text); }
  void operator()(std::string* target) const { *target = checked_choice(flag, where, text); }
  void operator()(std::vector<std::string>* target) const {
    target->push_back(checked_choice(flag, where, text));
  }
  template <class Number>
  void operator()(Number* target) const {
    *target = parse_number<Number>(flag, where, text);
  }
};

void set_from_text(Flag& flag, const std::string& where, const std::string& text) {
  std::visit(SetFromText{flag, where, text}, flag.target);
}

bool is_text(const Flag& flag) {
  return std::holds_alternative<std::string*>(flag.target) ||
         std::holds_alternative<std::vector<std::string>*>(flag.target);
}

// A JSON value into the flag's target. 200 may fill a float; "200" may not fill an int.
void set_from_json(Flag& flag, const std::string& where, const Json& value) {
  auto* list = std::get_if<std::vector<std::string>*>(&flag.target);
  if (list && value.is_array()) {
    (*list)->clear();
    for (const Json& item : value) set_from_json(flag, where, item);
  } else if (is_text(flag)) {
    if (!value.is_string()) refuse(where, to_text(value), list ? "a list of texts" : "a text");
    set_from_text(flag, where, value.get<std::string>());
  } else if (std::holds_alternative<bool*>(flag.target)) {
    if (!value.is_boolean()) refuse(where, to_text(value), "true or false");
    set_from_text(flag, where, value.get<bool>() ? "true" : "false");
  } else {
    if (!value.is_number()) refuse(where, to_text(value), kind_text(flag));
    set_from_text(flag, where, value.dump());
  }
}

// Number of single-letter edits between two words (Levenshtein), for "did you mean".
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); j++) row[j] = j;
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

// Floats are recorded by their shortest text: 0.0003, not 0.0003000000142492354.
Json Flag::value() const {
  auto read = [](auto* target) -> Json {
    if constexpr (std::is_same_v<decltype(target), float*>)
      return Json::parse(fmt::format("{}", *target));
    else
      return Json(*target);
  };
  return std::visit(read, target);
}

Flag& Flag::one_of(std::vector<std::string> allowed) {
  return choices = std::move(allowed), *this;
}
Flag& Flag::between(double low, double high) {
  return min = low, max = high, *this;
}
Flag& Flag::at_least(double low) {
  return min = low, *this;
}
Flag& Flag::required() {
  return is_required = true, *this;
}

Flag& Flags::add(const std::string& name, FlagTarget target, const std::string& help) {
  check(name.rfind("--", 0) == 0 && !find(name), "flag {}: its name must start with -- and be new", name);
  return flags_.emplace_back(Flag{.name = name, .target = target, .help = help});
}

void Flags::preset(const std::string& name, const Json& values, const std::string& help) {
  presets_.push_back({name, {values, help}});
}

Flag* Flags::find(const std::string& name) {
  for (Flag& flag : flags_) {
    if (flag.name == name) return &flag;
  }
  return nullptr;
}
const Flag* Flags::find(const std::string& name) const {
  return const_cast<Flags*>(this)->find(name);
}

std::string Flags::closest(const std::string& name) const {
  const Flag* best = nullptr;
  size_t fewest = 3;  // more edits than that is another word
  for (const Flag& flag : flags_) {
    const size_t edits = edit_distance(name, flag.name);
    if (edits < fewest) fewest = edits, best = &flag;
  }
  return best ? fmt::format("; did you mean {}?", best->name) : "; --help lists the flags";
}

// Values of a file or a preset, for every flag that nobody stronger has set. "run" is what the program adds
// about itself.
void Flags::apply(const Json& values, FlagSource source, const std::string& where) {
  if (!values.is_object()) refuse(where, values.type_name(), "an object {\"flag\": value, ...}");
  for (const auto& [key, value] : values.items()) {
    if (key == "run") continue;
    if (key == "preset") {
      if (!value.is_string()) refuse(where + ": preset", to_text(value), "a text");
      continue;
    }
    Flag* flag = find("--" + key);
    if (!flag || !flag->in_config)
      throw UsageError(fmt::format("{}: {}: unknown flag{}", where, key, closest("--" + key)));
    if (int(flag->source) >= int(source)) continue;
    set_from_json(*flag, where + ": " + key, value);
    flag->source = source;
  }
}

// CLI11's part: the texts given to each flag, in order. Nothing is converted yet.
std::map<std::string, std::vector<std::string>> Flags::cut(int argc, const char* const* argv) {
  CLI::App app;
  app.set_help_flag();  // none: --help is ours
  app.add_flag("-h,--help", help_wanted);
  app.add_flag("--version", version_wanted);
  app.add_flag("--dump-config", dump_config_wanted);
  app.add_option("--config", config_path_);
  if (!presets_.empty()) app.add_option("--preset", preset_name_);
  std::map<std::string, CLI::Option*> options;
  for (const Flag& flag : flags_) {
    const bool is_bool = std::holds_alternative<bool*>(flag.target);
    CLI::Option* option = is_bool ? app.add_flag(flag.name) : app.add_option(flag.name);
    // One text per flag, taken as it is: a prompt may well be "[a,b]" or start with a dash.
    if (!is_bool)
      option->expected(1)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)->allow_extra_args(false);
    options[flag.name] = option;
  }
  app.allow_extras();
  std::vector<std::string> words;  // CLI11 wants the last one first
  for (int i = argc - 1; i > 0; i--) {
    std::string word = argv[i];
    if (word.rfind("--", 0) == 0 &&
        word.find('=') == word.size() - 1) {  // "--prompt=" is an empty text to us
      words.push_back("");
      word.pop_back();
    }
    words.push_back(word);
  }
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& e) {
    throw UsageError(std::string(e.what()) + "; --help lists the flags");
  }
  std::map<std::string, std::vector<std::string>> texts;
  for (const auto& [name, option] : options) texts[name] = option->results();
  for (const std::string& extra : app.remaining()) {
    if (!help_wanted) throw UsageError(extra + ": unknown flag" + closest(extra.substr(0, extra.find('='))));
  }
  return texts;
}

void Flags::parse(int argc, const char* const* argv) {
  std::map<std::string, std::vector<std::string>> texts = cut(argc, argv);
  if (help_wanted || version_wanted) return;
  for (Flag& flag : flags_) {
    const std::vector<std::string>& given = texts[flag.name];
    if (given.empty()) continue;
    auto* list = std::get_if<std::vector<std::string>*>(&flag.target);
    if (list)
      (*list)->clear();
    else if (given.size() > 1)
      throw UsageError(fmt::format("{}: given {} times, expected once", flag.name, given.size()));
    for (const std::string& text : given) set_from_text(flag, flag.name, text);
    flag.source = FlagSource::CommandLine;
  }
  if (!config_path_.empty()) parse_config();
  if (!preset_name_.empty()) parse_preset();
  for (const Flag& flag : flags_) {
    if (flag.is_required && flag.source == FlagSource::Default)
      throw UsageError(flag.name + ": this flag is required");
  }
}

void Flags::parse_config() {
  const Json values = Json(read_json(config_path_));
  try {
    apply(values, FlagSource::Config, config_path_);
  } catch (const UsageError& e) {
    throw Error(e.what(), 3);  // the fault is in the file, not in the command
  }
  if (preset_name_.empty() && values.contains("preset")) preset_name_ = values["preset"].get<std::string>();
}

void Flags::parse_preset() {
  std::vector<std::string> names;
  for (const auto& [name, preset] : presets_) {
    if (name == preset_name_) return apply(preset.values, FlagSource::Preset, "preset " + name);
    names.push_back(name);
  }
  refuse("--preset", in_quotes(preset_name_), fmt::format("one of {}", fmt::join(names, ", ")));
}

FlagSource Flags::source(const std::string& name) const {
  const Flag* flag = find(name);
  check(flag != nullptr, "flag {} was never added", name);
  return flag->source;
}

Json Flags::config() const {
  Json config = Json::object();
  if (!preset_name_.empty()) config["preset"] = preset_name_;
  for (const Flag& flag : flags_) {
    if (flag.in_config) config[flag.key()] = flag.value();
  }
  return config;
}

}  // namespace chalk
