// Benchmark files: protocols by hand, the real files where they exist, and files that lie.
#include "models/evaluate_files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "autograd/check.h"

namespace chalk {
namespace {

// A folder that disappears with the test.
class EvaluateFiles : public ::testing::Test {
 protected:
  EvaluateFiles()
      : folder_(std::filesystem::temp_directory_path() / ("chalk_eval_" + std::to_string(getpid()))) {
    std::filesystem::create_directories(folder_);
  }
  ~EvaluateFiles() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return (folder_ / name).string();
  }

  // The message of the FileError that reading must throw.
  std::string refusal(const std::string& name, const std::string& text) const {
    try {
      read_task(write(name, text));
    } catch (const FileError& error) {
      return error.what();
    }
    ADD_FAILURE() << "accepted: " << text;
    return "";
  }

  std::filesystem::path folder_;
};

// One id per byte.
TextEncoder bytes() {
  TextEncoder encoder;
  encoder.encode = [](const std::string& text) {
    std::vector<int32_t> ids;
    for (char c : text) ids.push_back(uint8_t(c));
    return ids;
  };
  encoder.empty_context = 0;
  return encoder;
}

// Every byte equally likely: ln p = -tokens · ln 256.
struct FlatScorer : Scorer {
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
    std::vector<std::vector<OptionScore>> scores;
    for (const ChoiceRequest& r : requests) {
      scores.emplace_back();
      for (const auto& option : r.options)
        scores.back().push_back({-double(option.size()) * std::log(256.0), false, false});
    }
    last = requests;
    return scores;
  }
  std::vector<ChoiceRequest> last;
};

std::string text_of(const std::vector<int32_t>& ids) {
  return {ids.begin(), ids.end()};
}

double metric(const TaskResult& result, const std::string& name, const std::string& filter = "none") {
  for (const TaskMetric& m : result.metrics)
    if (m.name == name && m.filter == filter) return m.value;
  ADD_FAILURE() << result.task << " has no " << name;
  return -1;
}

TEST_F(EvaluateFiles, QueryFormatAndNormalisation) {
  const Task task = read_task(
      write("mine.jsonl",
            "{\"query\":\"Question: why?\",\"choices\":[\"abcd\",\"ab\"],\"gold\":1}\n\n"
            "{\"query\":\"Sky is\",\"choices\":[\"\u00e9\u00e9\",\"abc\",\"abc\"],\"gold\":0}\r\n"));
  EXPECT_EQ(task.name, "mine");
  ASSERT_EQ(task.examples.size(), 2u);
  EXPECT_EQ(task.examples[0].choices[0].context, "Question: why?\nAnswer:");
  EXPECT_EQ(task.examples[1].choices[0].context, "Sky is");
  EXPECT_EQ(task.examples[1].choices[0].continuation, " \u00e9\u00e9");
  FlatScorer flat;
  const TaskResult r = evaluate_task(flat, bytes(), task)[0];
  EXPECT_EQ(text_of(flat.last[0].context), "Question: why?\nAnswer:");
  EXPECT_EQ(flat.last.size(), 2u);  // one request per example
  // Tokens (with the space) 5 3 | 5 4 4, characters 4 2 | 2 3 3, bytes 4 2 | 4 3 3.
  EXPECT_EQ(metric(r, "acc"), 0.5);        // picks the shortest: 1 right, then 1 wrong
  EXPECT_EQ(metric(r, "acc_norm"), 0.0);   // -5/4 > -3/2: 0 wrong; -5/2 < -4/3: 1 wrong
  EXPECT_EQ(metric(r, "acc_bytes"), 0.5);  // 0 wrong; -5/4 > -4/3: 0 right
  EXPECT_EQ(metric(r, "acc_token"), 0.5);  // all equal, the first wins: 0 wrong, 0 right
  EXPECT_NEAR(r.chance, (1.0 / 2 + 1.0 / 3) / 2, 1e-12);
  EXPECT_EQ(r.records[1].prediction, 1);
}

// Options of equal length and gold answers spread evenly: a model that knows nothing gets chance.
TEST_F(EvaluateFiles, AFlatModelGetsChance) {
  std::string lines;
  for (int i = 0; i < 40; i++)
    lines += "{\"query\":\"q\",\"choices\":[\"aa\",\"bb\",\"cc\",\"dd\"],\"gold\":" + std::to_string(i % 4) +
             "}\n";
  FlatScorer flat;
  const TaskResult r = evaluate_task(flat, bytes(), read_task(write("even.jsonl", lines)))[0];
  for (const char* name : {"acc", "acc_norm", "acc_bytes", "acc_token"})
    EXPECT_NEAR(metric(r, name), r.chance, 1e-12) << name;
}

