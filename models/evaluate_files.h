#pragma once
// Benchmarks from files, scored as lm-evaluation-harness does: PIQA, ARC, HellaSwag, WinoGrande, MMLU, TruthfulQA, GSM8K, and any
// file of lines {"query": ..., "choices": [...], "gold": index}. docs/world.md lists the protocol of each.
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/evaluate.h"

namespace chalk {

// One answer: the model scores `continuation` after `context`. `text` is the bare option, whose characters normalise.
struct TaskChoice {
  std::string context, continuation, text;
};

struct TaskExample {
  std::vector<TaskChoice> choices;
  int gold = 0;                // index of the right choice
  std::vector<bool> is_true;   // TruthfulQA MC2: which choices are true; empty elsewhere
  std::string prompt, answer;  // GSM8K: what to continue and the reference solution
};

enum class TaskKind {
  MultipleChoice,  // acc; acc_norm and acc_bytes if the options' lengths differ
  TruthfulQA,      // two results: truthfulqa_mc1 and truthfulqa_mc2
  WordProblems,    // GSM8K: likelihood of the solution; exact match if text can be generated
};

struct Task {
  std::string name;  // lm-evaluation-harness' name where there is one: "piqa"
  std::string path;
  std::string protocol;  // one line: prompt, delimiter, shots
  TaskKind kind = TaskKind::MultipleChoice;
  bool length_normalised = true;
  std::vector<TaskExample> examples;
};

// Recognises the format by its content (keys of the first line, header of a CSV), not by its name. Throws FileError with
// file, line and field if anything is missing, of another type, or out of range.
Task read_task(const std::string& path);

// The benchmark files of a folder (CHALK_DATA/eval), sorted by name: .jsonl, .json and .csv.
std::vector<std::string> task_files(const std::string& folder);

struct TaskMetric {
  std::string name;             // "acc_norm"
  std::string filter = "none";  // lm-evaluation-harness writes "acc_norm,none"
  double value = 0, error = 0;
  bool higher_is_better = true;
};

// What the model did on one example, for comparing two models pair by pair.
struct ExampleRecord {
  int64_t index = 0;
  std::vector<double> log_probs;  // per choice
  int prediction = -1, gold = 0;
  bool truncated = false;
};

struct TaskResult {
  std::string task;  // key under "results"
  std::string protocol;
  std::vector<TaskMetric> metrics;
  int64_t original = 0, effective = 0;  // examples in the file, and scored
  int64_t truncated = 0;                // examples that did not fit the model's context
  double chance = 0;                    // mean of 1 / choices; 0 where there is no such thing
  std::vector<ExampleRecord> records;
};

// Continues a prompt greedily; may be empty, then GSM8K has no exact match.
using GenerateFunction = std::function<std::string(const std::string& prompt)>;

// `limit` > 0: only the first examples. Accuracy ties go to the first option, as numpy's argmax breaks them.
std::vector<TaskResult> evaluate_task(Scorer& scorer, const TextEncoder& encoder, const Task& task,
                                      int64_t limit = 0, const GenerateFunction& generate = {});

// {"results": {"piqa": {"alias": "piqa", "acc,none": ..., "acc_stderr,none": ...}}, "configs", "n-shot", "n-samples", ...}:
// the keys of lm-evaluation-harness' results file. `config` goes in as it is.
nlohmann::ordered_json harness_json(const std::vector<TaskResult>& results,
                                    const nlohmann::ordered_json& config);

// One JSON object per example and line.
std::string records_jsonl(const TaskResult& result);

std::string task_table(const std::vector<TaskResult>& results);

// GSM8K's answers: "#### 1,234" gives "1234"; "" if there is none.
std::string strict_number(const std::string& text);  // the number after "#### "
std::string last_number(const std::string& text);    // the last number anywhere

// HellaSwag's clean-up: " [title]" to ". ", other [bracketed] parts removed, double spaces to one, ends trimmed.
std::string clean_hellaswag(std::string text);

// RFC 4180: quoted fields may hold commas, doubled quotes and line breaks. A byte-order mark is skipped. Every row has the
// header's number of fields. Throws FileError.
std::vector<std::vector<std::string>> read_csv(const std::string& path);

}  // namespace chalk
