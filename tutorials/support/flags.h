#pragma once
// The command line of every program: flags that map one to one to the fields of an options struct, a JSON
// config file, presets, and a --help that starts with an example.
//
// Who wins:  flag on the command line  >  --config file  >  --preset  >  the struct's default.
#include <deque>
#include <limits>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "tutorials/support/json.h"

namespace chalk {

// Where a flag's value goes: a field of the program's own struct. A vector collects repeated flags.
using FlagTarget =
    std::variant<bool*, int*, int64_t*, uint64_t*, float*, double*, std::string*, std::vector<std::string>*>;

enum class FlagSource { Default, Preset, Config, CommandLine };

struct Flag {
  std::string name;  // "--max-new-tokens"
  FlagTarget target;
  std::string help;
  std::vector<std::string> choices = {};  // when not empty, the value must be one of these
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool is_required = false;
  bool in_config = true;  // false: belongs to one call (--json, --quiet), never to the run's config.json
  bool is_common = false;
  FlagSource source = FlagSource::Default;

  // Written after add(): flags.add("--steps", &steps, "...").at_least(1);
  Flag& one_of(std::vector<std::string> allowed);
  Flag& between(double low, double high);
  Flag& at_least(double low);
  Flag& required();

  Json value() const;                                 // what the target holds now
  std::string key() const { return name.substr(2); }  // its name in a config file: "max-new-tokens"
};

class Flags {
 public:
  // `name` starts with "--"; `target` holds the default. A bool flag needs no value (--resume, or
  // --resume=false).
  Flag& add(const std::string& name, FlagTarget target, const std::string& help);

  // Lists the flag under "Flags of every program".
  void mark_common(const std::string& name) { find(name)->is_common = true; }

  // A named set of values, chosen by --preset NAME:
  //   flags.preset("1min", {{"steps", 200}, {"width", 64}}, "a first look");
  void preset(const std::string& name, const Json& values, const std::string& help);

  // Fills the targets from the command line, then from --config and --preset where the command line is
  // silent. Throws UsageError (exit 2) for a bad flag or value, FileError (exit 3) for a bad config file.
  void parse(int argc, const char* const* argv);

  bool help_wanted = false;         // -h, --help
  bool version_wanted = false;      // --version
  bool dump_config_wanted = false;  // --dump-config: print the final config as JSON and stop

  FlagSource source(const std::string& name) const;  // who set the value of --name
  bool given(const std::string& name) const { return source(name) != FlagSource::Default; }
  Json config() const;  // every flag's final value; written to a file, it is a valid --config
  std::string help(const std::string& program, const std::string& about, const std::string& example) const;

 private:
  struct Preset {
    Json values;
    std::string help;
  };
  Flag* find(const std::string& name);
  const Flag* find(const std::string& name) const;
  std::string closest(const std::string& name) const;
  std::map<std::string, std::vector<std::string>> cut(int argc, const char* const* argv);
  void parse_config();
  void parse_preset();
  void apply(const Json& values, FlagSource source, const std::string& where);

  std::deque<Flag> flags_;  // a deque: references that add() returned stay valid
  std::vector<std::pair<std::string, Preset>> presets_;
  std::string config_path_, preset_name_;
};

}  // namespace chalk