TEST_F(EvaluateFiles, HellaSwag) {
  EXPECT_EQ(clean_hellaswag("  How to [header] run [title] Be quick.  Go [substeps] now "),
            "How to run. Be quick. Go now");
  EXPECT_EQ(clean_hellaswag("a [open"), "a [open");
  const Task task = read_task(
      write("hellaswag_x.jsonl",
            "{\"activity_label\":\"Pole vault\",\"ctx_a\":\"A run.\",\"ctx_b\":\"the Women\",\"ctx\":\"\","
            "\"label\":\"1\",\"endings\":[\"go.\",\"stop [x] it.\"]}"));
  EXPECT_EQ(task.name, "hellaswag");
  EXPECT_EQ(task.examples[0].choices[1].context, "Pole vault: A run. The women");
  EXPECT_EQ(task.examples[0].choices[1].continuation, " stop it.");
  EXPECT_EQ(task.examples[0].gold, 1);
}

TEST_F(EvaluateFiles, WinoGrandeScoresTheSameContinuation) {
  const Task task = read_task(write(
      "w.jsonl", "{\"context_options\":[\"so Sarah\",\"so Maria\"],\"continuation\":\"won.\",\"gold\":1}"));
  FlatScorer flat;
  const TaskResult r = evaluate_task(flat, bytes(), task)[0];
  ASSERT_EQ(flat.last.size(), 2u);
  EXPECT_EQ(text_of(flat.last[1].context), "so Maria");
  EXPECT_EQ(text_of(flat.last[0].options[0]), " won.");
  EXPECT_EQ(r.metrics.size(), 1u);
  EXPECT_EQ(r.records[0].log_probs.size(), 2u);
}

TEST_F(EvaluateFiles, MmluSamples) {
  const Task task = read_task(write(
      "m.json",
      "{\"samples\":[{\"prompt\":\"Q\\nAnswer:\",\"options\":[\" A\",\" B\"],\"input_label\":1,\"x\":0}]}"));
  EXPECT_EQ(task.examples[0].choices[1].continuation, " B");  // no second space
  FlatScorer flat;
  EXPECT_EQ(evaluate_task(flat, bytes(), task)[0].metrics.size(), 1u);
}

// Knows which texts are true.
struct TruthScorer : Scorer {
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
    std::vector<std::vector<OptionScore>> scores;
    for (const ChoiceRequest& r : requests) {
      scores.emplace_back();
      for (const auto& option : r.options)
        scores.back().push_back(
            {text_of(option).find("yes") != std::string::npos ? std::log(0.4) : std::log(0.1), false, false});
    }
    return scores;
  }
};

TEST_F(EvaluateFiles, TruthfulQa) {
  const Task task =
      read_task(write("TruthfulQA.csv",
                      "\xEF\xBB\xBFType,Question,Best Answer,Correct Answers,Incorrect Answers\r\n"
                      "a,\"Is it, \"\"so\"\"?\",yes,yes; yes sir.;,\"no; never,\n ever; \"\r\n"));
  ASSERT_EQ(task.examples.size(), 1u);
  const TaskExample& e = task.examples[0];
  EXPECT_EQ(e.choices[0].context, "Q: Is it, \"so\"?\nA:");
  ASSERT_EQ(e.choices.size(), 5u);  // two incorrect, two correct, the best
  EXPECT_EQ(e.choices[0].continuation, " no.");
  EXPECT_EQ(e.choices[1].continuation, " never,\n ever.");
  EXPECT_EQ(e.choices[3].continuation, " yes sir.");
  TruthScorer knows;
  const std::vector<TaskResult> r = evaluate_task(knows, bytes(), task);
  EXPECT_EQ(r[0].task, "truthfulqa_mc1");
  EXPECT_EQ(metric(r[0], "acc"), 1.0);
  EXPECT_EQ(r[1].task, "truthfulqa_mc2");
  EXPECT_NEAR(metric(r[1], "acc"), 0.8 / 1.0, 1e-12);  // (.4 + .4) / (.4 + .4 + .1 + .1)
  EXPECT_NEAR(r[1].chance, 0.5, 1e-12);
  // A tie of the best with an incorrect answer is a miss.
  struct Same : Scorer {
    std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override {
      std::vector<std::vector<OptionScore>> scores;
      for (const ChoiceRequest& q : requests) scores.emplace_back(q.options.size());
      return scores;
    }
  } same;
  EXPECT_EQ(metric(evaluate_task(same, bytes(), task)[0], "acc"), 0.0);
}

