#pragma once
// The one entry of every program: common flags, one place where errors become exit codes, results on stdout.
//
//   int main(int argc, char** argv) {
//     Options options;                                    // the program's own struct, with defaults
//     return chalk::run_program(argc, argv, {
//         .name = "generate",
//         .about = "continues a prompt with a trained model",
//         .example = "build/bin/generate --model runs/demo --prompt 'Anna lives in'",
//         .flags = [&](chalk::Flags& f) { f.add("--prompt", &options.prompt, "text to continue").required(); },
//         .run = [&](chalk::Context& context) { return generate(options, context); }});
//   }
//
// Exit codes: 0 ok, 1 runtime error, 2 usage, 3 missing or bad input file, 4 backend unavailable, 5 a checked
// claim failed, 130 interrupted after saving.
#include <fmt/format.h>

#include <functional>
#include <string>
#include <vector>

#include "kernels/device.h"
#include "tutorials/support/environment.h"
#include "tutorials/support/flags.h"

namespace chalk {

// What run_program() hands to the program: the common flags' values, and the places where it puts what it
// found.
struct Context {
  Device device = Device::CPU;  // --device
  uint64_t seed = 1337;         // --seed
  int threads = 1;              // --threads; OpenMP is already set to it
  bool json = false;            // --json: run_program prints `result` as the last line of stdout
  bool quiet = false;           // --quiet
  std::string name;             // of the program
  std::vector<std::string> arguments;
  Environment environment;
  Json config;                   // every flag's final value
  Json result = Json::object();  // the program fills it
  std::vector<std::string> failed_claims;

  // A message for people, one line on stderr; silent with --quiet.
  void say(const std::string& message) const;

  // Every tutorial ends by checking what it claims. A claim that does not hold makes the program exit with 5.
  //   context.claim(loss < 2.0, "the loss is below 2.0", fmt::format("{:.3f}", loss));
  void claim(bool holds, const std::string& claim, const std::string& measured = "");

  // After an interrupt: prints the command that goes on from `saved_in`, returns 130 for main to return.
  int interrupted(const std::string& saved_in) const;
};

struct Program {
  std::string name;
  std::string about;    // one sentence, lower case, for --help
  std::string example;  // the first thing --help shows; may be several lines
  std::function<void(Flags&)> flags = nullptr;
  std::function<int(Context&)> run;  // returns the exit code, normally 0
  std::function<void(Context&)> prepare = nullptr;  // before the first message: may set `quiet`
};

// Parses, runs, and turns every failure into one line on stderr, `name: error: ...`, and an exit code.
int run_program(int argc, char** argv, const Program& program);

// Writes to stdout. Throws Error (exit 1) when it cannot be written: a full disk, a closed pipe.
void print(const std::string& text);

}  // namespace chalk
