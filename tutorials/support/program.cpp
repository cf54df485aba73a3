#include "tutorials/support/program.h"

#include <omp.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>

#include "autograd/check.h"
#include "kernels/cuda/runtime.h"

namespace chalk {
namespace {

constexpr const char* kVersion = "0.1";

void add_common_flags(Flags& flags, Context& context, std::string& device) {
  flags.add("--device", &device, "plain: loops for the debugger; cpu: SIMD and threads; cuda: a GPU")
      .one_of({"plain", "cpu", "cuda"});
  flags.add("--seed", &context.seed, "same seed, same numbers, whatever the number of threads");
  flags.add("--threads", &context.threads, "0: as many as OpenMP offers").between(0, 1024);
  flags.add("--json", &context.json, "end stdout with one JSON object").in_config = false;
  flags.add("--quiet", &context.quiet, "print errors and results only").in_config = false;
  for (const char* name : {"--device", "--seed", "--threads", "--json", "--quiet"}) flags.mark_common(name);
}

// Asked for but impossible is an error, never a silent fallback.
Device chosen_device(const std::string& name) {
  if (name == "plain") return Device::Plain;
  if (name == "cpu") return Device::CPU;
  try {
    cuda::device_description();
  } catch (const std::runtime_error& reason) {
    throw BackendUnavailable(
        fmt::format("--device cuda: {}; use --device cpu or --device plain", reason.what()));
  }
  return Device::CUDA;
}

// The chosen backend and what it runs on.
std::string describe_backend(Device device) {
  if (device == Device::CUDA) return "cuda (" + cuda::device_description() + ")";
  return device == Device::CPU ? "cpu (SIMD)" : "plain (loops)";
}

int threads_to_use(int asked) {
  omp_set_dynamic(0);
  if (asked > 0) omp_set_num_threads(asked);
  return omp_get_max_threads();
}

void flush_results() {
  errno = 0;
  if (fflush(stdout) != 0 || ferror(stdout)) {
    throw Error(fmt::format("cannot write to standard output: {}", strerror(errno ? errno : EIO)));
  }
}

int checked_run(int argc, char** argv, const Program& program) {
  Context context;
  context.name = program.name;
  context.arguments.assign(argv, argv + argc);
  std::string device = "cpu";
  context.threads = 0;
  Flags flags;
  if (program.flags) program.flags(flags);
  add_common_flags(flags, context, device);
  flags.parse(argc, argv);
  if (flags.help_wanted) print(flags.help(program.name, program.about, program.example));
  if (flags.version_wanted) print(fmt::format("chalk {} {}\n", program.name, kVersion));
  if (flags.help_wanted || flags.version_wanted) return 0;
  context.config = flags.config();  // before --threads 0 becomes this machine's number
  if (flags.dump_config_wanted) return print(to_text(context.config, 2) + "\n"), 0;

  context.device = chosen_device(device);
  if (program.prepare) program.prepare(context);
  context.threads = threads_to_use(context.threads);
  const std::string backend = describe_backend(context.device);
  context.environment = make_environment(context.arguments, backend, context.threads);
  context.say(fmt::format("{}, seed {}", one_line(context.environment), context.seed));

  int code = program.run(context);
  if (!context.failed_claims.empty() && code == 0) code = 5;
  if (context.json) print(to_text(context.result) + "\n");
  return code;
}

}  // namespace

void print(const std::string& text) {
  errno = 0;
  if (fwrite(text.data(), 1, text.size(), stdout) != text.size()) {
    throw Error(fmt::format("cannot write to standard output: {}", strerror(errno)));
  }
}

void Context::say(const std::string& message) const {
  if (quiet) return;
  fflush(stdout);  // results and messages keep their order on a terminal
  fprintf(stderr, "%s: %s\n", name.c_str(), message.c_str());
}

void Context::claim(bool holds, const std::string& claim, const std::string& measured) {
  const std::string line = measured.empty() ? claim : fmt::format("{} ({})", claim, measured);
  if (holds) return say("claim holds: " + line);
  failed_claims.push_back(line);
  fprintf(stderr, "%s: CLAIM FAILED: %s\n", name.c_str(), line.c_str());  // an error: shown with --quiet too
}

int Context::interrupted(const std::string& saved_in) const {
  std::vector<std::string> again = arguments;
  bool resumes = false;
  for (const std::string& argument : again) resumes = resumes || argument == "--resume";
  if (!resumes) again.push_back("--resume");
  fprintf(stderr, "%s: interrupted; saved in %s. To go on:\n  %s\n", name.c_str(), saved_in.c_str(),
          shell_quoted(again).c_str());
  return 130;
}

int run_program(int argc, char** argv, const Program& program) {
  signal(
      SIGPIPE,
      SIG_IGN);  // `generate | head -1` then fails in a write, which is reported, instead of a silent death
  auto report = [&](const char* message, int code) {
    fprintf(stderr, "%s: error: %s\n", program.name.c_str(), message);
    return code;
  };
  try {
    const int code = checked_run(argc, argv, program);
    flush_results();
    return code;
  } catch (const Error& e) {
    fflush(stdout);
    return report(e.what(), e.exit_code);
  } catch (const std::bad_alloc&) {
    return report("out of memory; try a smaller model, batch or context", 1);
  } catch (const std::exception& e) {
    fflush(stdout);
    return report(e.what(), 1);
  }
}

}  // namespace chalk
