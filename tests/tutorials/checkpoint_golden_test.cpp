// Real checkpoints through the programs: stories260K in its three formats and slm4096, against the stored numbers.

#include <gtest/gtest.h>

#include "autograd/tensor.h"
#include "models/io/npy.h"
#include "models/load.h"
#include "models/model_scorer.h"
#include "tests/tutorials/run_program.h"

namespace chalk {
namespace {

nlohmann::json golden(const std::string& name) {
  const char* folder = std::getenv("CHALK_GOLDEN");
  const std::string path = folder ? std::string(folder) + "/" + name : data_path("golden/" + name);
  std::ifstream file(path);
  return file ? nlohmann::json::parse(file) : nlohmann::json();
}

const std::string kStories = "models/stories260K/";

// One way of naming the same model on the command line.
struct Format {
  std::string name, model, tokenizer;
};

std::vector<Format> stories_formats() {
  return {{"llama2.c", "stories260K.bin", "tok512.bin"},
          {"Hugging Face", "hf", "tok512.bin"},
          {"GGUF", "stories260K-f32.gguf", ""}};
}

std::string model_flags(const Format& format) {
  std::string flags = "--model " + data_path(kStories + format.model);
  if (!format.tokenizer.empty()) flags += " --tokenizer " + data_path(kStories + format.tokenizer);
  return flags;
}

TEST(CheckpointGolden, Stories260KGreedyTextInEveryFormat) {
  const nlohmann::json expected = golden("stories260K/expected.json");
  if (expected.is_null() || data_path(kStories).empty()) GTEST_SKIP() << "no stories260K under CHALK_DATA";
  for (const Format& format : stories_formats()) {
    for (const auto& item : expected["generation"]) {
      const auto prompt_ids = item["prompt_ids"].get<std::vector<int>>();
      const auto output_ids = item["output_ids"].get<std::vector<int>>();  // after BOS, the prompt included
      const int64_t fresh = int64_t(output_ids.size()) - int64_t(prompt_ids.size()) + 1;
      const ProgramOutcome run =
          run_chalk("generate", model_flags(format) + " --prompt " + quoted(item["prompt"]) + " --temperature 0 --json" +
                                    " --max-new-tokens " + std::to_string(fresh));
      ASSERT_EQ(run.exit_code, 0) << format.name << ": " << run.err;
      EXPECT_EQ(run.json()["prompt_ids"], item["prompt_ids"]) << format.name;
      const std::vector<int> new_ids(output_ids.end() - fresh, output_ids.end());
      EXPECT_EQ(run.json()["ids"], nlohmann::json(new_ids)) << format.name;
    }
  }
}

// 512 logits of order 10 after 5 layers: the README of the golden files gives 2e-5 as the typical float32 error; the bound
// is ten times that, for another order of summation. A total over n tokens may be off by n times the error of one.
TEST(CheckpointGolden, Stories260KLogitsAndNll) {
  const nlohmann::json expected = golden("stories260K/expected.json");
  if (expected.is_null() || data_path(kStories).empty()) GTEST_SKIP() << "no stories260K under CHALK_DATA";
  for (Device device : {Device::Plain, Device::CPU}) {
    const LoadedModel loaded =
        load_model(data_path(kStories + "stories260K.bin"), data_path(kStories + "tok512.bin"), device);
    const LogitsFunction logits_of_ids = logits_of(*loaded.model);
    const int64_t V = loaded.model->vocab_size();
    for (const auto& item : expected["logits"]) {
      const auto ids = item["ids"].get<std::vector<int32_t>>();
      const std::vector<float> logits = logits_of_ids(ids, 1, int64_t(ids.size()));
      for (size_t i = 0; i < item["positions"].size(); ++i) {
        const int64_t t = item["positions"][i].get<int64_t>();
        for (int64_t v = 0; v < V; ++v) {
          ASSERT_NEAR(logits[size_t(t * V + v)], item["values"][i][size_t(v)].get<double>(), 2e-4) << t << " " << v;
        }
      }
    }
    for (const auto& item : expected["nll"]) {
      const auto ids = item["ids"].get<std::vector<int32_t>>();
      const std::vector<float> logits = logits_of_ids(ids, 1, int64_t(ids.size()));
      double total = 0;
      for (size_t t = 0; t + 1 < ids.size(); ++t) total -= log_softmax_at(logits.data() + int64_t(t) * V, V, ids[t + 1]);
      EXPECT_NEAR(total, item["total_nll_float64"].get<double>(), 2e-6 * double(ids.size()) + 1e-4) << item["name"];
    }
  }
}

TEST(CheckpointGolden, Stories260KPerplexityProgramInEveryFormat) {
  const nlohmann::json expected = golden("stories260K/expected.json");
  if (expected.is_null() || data_path(kStories).empty()) GTEST_SKIP() << "no stories260K under CHALK_DATA";
  const auto& item = expected["nll"][0];  // a passage that fits one window
  TestFolder folder;
  std::ofstream(folder / "text.txt") << item["text"].get<std::string>();
  for (const Format& format : stories_formats()) {
    const ProgramOutcome run = run_chalk("perplexity", model_flags(format) + " --text " + (folder / "text.txt") + " --json --logits " +
                                                           (folder / "logits.npy"));
    ASSERT_EQ(run.exit_code, 0) << format.name << ": " << run.err;
    EXPECT_EQ(run.json()["tokens"], item["n_predicted"]) << format.name;
    EXPECT_NEAR(run.json()["nll"].get<double>(), item["total_nll_float64"].get<double>(), 5e-4) << format.name;
    const Npy logits = read_npy(folder / "logits.npy");
    EXPECT_EQ(logits.shape, (std::vector<int64_t>{item["n_predicted"].get<int64_t>(), 512}));
  }
}

// Weights rounded to Q8_0 on disk: the stored total is that of the rounded weights in double precision.
TEST(CheckpointGolden, Stories260KQ8File) {
  const nlohmann::json expected = golden("stories260K/expected.json");
  if (expected.is_null() || data_path(kStories).empty()) GTEST_SKIP() << "no stories260K under CHALK_DATA";
  const auto& item = expected["nll"][0];
  TestFolder folder;
  std::ofstream(folder / "text.txt") << item["text"].get<std::string>();
  const ProgramOutcome run = run_chalk(
      "perplexity", "--model " + data_path(kStories + "stories260K-q8_0.gguf") + " --text " + (folder / "text.txt") + " --json");
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_NEAR(run.json()["nll"].get<double>(), item["total_nll_float64_q8_0_gguf_weights"].get<double>(), 1e-3);
}

TEST(CheckpointGolden, Slm4096) {
  const nlohmann::json expected = golden("slm4096/expected.json");
  const std::string model = data_path("models/slm4096");
  if (expected.is_null() || model.empty()) GTEST_SKIP() << "no slm4096 under CHALK_DATA";
  for (const auto& item : expected["generation"]) {
    const ProgramOutcome run = run_chalk("generate", "--model " + model + " --prompt " + quoted(item["prompt"]) +
                                                         " --window slide --temperature 0 --json --max-new-tokens " +
                                                         std::to_string(item["new_ids"].size()));
    ASSERT_EQ(run.exit_code, 0) << run.err;
    EXPECT_EQ(run.json()["ids"], item["new_ids"]);
    EXPECT_EQ(run.json()["text"], item["new_text"]);
  }
  for (Device device : {Device::Plain, Device::CPU}) {
    const LoadedModel loaded = load_model(model, "", device);
    const LogitsFunction logits_of_ids = logits_of(*loaded.model);
    const int64_t V = loaded.model->vocab_size();
    for (const auto& item : expected["nll"]) {
      const auto ids = item["ids"].get<std::vector<int32_t>>();  // 129: 128 predictions in one window
      const std::vector<float> logits = logits_of_ids({ids.begin(), ids.end() - 1}, 1, int64_t(ids.size()) - 1);
      double total = 0;
      for (size_t t = 0; t + 1 < ids.size(); ++t) total -= log_softmax_at(logits.data() + int64_t(t) * V, V, ids[t + 1]);
      EXPECT_NEAR(total, item["total_nll"].get<double>(), 1e-5 * 128);  // 1e-5 per logit: the golden README
    }
    const auto& item = expected["logits"];
    const auto ids = item["ids"].get<std::vector<int32_t>>();
    const std::vector<float> logits = logits_of_ids(ids, 1, int64_t(ids.size()));
    for (size_t i = 0; i < item["positions"].size(); ++i) {
      const int64_t t = item["positions"][i].get<int64_t>();
      for (int64_t v = 0; v < V; ++v) {
        ASSERT_NEAR(logits[size_t(t * V + v)], item["values"][i][size_t(v)].get<double>(), 1e-4) << t << " " << v;
      }
    }
  }
}

}  // namespace
}  // namespace chalk
