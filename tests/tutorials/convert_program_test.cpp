// The program `convert`: weights survive a walk through all formats, and what a format cannot hold is refused.

#include <gtest/gtest.h>

#include "models/io/huggingface.h"
#include "models/text/word_tokenizer.h"
#include "tests/models/io/paths.h"
#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

TEST(ConvertProgram, ThroughEveryFormatAndBack) {
  TestFolder folder;
  Checkpoint checkpoint = tiny_llama(true);
  write_hf_folder(folder / "hf", checkpoint);
  const auto convert = [&](const std::string& from, const std::string& to, const std::string& out) {
    const ProgramOutcome run = run_chalk("convert", "--json --model " + (folder / from) + " --to " + to + " --out " + (folder / out));
    EXPECT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.json()["tokenizer"], false);
  };
  convert("hf", "gguf", "a.gguf");
  convert("a.gguf", "llama2c", "a.bin");
  convert("a.bin", "hf", "again");
  expect_same_weights(read_hf_folder(folder / "again"), checkpoint);
}

TEST(ConvertProgram, RefusesWhatTheFormatCannotHold) {
  TestFolder folder;
  write_hf_folder(folder / "hf", tiny_gpt2());
  WordTokenizer({"one", "two", "three"}).save(folder / "hf");
  const std::string flags = "--model " + (folder / "hf") + " --out " + (folder / "out");
  EXPECT_EQ(run_chalk("convert", flags + " --to hf --dtype q8_0").exit_code, 2);
  EXPECT_EQ(run_chalk("convert", flags + " --to llama2c --dtype f16").exit_code, 2);
  EXPECT_EQ(run_chalk("convert", flags + " --to llama2c").exit_code, 1);
  const ProgramOutcome words = run_chalk("convert", flags + " --to gguf");
  EXPECT_EQ(words.exit_code, 1);
  EXPECT_NE(words.err.find("words"), std::string::npos) << words.err;
  EXPECT_FALSE(std::filesystem::exists(folder / "out"));
  EXPECT_EQ(run_chalk("convert", flags + " --to gguf --no-tokenizer --dtype q8_0").exit_code, 0);
}

}  // namespace
}  // namespace chalk
