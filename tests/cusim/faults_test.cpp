// Each planted fault of tests/cusim/faults.cu is found, with its file and line, by the mode that is meant to find it; its
// correct twin is silent in every mode. The program is built four times (Makefile): fast, asan, tsan, watch.

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

namespace chalk {
namespace {

namespace fs = std::filesystem;

struct Result {
  int status;
  std::string output;  // stdout and stderr
};

Result run(const std::string& mode, const std::string& name, const std::string& environment = "") {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / ("faults-" + mode);
  // GCC's ThreadSanitizer does not run where the kernel randomises addresses widely; setarch -R switches that off.
  const std::string wrapper = mode == "tsan" ? "$(command -v setarch >/dev/null && echo setarch -R) " : "";
  const std::string command = environment + " " + wrapper + program.string() + " " + name + " 2>&1";
  Result result{-1, ""};
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return result;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    result.output.append(buffer.data(), n);
  result.status = WEXITSTATUS(pclose(pipe));
  return result;
}

// "faults.cu:26": the line that ends in "// FAULT name".
std::string line_of(const std::string& name) {
  for (fs::path folder = fs::current_path(); folder != folder.root_path(); folder = folder.parent_path()) {
    std::ifstream source(folder / "tests/cusim/faults.cu");
    int number = 0;
    for (std::string line; std::getline(source, line);) {
      ++number;
      if (line.ends_with("// FAULT " + name)) return "faults.cu:" + std::to_string(number);
    }
  }
  ADD_FAILURE() << "no line ends in // FAULT " << name;
  return "";
}

bool unavailable(const Result& r) {
  return r.output.find("unexpected memory mapping") != std::string::npos || r.status == 127;
}

struct Case {
  std::string name, mode, words;  // `words` must be in the report
  std::string environment = "";
  std::string second_site = "";  // a second line that must be named
};

class Faults : public testing::TestWithParam<Case> {};

TEST_P(Faults, IsFoundAndItsTwinIsSilent) {
  const Case& c = GetParam();
  const Result fault = run(c.mode, c.name, c.environment);
  if (unavailable(fault))
    GTEST_SKIP() << "faults-" << c.mode << " does not run here: " << fault.output.substr(0, 200);
  EXPECT_NE(fault.status, 0) << fault.output;
  EXPECT_NE(fault.output.find(c.words), std::string::npos) << "no \"" << c.words << "\" in\n" << fault.output;
  if (c.environment.empty()) {  // order checks know the kernel and the launch, not the line
    EXPECT_NE(fault.output.find(line_of(c.name)), std::string::npos) << "no " << line_of(c.name) << " in\n"
                                                                     << fault.output;
  }
  if (!c.second_site.empty()) {
    EXPECT_NE(fault.output.find(line_of(c.second_site)), std::string::npos) << fault.output;
  }
  const Result twin = run(c.mode, c.name + "_twin", c.environment);
  EXPECT_EQ(twin.status, 0) << twin.output;
  EXPECT_EQ(twin.output.substr(0, 4), "y[0]") << twin.output;
}

INSTANTIATE_TEST_SUITE_P(
    Modes, Faults,
    testing::Values(
        Case{"missing_barrier", "tsan", "data race"}, Case{"missing_barrier", "tsan", "gpu thread"},
        Case{"missing_barrier", "fast", "depends on the order of its threads", "CUSIM_MODE=check"},
        Case{"block_race", "tsan", "data race"}, Case{"lost_update", "tsan", "data race"},
        Case{"shared_out_of_bounds", "asan", "use-after-poison"},
        Case{"shared_out_of_bounds", "watch", "is outside shared array row"},
        Case{"global_out_of_bounds", "asan", "heap-buffer-overflow"},
        Case{"global_out_of_bounds", "watch", "out of bounds"},
        Case{"uninitialised_shared", "watch", "reads what no thread of the block has written"},
        Case{"divergent_barrier", "fast", "divergent barrier", "", "divergent_barrier_other"},
        Case{"early_return", "fast", "thread 5 have returned"}, Case{"shuffle_range", "fast", "out of range"},
        Case{"shuffle_mask", "fast", "which is not in mask"},
        Case{"warp_divergence", "fast", "different warp functions", "", "warp_divergence_other"}),
    [](const auto& info) {
      return info.param.name + "_" + info.param.mode + "_" + std::to_string(info.index);
    });

// Without a report the damage would be a wrong sum: 63 instead of 2016, but only in some orders.
TEST(Orders, AMissingBarrierHidesInOneOrder) {
  EXPECT_EQ(run("fast", "missing_barrier", "CUSIM_ORDER=reverse").output, "y[0] = 2016\n");
  EXPECT_EQ(run("fast", "missing_barrier", "CUSIM_ORDER=forward").output, "y[0] = 63\n");
}

// An unwritten number is NaN, also without a watch build.
TEST(Poison, IsVisibleInTheResult) {
  const Result r = run("fast", "uninitialised_shared");
  EXPECT_EQ(r.status, 0);  // row[63] reached y[63], not y[0]: only the watch build names the line
}

int64_t number_after(const std::string& text, const std::string& word) {
  const size_t at = text.find(word);
  return at == std::string::npos ? -1 : std::atoll(text.c_str() + at + word.size());
}

TEST(Counts, CoalescedAccessesTouchFewerSectors) {
  // 32 floats in a row are 128 bytes: 4 sectors. 32 floats 128 bytes apart are 32 sectors. The store adds 4.
  EXPECT_EQ(number_after(run("watch", "copy_coalesced", "CUSIM_COUNT=1").output, "score "), 4 + 4);
  EXPECT_EQ(number_after(run("watch", "copy_strided", "CUSIM_COUNT=1").output, "score "), 32 + 4);
}

TEST(Counts, PaddingRemovesBankConflicts) {
  // 32 warps' worth of rows: each row is loaded (4 sectors), put into shared memory (1 pass), taken out by columns
  // (32 passes in one bank, or 1 when rows are 33 long) and stored (4 sectors).
  EXPECT_EQ(number_after(run("watch", "transpose_padded", "CUSIM_COUNT=1").output, "score "),
            32 * (4 + 1 + 1 + 4));
  EXPECT_EQ(number_after(run("watch", "transpose_conflicts", "CUSIM_COUNT=1").output, "score "),
            32 * (4 + 1 + 32 + 4));
}

}  // namespace
}  // namespace chalk
