// What a run leaves behind: metrics without duplicate steps, JSON without NaN, and text tables.
#include "tutorials/support/run_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "autograd/check.h"
#include "models/io/file.h"
#include "tutorials/support/progress.h"
#include "tutorials/support/signals.h"
#include "tutorials/support/table.h"

namespace chalk {
namespace {

struct RunFolderTest : testing::Test {
  std::string path = testing::TempDir() + "chalk_run_folder_" + std::to_string(getpid());
  void SetUp() override { std::filesystem::remove_all(path); }
  void TearDown() override { std::filesystem::remove_all(path); }
  std::string text() const { return read_text(path + "/metrics.jsonl", 1 << 20); }
};

TEST_F(RunFolderTest, ResumeForgetsTheStepsAfterTheCheckpoint) {
  {
    RunFolder run(path, false);
    for (int step = 1; step <= 15; step++) run.log({{"step", step}, {"loss", 1.0 / step}});
  }
  std::ofstream(path + "/metrics.jsonl", std::ios::app)
      << "{\"step\": 16, \"lo";  // killed in the middle of a write
  RunFolder run(path, true);
  run.rewind_metrics(10);
  for (int step = 11; step <= 20; step++) run.log({{"step", step}});
  const std::vector<Json> rows = run.metrics();
  ASSERT_EQ(rows.size(), 20u);
  for (int i = 0; i < 20; i++) EXPECT_EQ(rows[i]["step"], i + 1);
}

TEST_F(RunFolderTest, AResumedRunHasTheBytesOfAnUninterruptedOne) {
  const Json rows[] = {
      {{"step", 1}, {"loss", 0.1}}, {{"step", 2}, {"loss", 1e-17}}, {{"step", 3}, {"lr", 3e-4}}};
  {
    RunFolder run(path, false);
    for (const Json& row : rows) run.log(row);
  }
  const std::string whole = text();
  RunFolder run(path, true);
  run.rewind_metrics(1);
  run.log(rows[1]);
  run.log(rows[2]);
  EXPECT_EQ(text(), whole);
}

TEST_F(RunFolderTest, NanIsNullAndSaidSo) {
  RunFolder run(path, false);
  run.log({{"step", 1}, {"loss", std::nan("")}, {"eval", {{"ppl", INFINITY}, {"n", 3}}}});
  EXPECT_EQ(text(), "{\"step\":1,\"loss\":null,\"eval\":{\"ppl\":null,\"n\":3,\"nan\":true},\"nan\":true}\n");
}

TEST_F(RunFolderTest, AnEarlierRunIsNotOverwritten) {
  RunFolder(path, false).log({{"step", 1}});
  EXPECT_THROW(RunFolder(path, false), UsageError);
  EXPECT_NO_THROW(RunFolder(path, true));
}

TEST_F(RunFolderTest, AnUnwritableFolderIsAClearError) {
  try {
    RunFolder run("/proc/no_such_folder/run", false);
    FAIL() << "a folder below /proc was made";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code, 1);
    EXPECT_NE(std::string(e.what()).find("/proc/no_such_folder/run"), std::string::npos) << e.what();
  }
  EXPECT_THROW(RunFolder("", false), UsageError);
}

TEST_F(RunFolderTest, TheWrittenConfigIsAValidConfig) {
  RunFolder run(path, false);
  Context context;
  context.config = {{"steps", 5}};
  context.environment = make_environment({"train", "--steps", "5"}, "cpu (SIMD)", 2);
  run.write_config(context);
  int steps = 0;
  Flags flags;
  flags.add("--steps", &steps, "");
  const std::string config = run.path("config.json");
  const char* argv[] = {"train", "--config", config.c_str()};
  flags.parse(3, argv);
  EXPECT_EQ(steps, 5);
}

TEST_F(RunFolderTest, SamplesSortByStep) {
  RunFolder run(path, false);
  run.write_sample(20, "text");
  EXPECT_EQ(read_text(path + "/samples/step_000020.txt", 100), "text");
}

TEST(Table, ColumnsAlignByWhatIsSeen) {
  const Table table{{"method", "bits", "loss"}, {{"float", "32", "1.25"}, {"√int4", "4", "-"}}};
  EXPECT_EQ(to_text(table),
            "method  bits  loss\n"
            "------  ----  ----\n"
            "float     32  1.25\n"
            "√int4      4     -\n");
}

TEST(Table, NumbersHaveUnits) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(1536), "1.5 KiB");
  EXPECT_EQ(human_bytes(12.0 * 1024 * 1024), "12 MiB");
  EXPECT_EQ(human_count(843), "843");
  EXPECT_EQ(human_count(1234567), "1.23 M");
  EXPECT_EQ(human_count(124e6), "124 M");
  EXPECT_EQ(human_duration(0.48), "480 ms");
  EXPECT_EQ(human_duration(95), "1 min 35 s");
  EXPECT_EQ(human_duration(7500), "2 h 05 min");
  EXPECT_EQ(human_duration(NAN), "unknown");
  EXPECT_EQ(describe_estimate(0.065, 2000, 3),
            "about 2 min 10 s: 2000 steps of 65 ms, measured over 3 steps");
}

TEST(Progress, PlainLinesOffATerminal) {
  testing::internal::CaptureStderr();
  {
    Progress progress("train", 0, 3, false, 0.0);
    for (int step = 1; step <= 3; step++)
      progress.step(step, {.loss = 2.0, .lr = 1e-3, .grad_norm = 0.5, .tokens = 10});
    EXPECT_NEAR(progress.smooth_loss(), 2.0, 1e-12);  // a constant is its own average, from the first step on
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
  EXPECT_EQ(text.find_first_of("\r\033"), std::string::npos) << text;
  EXPECT_NE(text.find("train 3/3  took "), std::string::npos) << text;
  EXPECT_NE(text.find("loss 2.0000  lr 1.0e-03  grad 0.50"), std::string::npos) << text;
}

TEST(Progress, ADivergedLossStaysVisible) {
  Progress progress("train", 0, 100, true);
  progress.step(1, {.loss = 2.0});
  progress.step(2, {.loss = NAN});
  progress.step(3, {.loss = 2.0});
  EXPECT_TRUE(std::isnan(progress.smooth_loss()));
}

TEST(Signals, TheFirstInterruptIsARequest) {
  InterruptGuard guard;
  EXPECT_FALSE(guard.requested());
  testing::internal::CaptureStderr();
  raise(SIGINT);
  testing::internal::GetCapturedStderr();
  EXPECT_TRUE(guard.requested());
  EXPECT_EXIT(raise(SIGINT), testing::ExitedWithCode(130), "");  // the second one stops at once
}

}  // namespace
}  // namespace chalk
