// The promises of a training run: the same bits whatever the threads, after a resume and after a kill; nothing damaged by
// bad input or a full disk.

#include <gtest/gtest.h>

#include "models/load.h"
#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

namespace fs = std::filesystem;

const std::string kTiny =
    " --corpus world --documents 300 --layers 2 --heads 2 --width 32 --context 64 --batch 4 --quiet --dropout 0.1 ";

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

// Weights and optimiser state of the newest checkpoint, as bytes.
std::string state_of(const std::string& run) {
  const std::string checkpoint = newest_checkpoint(run);
  return bytes_of(checkpoint + "/model.safetensors") + bytes_of(checkpoint + "/optimizer.safetensors");
}

void train_ok(const std::string& arguments) {
  const ProgramOutcome run = run_chalk("train", kTiny + arguments);
  ASSERT_EQ(run.exit_code, 0) << run.err;
}

TEST(TrainProgram, SlowSameBitsWithOneAndTwoThreads) {
  for (const char* model : {"llama --optimizer muon", "gpt2"}) {
    TestFolder folder;
    const std::string flags = std::string("--steps 8 --model ") + model;
    train_ok(flags + " --threads 1 --out " + (folder / "one"));
    train_ok(flags + " --threads 2 --out " + (folder / "two"));
    EXPECT_FALSE(state_of(folder / "one").empty());
    EXPECT_EQ(state_of(folder / "one"), state_of(folder / "two")) << model;
  }
}

TEST(TrainProgram, SlowTwentyStepsAreTenAndTen) {
  for (const char* model : {"llama --optimizer muon", "gpt2 --accumulation 2"}) {
    TestFolder folder;
    const std::string flags = std::string("--schedule constant --model ") + model;
    train_ok(flags + " --steps 20 --out " + (folder / "whole"));
    train_ok(flags + " --steps 10 --out " + (folder / "parts"));
    train_ok(flags + " --steps 20 --resume --out " + (folder / "parts"));
    EXPECT_EQ(state_of(folder / "whole"), state_of(folder / "parts")) << model;
  }
}

TEST(TrainProgram, SlowKilledBetweenCheckpointsItResumesToTheSameBits) {
  TestFolder folder;
  const std::string flags = "--steps 400 --save-every 40 --eval-every 1000 ";
  train_ok(flags + "--out " + (folder / "whole"));
  // A kill at a time of its own choosing: after the first checkpoint, somewhere in the middle of the rest.
  run_chalk("train", kTiny + flags + "--out " + (folder / "killed") + " & pid=$!; while [ ! -d " +
                         (folder / "killed/checkpoints/step_00000040") + " ] && [ ! -d " +
                         (folder / "killed/checkpoints/step_00000080") + " ] && kill -0 $pid 2>/dev/null; do :; done; " +
                         "kill -9 $pid; wait $pid");
  ASSERT_NE(newest_checkpoint(folder / "killed"), "");
  train_ok(flags + "--resume --out " + (folder / "killed"));
  EXPECT_EQ(state_of(folder / "whole"), state_of(folder / "killed"));
}

TEST(TrainProgram, SlowInterruptedItSavesAndSaysHowToGoOn) {
  TestFolder folder;
  const ProgramOutcome run =
      run_chalk("train", kTiny + "--steps 100000 --out " + (folder / "run"), "timeout --foreground --preserve-status -s INT 5");
  EXPECT_EQ(run.exit_code, 130) << run.err;
  EXPECT_NE(run.err.find("--resume"), std::string::npos) << run.err;
  EXPECT_NE(newest_checkpoint(folder / "run"), "");
}

TEST(TrainProgram, AFullDiskLeavesTheEarlierCheckpointWhole) {
  TestFolder folder;
  train_ok("--steps 4 --out " + (folder / "run"));
  const std::string before = state_of(folder / "run");
  // A file size limit fails writes as a full disk does, with another errno; SIGXFSZ must not kill first.
  const ProgramOutcome run = run_chalk("train", kTiny + "--steps 8 --resume --out " + (folder / "run"), "trap '' XFSZ; ulimit -f 40;");
  EXPECT_EQ(run.exit_code, 1) << run.err;
  EXPECT_NE(run.err.find("error"), std::string::npos);
  EXPECT_EQ(state_of(folder / "run"), before);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "run/checkpoints"), fs::directory_iterator()), 1);
}

TEST(TrainProgram, BadInputGetsItsExitCode) {
  TestFolder folder;
  std::ofstream(folder / "empty.txt");
  std::ofstream(folder / "latin1.txt") << "caf\xe9 caf\xe9 caf\xe9";
  const std::string out = " --out " + (folder / "run");
  EXPECT_EQ(run_chalk("train", "--corpus " + (folder / "missing.txt") + out).exit_code, 3);
  EXPECT_EQ(run_chalk("train", "--corpus " + (folder / "empty.txt") + out).exit_code, 3);
  EXPECT_NE(run_chalk("train", "--corpus " + (folder / "latin1.txt") + out).exit_code, 0);
  EXPECT_EQ(run_chalk("train", "--steps -1" + out).exit_code, 2);
  EXPECT_EQ(run_chalk("train", "--tokenizer bpe:x" + out).exit_code, 2);
  EXPECT_EQ(run_chalk("train", "--nonsense" + out).exit_code, 2);
  EXPECT_EQ(run_chalk("train", kTiny + "--steps 2 --out /dev/null/run").exit_code, 1);
  EXPECT_NE(run_chalk("train", kTiny + "--steps 2 --heads 3" + out).exit_code, 0);
}

TEST(Programs, BadModelsAndPromptsGetTheirExitCodes) {
  TestFolder folder;
  const std::string run = folder / "run", model = " --model " + run;
  train_ok("--steps 2 --out " + run);
  EXPECT_EQ(run_chalk("generate", "--model /nowhere --prompt a").exit_code, 3);
  EXPECT_EQ(run_chalk("generate", model + " --prompt zebra").exit_code, 2) << "a word outside the vocabulary";
  EXPECT_EQ(run_chalk("generate", model + " --prompt \"$(printf '\\377\\376')\"").exit_code, 2) << "not UTF-8";
  EXPECT_EQ(run_chalk("generate", model + " --prompt the --max-new-tokens 64").exit_code, 2) << "past the context";
  EXPECT_EQ(run_chalk("generate", model + " --prompt the --max-new-tokens 80 --window slide --ignore-stop").exit_code, 0);
  EXPECT_EQ(run_chalk("perplexity", model + " --text /nowhere").exit_code, 3);
  EXPECT_EQ(run_chalk("evaluate", model + " --task /nowhere").exit_code, 3);

  const std::string checkpoint = newest_checkpoint(run);
  fs::resize_file(checkpoint + "/model.safetensors", fs::file_size(checkpoint + "/model.safetensors") - 100);
  const ProgramOutcome truncated = run_chalk("generate", model + " --prompt the");
  EXPECT_EQ(truncated.exit_code, 3);
  EXPECT_NE(truncated.err.find("model.safetensors"), std::string::npos) << truncated.err;
}

}  // namespace
}  // namespace chalk