TEST_F(EvaluateFiles, WordProblems) {
  const Task task = read_task(write("gsm8k_test.jsonl",
                                    "{\"question\":\"How many?\",\"answer\":\"It is 1000.\\n#### 1,000\"}\n"
                                    "{\"question\":\"And now?\",\"answer\":\"So 5\\n#### 5\"}\n"));
  FlatScorer flat;
  const TaskResult silent = evaluate_task(flat, bytes(), task)[0];
  EXPECT_EQ(silent.task, "gsm8k");
  EXPECT_NEAR(metric(silent, "log_prob_per_token"), -std::log(256.0), 1e-12);
  EXPECT_EQ(silent.metrics.size(), 1u);
  const TaskResult spoken = evaluate_task(flat, bytes(), task, 0, [](const std::string& prompt) {
    EXPECT_EQ(prompt.rfind("Question: ", 0), 0u);
    return std::string(" The answer is $1,000.\nQuestion: another? #### 5");
  })[0];
  EXPECT_EQ(metric(spoken, "exact_match", "flexible-extract"), 0.5);
  EXPECT_EQ(metric(spoken, "exact_match", "strict-match"), 0.0);
}

TEST(Numbers, StrictAndLast) {
  EXPECT_EQ(strict_number("x\n#### 1,234"), "1234");
  EXPECT_EQ(strict_number("#### -3.5."), "-3.5");
  EXPECT_EQ(strict_number("#### none #### 7"), "7");
  EXPECT_EQ(strict_number("1234"), "");
  EXPECT_EQ(strict_number("#### -"), "");
  EXPECT_EQ(last_number("2 and then $1,400.50."), "1400.50");
  EXPECT_EQ(last_number("a 7 b"), "7");
  EXPECT_EQ(last_number("minus -42!"), "-42");
  EXPECT_EQ(last_number("no digits"), "");
  EXPECT_EQ(last_number(""), "");
}

TEST_F(EvaluateFiles, JsonHasTheHarnessKeys) {
  const Task task = read_task(write("piqa.jsonl",
                                    "{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":0}\n"
                                    "{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":1}\n"));
  FlatScorer flat;
  const std::vector<TaskResult> results = evaluate_task(flat, bytes(), task, 1);
  const nlohmann::ordered_json json = harness_json(results, {{"model", "m"}});
  const auto& piqa = json.at("results").at("piqa");
  EXPECT_EQ(piqa.at("alias"), "piqa");
  for (const char* key : {"acc,none", "acc_stderr,none", "acc_norm,none", "acc_norm_stderr,none"})
    EXPECT_TRUE(piqa.at(key).is_number()) << key;
  EXPECT_EQ(json.at("n-samples").at("piqa").at("original"), 2);
  EXPECT_EQ(json.at("n-samples").at("piqa").at("effective"), 1);
  EXPECT_EQ(json.at("n-shot").at("piqa"), 0);
  EXPECT_EQ(json.at("config").at("model"), "m");
  const auto line = nlohmann::json::parse(records_jsonl(results[0]));
  EXPECT_EQ(line.at("target"), 0);
  EXPECT_EQ(line.at("log_probs").size(), 2u);
  EXPECT_NE(task_table(results).find("acc_norm"), std::string::npos);
}

