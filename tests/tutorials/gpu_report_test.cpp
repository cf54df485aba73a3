// `make gpu-report` on a machine without a GPU: one sentence and status 4, before anything is built.

#include <gtest/gtest.h>

#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

TEST(GpuReport, WithoutAGpuItSaysSo) {
  const std::string script = "tests/house/gpu_report.sh";
  if (!std::filesystem::exists(script)) GTEST_SKIP() << "run the test from the root of the repository";
  if (std::system("nvidia-smi -L >/dev/null 2>&1") == 0)
    GTEST_SKIP() << "there is a GPU here: run make gpu-report";
  TestFolder folder;
  const int status = std::system((script + " " + (folder / "report") + " 2>" + (folder / "err")).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 4);
  std::ifstream file(folder / "err");
  std::string sentence;
  std::getline(file, sentence);
  EXPECT_NE(sentence.find("no GPU"), std::string::npos) << sentence;
  EXPECT_FALSE(std::filesystem::exists(folder / "report"));
}

}  // namespace
}  // namespace chalk
