// Flags, their precedence, and the exit codes that every program promises.
#include "tutorials/support/program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <omp.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autograd/check.h"
#include "models/io/file.h"

namespace chalk {
namespace {

struct Options {
  int steps = 100;
  float lr = 0.0003f;
  std::string corpus = "world", out;
  bool resume = false;
  std::vector<std::string> text;
};

struct Outcome {
  int code;
  Options options;
  std::string out, err;
};

Program program_of(Options& options, std::function<int(Context&)> run) {
  auto declare = [&options](Flags& flags) {
    flags.add("--steps", &options.steps, "total steps").between(1, 1000000);
    flags.add("--lr", &options.lr, "learning rate").at_least(0);
    flags.add("--corpus", &options.corpus, "what to learn from");
    flags.add("--out", &options.out, "run folder");
    flags.add("--resume", &options.resume, "go on");
    flags.add("--text", &options.text, "a text; may be repeated");
    flags.preset("1min", {{"steps", 7}, {"lr", 0.5}}, "a first look");
  };
  return {.name = "demo",
          .about = "does nothing",
          .example = "build/bin/demo --steps 3",
          .flags = declare,
          .run = run};
}

Outcome run(
    std::vector<std::string> arguments, std::function<int(Context&)> body = [](Context&) { return 0; }) {
  arguments.insert(arguments.begin(), "build/bin/demo");
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  Outcome outcome;
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  outcome.code = run_program(int(argv.size()), argv.data(), program_of(outcome.options, body));
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

std::string temporary_file(const std::string& name, const std::string& bytes) {
  const std::string path = testing::TempDir() + "chalk_program_test_" + std::to_string(getpid()) + "_" + name;
  write_text(path, bytes);
  return path;
}

TEST(Flags, AFlagWinsOverTheConfigAndTheConfigOverThePreset) {
  const std::string config = temporary_file("c.json", R"({"lr": 0.25, "corpus": "book.txt"})");
  Options o = run({"--preset", "1min"}).options;
  EXPECT_EQ(o.steps, 7);
  EXPECT_EQ(o.lr, 0.5f);
  o = run({"--preset", "1min", "--config", config}).options;
  EXPECT_EQ(o.steps, 7);  // only the preset names it
  EXPECT_EQ(o.lr, 0.25f);
  EXPECT_EQ(o.corpus, "book.txt");
  o = run({"--lr", "0.125", "--config", config, "--preset=1min"}).options;
  EXPECT_EQ(o.lr, 0.125f);
  EXPECT_EQ(o.corpus, "book.txt");
}

TEST(Flags, AnExplicitDefaultStillWins) {  // the value equals the default, but somebody typed it
  EXPECT_EQ(run({"--steps", "100", "--preset", "1min"}).options.steps, 100);
  const std::string config = temporary_file("r.json", R"({"resume": true})");
  EXPECT_TRUE(run({"--config", config}).options.resume);
  EXPECT_FALSE(run({"--config", config, "--resume=false"}).options.resume);
}

TEST(Flags, TheDumpedConfigIsAValidConfigWithTheSameValues) {
  const Outcome first =
      run({"--preset", "1min", "--lr", "0.0007", "--text", "a", "--text", "[b,c]", "--dump-config"});
  ASSERT_EQ(first.code, 0);
  EXPECT_NE(first.out.find("\"lr\": 0.0007"), std::string::npos) << first.out;  // not 0.00069999998
  const std::string config = temporary_file("dump.json", first.out);
  const Outcome second = run({"--config", config, "--dump-config"});
  EXPECT_EQ(second.out, first.out);
  EXPECT_EQ(second.options.text, (std::vector<std::string>{"a", "[b,c]"}));
}

TEST(Flags, TextsArriveAsTheyWereTyped) {
  for (std::string text :
       {"", "[INST] a, b [/INST]", "{}", "-1", "a=b", "\"quoted\"", " spaces ", "\xff\xfe"}) {
    const Outcome o = run({"--corpus=" + text});
    EXPECT_EQ(o.code, 0) << o.err;
    EXPECT_EQ(o.options.corpus, text);
    if (text[0] == '-') continue;  // "--corpus -1" is a question of taste; "--corpus=-1" above must work
    const Outcome apart = run({"--corpus", text});
    EXPECT_EQ(apart.code, 0) << text << apart.err;
    EXPECT_EQ(apart.options.corpus, text);
  }
}

TEST(Flags, BadFlagsAreUsageErrorsThatSayWhatWasExpected) {
  struct Case {
    std::vector<std::string> arguments;
    std::string says;
  };
  const Case cases[] = {
      {{"--stepz", "3"}, "did you mean --steps?"},
      {{"--steps", "ten"}, "--steps: got \"ten\", expected a whole number between 1 and 1000000"},
      {{"--steps", "3.5"}, "whole number"},
      {{"--steps", "99999999999999999999"}, "whole number"},
      {{"--steps", "0"}, "between 1 and"},
      {{"--lr", "nan"}, "a number of at least 0"},
      {{"--lr", "1e999"}, "a number"},
      {{"--seed", "-1"}, "--seed"},
      {{"--steps"}, "--steps"},
      {{"--steps", "1", "--steps", "2"}, "given 2 times"},
      {{"--preset", "2min"}, "expected one of 1min"},
      {{"--device", "tpu"}, "expected one of plain, cpu, cuda"},
      {{"--resume=maybe"}, "true or false"},
      {{"leftover"}, "leftover: unknown flag"},
  };
  for (const Case& c : cases) {
    const Outcome o = run(c.arguments);
    EXPECT_EQ(o.code, 2) << c.arguments[0];
    EXPECT_NE(o.err.find(c.says), std::string::npos) << o.err;
    EXPECT_EQ(o.err.rfind("demo: error: ", 0), 0u) << o.err;
    EXPECT_EQ(o.out, "");
  }
}

TEST(Flags, BadConfigFilesAreFileErrors) {
  struct Case {
    std::string bytes, says;
  };
  const Case cases[] = {
      {"{\"steps\": \"3\"}", "steps: got \"3\", expected a whole number"},
      {"{\"stepz\": 3}", "did you mean --steps?"},
      {"{\"steps\": 3, \"steps\": 4}", "appears twice"},
      {"{\"steps\": 3\n \"lr\": 1}", "line 2"},
      {"[1]", "expected an object"},
      {"{\"preset\": 3}", "preset: got 3"},
      {"", "not valid JSON"},
      {std::string(1000, '['), ""},
  };
  for (const Case& c : cases) {
    const Outcome o = run({"--config", temporary_file("bad.json", c.bytes)});
    EXPECT_EQ(o.code, 3) << c.bytes;
    EXPECT_NE(o.err.find(c.says), std::string::npos) << o.err;
  }
  EXPECT_EQ(run({"--config", "/no/such/file.json"}).code, 3);
  EXPECT_EQ(run({"--config", "/tmp"}).code, 3);
}

TEST(Program, HelpStartsWithAnExample) {
  const Outcome o = run({"--help"});
  EXPECT_EQ(o.code, 0);
  EXPECT_EQ(o.out.rfind("Example:\n  build/bin/demo --steps 3\n", 0), 0u) << o.out;
  for (const char* flag :
       {"--steps N", "(default 0.0003)", "--preset 1min", "--device plain|cpu|cuda", "--config FILE"}) {
    EXPECT_NE(o.out.find(flag), std::string::npos) << flag << "\n" << o.out;
  }
}

TEST(Program, EveryFailureHasItsExitCode) {
  EXPECT_EQ(run({}, [](Context&) -> int { throw Error("broken"); }).code, 1);
  EXPECT_EQ(run({}, [](Context&) -> int { throw UsageError("empty prompt"); }).code, 2);
  EXPECT_EQ(run({}, [](Context&) -> int { throw FileError("m.bin", "header", "cut short"); }).code, 3);
  EXPECT_EQ(run({}, [](Context&) -> int { throw BackendUnavailable("no usable GPU"); }).code, 4);
  EXPECT_EQ(run({}, [](Context& c) { return c.claim(false, "1 < 0"), 0; }).code, 5);
  EXPECT_EQ(run({}, [](Context& c) { return c.claim(true, "0 < 1"), 0; }).code, 0);
  EXPECT_EQ(run({}, [](Context&) -> int { throw std::bad_alloc(); }).code, 1);
  EXPECT_EQ(run({}, [](Context&) -> int { throw std::runtime_error("other"); }).code, 1);
  const Outcome o = run({}, [](Context&) -> int { throw FileError("m.bin", "header", "cut short"); });
  EXPECT_NE(o.err.find("demo: error: m.bin: header: cut short\n"), std::string::npos);
}

TEST(Program, JsonIsTheLastLineOfStdoutAndMessagesAreElsewhere) {
  auto body = [](Context& c) {
    print("a result\n");
    c.say("a message");
    c.result = {{"ppl", std::nan("")}, {"text", "caf\xc3"}};  // half a letter
    return 0;
  };
  const Outcome o = run({"--json"}, body);
  EXPECT_EQ(o.out, "a result\n{\"ppl\":null,\"text\":\"caf\xEF\xBF\xBD\",\"nan\":true}\n");
  EXPECT_NE(o.err.find("a message"), std::string::npos);
  EXPECT_EQ(run({}, body).out, "a result\n");
  EXPECT_EQ(run({"--quiet"}, body).err, "");
}

TEST(Program, TheBackendIsAnnounced) {
  const Outcome o = run({"--threads", "1", "--seed", "7"}, [](Context& c) {
    EXPECT_EQ(c.threads, 1);
    EXPECT_EQ(omp_get_max_threads(), 1);
    EXPECT_EQ(c.seed, 7u);
    EXPECT_TRUE(c.device == Device::CPU);
    return 0;
  });
  EXPECT_NE(o.err.find("device cpu (SIMD), "), std::string::npos) << o.err;
  EXPECT_NE(o.err.find(" 1 thread, seed 7"), std::string::npos) << o.err;
}

TEST(Program, AResumeCommandIsPrintedOnce) {
  auto body = [](Context& c) { return c.interrupted("runs/x"); };
  const Outcome o = run({"--corpus", "my book.txt"}, body);
  EXPECT_EQ(o.code, 130);
  EXPECT_NE(o.err.find("build/bin/demo --corpus 'my book.txt' --resume\n"), std::string::npos) << o.err;
  EXPECT_EQ(run({"--resume"}, body).err.find("--resume --resume"), std::string::npos);
}

TEST(Program, AFullDiskBehindStdoutIsAnError) {
  if (access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full on this system";
  const pid_t child = fork();
  if (child == 0) {
    dup2(open("/dev/full", O_WRONLY), STDOUT_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    Options options;
    char name[] = "demo";
    char* argv[] = {name, nullptr};
    _exit(run_program(1, argv, program_of(options, [](Context&) { return print("x"), 0; })));
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 1);
}

}  // namespace
}  // namespace chalk