TEST_F(EvaluateFiles, HostileFiles) {
  const std::string good = "{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":0}\n";
  EXPECT_THROW(read_task((folder_ / "absent.jsonl").string()), FileError);
  EXPECT_THROW(read_task(folder_.string()), FileError);
  EXPECT_NE(refusal("a.jsonl", "").find("no example"), std::string::npos);
  EXPECT_NE(refusal("b.jsonl", "\n \n").find("no example"), std::string::npos);
  EXPECT_NE(refusal("c.jsonl", good + "{\"query\":").find("line 2"), std::string::npos);
  EXPECT_NE(refusal("d.jsonl", "[1,2]\n").find("line 1"), std::string::npos);
  EXPECT_NE(refusal("e.jsonl", "{\"text\":1}\n").find("unknown format"), std::string::npos);
  auto line2 = [&](const std::string& line, const std::string& field) {
    const std::string message = refusal("x.jsonl", good + line);
    EXPECT_NE(message.find("line 2"), std::string::npos) << message;
    EXPECT_NE(message.find(field), std::string::npos) << message;
  };
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":2}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":-1}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":1e99}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":true}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"],\"gold\":\"b\"}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"b\"]}", "gold");
  line2("{\"query\":\"q\",\"choices\":[\"a\"],\"gold\":0}", "choices");
  line2("{\"query\":\"q\",\"choices\":[\"a\",\"\"],\"gold\":0}", "choices");
  line2("{\"query\":\"q\",\"choices\":[\"a\",3],\"gold\":0}", "choices");
  line2("{\"query\":\"q\",\"choices\":\"ab\",\"gold\":0}", "choices");
  line2("{\"query\":7,\"choices\":[\"a\",\"b\"],\"gold\":0}", "query");
  line2("{\"query\":\"\",\"choices\":[\"a\",\"b\"],\"gold\":0}", "query");
  line2("{\"query\":\"\xff\xfe\",\"choices\":[\"a\",\"b\"],\"gold\":0}", "JSON");
  line2("[]", "line 2");
  refusal("f.json", "{\"samples\":{}}");
  refusal("g.json", "{}");
  refusal("h.json", "{\"samples\":[]}");
  refusal("i.json", "{\"samples\":[{\"prompt\":\"p\",\"options\":[\" A\"],\"input_label\":0}]}");
  refusal("j.json", std::string(100000, '['));
  const std::string header = "Question,Best Answer,Correct Answers,Incorrect Answers\n";
  refusal("k.csv", "");
  refusal("l.csv", header);
  refusal("m.csv", "Question,Best Answer,Correct Answers\nq,b,c\n");
  EXPECT_NE(refusal("n.csv", header + "q,b,c\n").find("row 1"), std::string::npos);
  EXPECT_NE(refusal("o.csv", header + "q,b,c,\"open\n").find("not closed"), std::string::npos);
  refusal("p.csv", header + "q,b,c,\"x\"y\n");
  EXPECT_NE(refusal("q.csv", header + "q,b,c, ; \n").find("Incorrect Answers"), std::string::npos);
  EXPECT_NE(refusal("r.csv", header + "q,b;b2,c,d\n").find("Best Answer"), std::string::npos);
  refusal("gsm8k.jsonl", "{\"question\":\"q\",\"answer\":\"no number\"}\n");
  EXPECT_THROW(task_files((folder_ / "absent").string()), FileError);
}

// ---- The real files ----

std::string eval_folder() {
  const char* data = std::getenv("CHALK_DATA");
  return std::string(data ? data : "data") + "/eval";
}

TEST(RealFiles, AreReadInFull) {
  if (!std::filesystem::exists(eval_folder())) GTEST_SKIP() << eval_folder() << " is absent: run make data";
  const std::vector<std::pair<std::string, size_t>> expected = {
      {"hellaswag_val_1000.jsonl", 1000}, {"piqa.jsonl", 1838},       {"arc_easy.jsonl", 2376},
      {"winogrande.jsonl", 1267},         {"gsm8k_test.jsonl", 1319}, {"TruthfulQA.csv", 817},
      {"mmlu_gemma_cpp.json", 83}};
  int found = 0;
  for (const auto& [name, count] : expected) {
    const std::string path = eval_folder() + "/" + name;
    if (!std::filesystem::exists(path)) continue;
    found++;
    const Task task = read_task(path);
    EXPECT_EQ(task.examples.size(), count) << name;
    FlatScorer flat;
    for (const TaskResult& r : evaluate_task(flat, bytes(), task)) {
      EXPECT_EQ(r.effective, int64_t(count));
      EXPECT_EQ(r.records.size(), count);
      for (const TaskMetric& m : r.metrics) EXPECT_TRUE(std::isfinite(m.value)) << r.task << " " << m.name;
    }
  }
  if (found == 0) GTEST_SKIP() << "no benchmark file in " << eval_folder();
  EXPECT_GE(task_files(eval_folder()).size(), size_t(found));
}

TEST(RealFiles, FirstPrompts) {
  const std::string hellaswag = eval_folder() + "/hellaswag_val_1000.jsonl",
                    piqa = eval_folder() + "/piqa.jsonl";
  if (!std::filesystem::exists(hellaswag) || !std::filesystem::exists(piqa))
    GTEST_SKIP() << "no files in " << eval_folder();
  EXPECT_EQ(read_task(hellaswag).examples[0].choices[0].context,
            "Pole vault: Pole vault is a sport where you run with a pole and stop and swing your body. A few "
            "women");
  EXPECT_EQ(read_task(piqa).examples[1].choices[0].context, "Question: dresser\nAnswer:");
  EXPECT_EQ(read_task(piqa).examples[1].choices[0].continuation, " replace drawer with bobby pin");
}

}  // namespace
}  // namespace chalk
