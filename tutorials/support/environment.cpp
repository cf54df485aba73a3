#include "tutorials/support/environment.h"

#include <fmt/format.h>
#include <hwy/highway.h>

#include <ctime>
#include <fstream>

namespace chalk {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");  // absent outside Linux: then the name is unknown
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::string compiler_name() {
#ifdef __clang__
  return fmt::format("clang++ {}.{}.{}", __clang_major__, __clang_minor__, __clang_patchlevel__);
#else
  return fmt::format("g++ {}.{}.{}", __GNUC__, __GNUC_MINOR__, __GNUC_PATCHLEVEL__);
#endif
}

std::string local_time() {
  const time_t now = time(nullptr);
  tm fields{};
  localtime_r(&now, &fields);
  char text[64];
  strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &fields);
  return text;
}

}  // namespace

std::string shell_quoted(const std::vector<std::string>& arguments) {
  std::string line;
  for (const std::string& argument : arguments) {
    const bool plain = !argument.empty() && argument.find_first_not_of(
                                                "abcdefghijklmnopqrstuvwxyz"
                                                "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                "0123456789_-./=:,+@%") == std::string::npos;
    if (!line.empty()) line += ' ';
    if (plain) {
      line += argument;
      continue;
    }
    line += '\'';
    for (char c : argument) line += c == '\'' ? std::string("'\\''") : std::string(1, c);
    line += '\'';
  }
  return line;
}

Environment make_environment(const std::vector<std::string>& arguments, const std::string& device,
                             int threads) {
  Environment e;
  e.command = shell_quoted(arguments);
  e.date = local_time();
  e.device = device;
  e.simd_target = hwy::TargetName(HWY_TARGET);
  e.simd_lanes = int(hwy::HWY_NAMESPACE::Lanes(hwy::HWY_NAMESPACE::ScalableTag<float>()));
  e.threads = threads;
  e.processor = processor_name();
  e.compiler = compiler_name();
  return e;
}

std::string one_line(const Environment& e) {
  return fmt::format("device {}, {} with {} float lane{}, {} thread{}", e.device, e.simd_target, e.simd_lanes,
                     e.simd_lanes == 1 ? "" : "s", e.threads, e.threads == 1 ? "" : "s");
}

Json to_json(const Environment& e) {
  return {{"command", e.command},         {"date", e.date},       {"device", e.device},
          {"simd_target", e.simd_target}, {"threads", e.threads}, {"processor", e.processor},
          {"compiler", e.compiler}};
}

}  // namespace chalk
