// What --help prints: an example to copy first, then what the program is for, then every flag with its
// default.
#include <algorithm>

#include "autograd/check.h"
#include "tutorials/support/flags.h"

namespace chalk {
namespace {

// "  --name VALUE   help", the help wrapped at column 100.
std::string help_line(const std::string& left, const std::string& help) {
  const size_t column = 30, width = 100;
  std::string out = "  " + left;
  size_t at = out.size();
  auto new_line = [&] { out += "\n" + std::string(column, ' '), at = column; };
  if (at + 2 > column)
    new_line();
  else
    out += std::string(column - at, ' '), at = column;
  for (size_t begin = 0; begin < help.size();) {
    const size_t end = std::min(help.find(' ', begin), help.size());
    if (at + (end - begin) > width && at > column) new_line();
    out += help.substr(begin, end - begin) + " ";
    at += end - begin + 1;
    begin = end + 1;
  }
  while (out.back() == ' ') out.pop_back();
  return out + "\n";
}

std::string placeholder(const Flag& flag) {
  if (!flag.choices.empty()) return fmt::format(" {}", fmt::join(flag.choices, "|"));
  if (std::holds_alternative<bool*>(flag.target)) return "";
  const bool text = std::holds_alternative<std::string*>(flag.target) ||
                    std::holds_alternative<std::vector<std::string>*>(flag.target);
  return text ? " TEXT" : " N";
}

std::string help_of(const Flag& flag) {
  std::string text = flag.help;
  const Json value = flag.value();
  const bool empty =
      (value.is_string() && value.get<std::string>().empty()) || value.is_array() || value == false;
  if (flag.is_required)
    text += " (required)";
  else if (value.is_string() && !empty)
    text += " (default " + value.get<std::string>() + ")";
  else if (!empty)
    text += " (default " + to_text(value) + ")";
  return help_line(flag.name + placeholder(flag), text);
}

}  // namespace

std::string Flags::help(const std::string& program, const std::string& about,
                        const std::string& example) const {
  std::string out = "Example:\n";
  for (size_t begin = 0; begin < example.size();) {
    const size_t end = std::min(example.find('\n', begin), example.size());
    out += "  " + example.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  out += fmt::format("\n{}: {}\n\nFlags:\n", program, about);
  for (const Flag& flag : flags_) {
    if (!flag.is_common) out += help_of(flag);
  }
  for (const auto& [name, preset] : presets_) out += help_line("--preset " + name, preset.help);
  out += "\nFlags of every program:\n";
  for (const Flag& flag : flags_) {
    if (flag.is_common) out += help_of(flag);
  }
  out += help_line("--config FILE",
                   "JSON with flag values (a run's config.json is one); a flag given here wins over it");
  out += help_line("--dump-config", "print the final values as JSON and stop");
  out += help_line("-h, --help; --version", "");
  return out +
         "\nExit codes: 0 ok, 1 runtime error, 2 usage, 3 bad input file, 4 backend unavailable, 5 a checked "
         "claim\n"
         "failed, 130 interrupted after saving.\n";
}

}  // namespace chalk
