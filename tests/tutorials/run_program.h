#pragma once
// Runs one of Chalk's programs as a user would, and catches what it says.

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

namespace chalk {

struct ProgramOutcome {
  int exit_code = -1;  // 128 + signal when it was killed
  std::string out, err;

  nlohmann::json json() const {  // the last line of stdout
    std::string text = out;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return nlohmann::json::parse(text.substr(text.rfind('\n') + 1), nullptr, false);
  }
};

// A folder of its own for one test, removed at the end.
struct TestFolder {
  TestFolder() {
    std::string name = std::filesystem::temp_directory_path() / "chalk_test_XXXXXX";
    path = mkdtemp(name.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path); }
  std::string operator/(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

// The folder of the programs, from the place of this test: build/bin/tests/tutorials/x_test -> build/bin.
inline std::string program_folder() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path().parent_path();
}

// Runs `program arguments` through the shell; `before` may set limits or variables ("ulimit -f 10;").
inline ProgramOutcome run_chalk(const std::string& program, const std::string& arguments, const std::string& before = "") {
  TestFolder folder;
  const std::string command = before + " " + program_folder() + "/" + program + " " + arguments + " >" + (folder / "out") +
                              " 2>" + (folder / "err") + " </dev/null";
  const int status = std::system(command.c_str());
  auto read = [](const std::string& path) {
    std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  };
  ProgramOutcome outcome;
  outcome.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  outcome.out = read(folder / "out");
  outcome.err = read(folder / "err");
  return outcome;
}

inline std::string quoted(const std::string& text) {
  std::string result = "'";
  for (char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + "'";
}

// A file or folder below CHALK_DATA; empty when it is not there.
inline std::string data_path(const std::string& name) {
  const char* data = std::getenv("CHALK_DATA");
  const std::string path = std::string(data ? data : "data") + "/" + name;
  return std::filesystem::exists(path) ? path : "";
}

}  // namespace chalk
