// The ladders (tutorials/ladders/): every rung gives the plain kernel's numbers, also at sizes that no tile divides, and each
// rung's score shows the idea that its page claims. The program checks the numbers itself and ends with 5 when one is wrong.
#include <gtest/gtest.h>

#include <map>

#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

using nlohmann::json;

// Runs a ladder; the rungs by file name.
std::map<std::string, json> climb(const std::string& arguments) {
  const ProgramOutcome outcome = run_chalk("ladder", "--json --quiet --of " + arguments);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  const json result = outcome.json();
  std::map<std::string, json> rungs;
  if (!result.contains("rungs")) return rungs;
  for (const json& rung : result["rungs"]) rungs[rung["file"]] = rung;
  return rungs;
}

TEST(Ladder, MatmulScoresFallForTheReasonsGiven) {
  auto rungs = climb("matmul --size 128");
  ASSERT_EQ(rungs.size(), 8u);
  auto at = [&](const char* name, const char* field) {
    return rungs.at(std::string("matmul/") + name + ".cu").at(field).get<int64_t>();
  };
  if (rungs.begin()->second.contains("milliseconds")) GTEST_SKIP() << "a GPU gives times, not scores";

  // Of each step of k, a warp of 01 touches 32 + 1 sectors, of 02 1 + 4; beside that only y is written.
  constexpr int64_t steps = 128 * 128 / 32 * 128;
  EXPECT_EQ(at("01_naive", "sectors"), steps * 33 + 128 * 128);
  EXPECT_EQ(at("02_coalesced", "sectors"), steps * 5 + 128 * 128 / 8);
  EXPECT_EQ(at("01_naive", "global_loads"), at("02_coalesced", "global_loads"));
  // A tile is 16 wide: a number that is fetched once serves 16 threads.
  EXPECT_EQ(at("03_shared_tiles", "global_loads") * 16, at("02_coalesced", "global_loads"));
  EXPECT_EQ(at("03_shared_tiles", "bank_conflicts"), 0);
  // 8 shared reads for 16 products instead of 2 for 1, a tile of 64 instead of 16.
  EXPECT_EQ(at("04_register_tiles", "global_loads") * 4, at("03_shared_tiles", "global_loads"));
  EXPECT_LT(at("04_register_tiles", "shared_loads") * 3, at("03_shared_tiles", "shared_loads"));
  // Fours: the same sectors in a quarter of the requests.
  EXPECT_EQ(at("05_vectorised", "sectors"), at("04_register_tiles", "sectors"));
  EXPECT_EQ(at("05_vectorised", "global_loads") * 4, at("04_register_tiles", "global_loads"));
  EXPECT_EQ(at("05_vectorised", "global_stores") * 4, at("04_register_tiles", "global_stores"));
  EXPECT_LT(at("05_vectorised", "shared_loads") * 3, at("04_register_tiles", "shared_loads"));
  // 8 × 8 products per lane: half of the passes.
  EXPECT_LT(at("06_warp_tiles", "shared_passes") * 10, at("05_vectorised", "shared_passes") * 6);
  EXPECT_LT(at("06_warp_tiles", "sectors"), at("05_vectorised", "sectors"));
  // What cannot run here says why.
  EXPECT_NE(rungs.at("matmul/07_tensor_cores.cu").at("skipped").get<std::string>().find("GPU"),
            std::string::npos);
}

TEST(Ladder, SoftmaxReadsLessAndLess) {
  auto rungs = climb("softmax --size 128 --rows 32");
  ASSERT_EQ(rungs.size(), 6u);
  if (rungs.begin()->second.contains("milliseconds")) GTEST_SKIP() << "a GPU gives times, not scores";
  auto at = [&](const char* name, const char* field) {
    return rungs.at(std::string("softmax/") + name + ".cu").at(field).get<int64_t>();
  };
  constexpr int64_t once = 32 * 128 / 8;  // sectors of x, or of y
  EXPECT_EQ(at("01_thread_per_row", "sectors"), 4 * 8 * once);
  EXPECT_EQ(at("02_warp_per_row", "sectors"), (3 + 1) * once);
  EXPECT_EQ(at("03_online", "sectors"), (2 + 1) * once);
  EXPECT_EQ(at("04_registers", "sectors"), (1 + 1) * once);
  EXPECT_EQ(at("05_vectorised", "sectors"), (1 + 1) * once);
  EXPECT_EQ(at("05_vectorised", "global_loads") * 4, at("04_registers", "global_loads"));
}

TEST(Ladder, LayerNormReadsLessAndLess) {
  auto rungs = climb("layernorm --size 128 --rows 32");
  ASSERT_EQ(rungs.size(), 5u);
  if (rungs.begin()->second.contains("milliseconds")) GTEST_SKIP() << "a GPU gives times, not scores";
  auto at = [&](const char* name, const char* field) {
    return rungs.at(std::string("layernorm/") + name + ".cu").at(field).get<int64_t>();
  };
  constexpr int64_t once = 32 * 128 / 8;  // sectors of x, of y, or of the weights and biases of 32 rows
  EXPECT_GT(at("01_thread_per_row", "sectors"), 4 * 8 * once);
  EXPECT_EQ(at("02_warp_per_row", "sectors"), (3 + 1 + 2) * once);
  EXPECT_EQ(at("03_welford", "sectors"), (2 + 1 + 2) * once);
  EXPECT_EQ(at("04_shared_row", "sectors"), (1 + 1 + 2) * once);
  EXPECT_EQ(at("04_shared_row", "bank_conflicts"), 0);
}

TEST(Ladder, AttentionStopsMovingTheMatrix) {
  auto rungs = climb("attention --size 64");
  ASSERT_EQ(rungs.size(), 5u);
  if (rungs.begin()->second.contains("milliseconds")) GTEST_SKIP() << "a GPU gives times, not scores";
  auto at = [&](const char* name, const char* field) {
    return rungs.at(std::string("attention/") + name + ".cu").at(field).get<int64_t>();
  };
  EXPECT_LT(at("02_online", "sectors") * 4, at("01_three_kernels", "sectors"));
  EXPECT_LT(at("03_shared_tiles", "global_loads") * 16, at("02_online", "global_loads"));
  EXPECT_LT(at("03_shared_tiles", "sectors") * 2, at("02_online", "sectors"));
  EXPECT_LT(at("04_register_tiles", "shared_passes") * 2, at("03_shared_tiles", "shared_passes"));
  EXPECT_LT(at("04_register_tiles", "sectors"), at("03_shared_tiles", "sectors"));
  EXPECT_EQ(at("04_register_tiles", "bank_conflicts"), 0);
}

// 36 and 20 are multiples of 4, but of no tile.
TEST(Ladder, EveryRungIsRightAtTheEdges) {
  for (const char* arguments :
       {"matmul --size 36", "matmul --size 4", "softmax --size 36 --rows 5", "softmax --size 4 --rows 1",
        "layernorm --size 36 --rows 5", "attention --size 20", "attention --size 4"}) {
    EXPECT_FALSE(climb(arguments).empty()) << arguments;
  }
}

TEST(Ladder, RefusesSizesThatARungCannotTake) {
  EXPECT_EQ(run_chalk("ladder", "--of matmul --size 30").exit_code, 2);
  EXPECT_EQ(run_chalk("ladder", "--of softmax --size 2048").exit_code, 2);
  EXPECT_EQ(run_chalk("ladder", "--of reduce").exit_code, 2);
}

}  // namespace
}  // namespace chalk
