// Scores tasks and writes the results in the harness' form.
#include "models/evaluate_files.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/check.h"

namespace chalk {

namespace {

// Option scores of one example; WinoGrande has a context per choice, hence one request per choice there.
struct ScoredExample {
  const TaskExample* example;
  std::vector<OptionScore> scores;
  std::vector<size_t> tokens;  // per choice
};

bool one_context(const TaskExample& example) {
  return std::all_of(example.choices.begin(), example.choices.end(),
                     [&](const TaskChoice& c) { return c.context == example.choices[0].context; });
}

std::vector<ScoredExample> score_examples(Scorer& scorer, const TextEncoder& encoder, const Task& task,
                                          size_t n) {
  std::vector<ScoredExample> scored(n);
  std::vector<ChoiceRequest> requests;
  std::vector<std::pair<size_t, size_t>> owners;  // of each request: example, its first choice
  for (size_t e = 0; e < n; e++) {
    scored[e].example = &task.examples[e];
    const std::vector<TaskChoice>& choices = task.examples[e].choices;
    const bool shared = one_context(task.examples[e]);
    for (size_t c = 0; c < choices.size(); c++) {
      TokenPair pair = encode_pair(encoder, choices[c].context, choices[c].continuation);
      scored[e].tokens.push_back(pair.continuation.size());
      // A merge across the border can shorten the context of one option; then it needs a request of its own.
      const bool joins = shared && c > 0 && requests.back().context == pair.context;
      if (!joins) {
        requests.push_back({std::move(pair.context), {}});
        owners.push_back({e, c});
      }
      requests.back().options.push_back(std::move(pair.continuation));
    }
  }
  const std::vector<std::vector<OptionScore>> results = scorer.score(requests);
  for (size_t r = 0; r < requests.size(); r++) {
    std::vector<OptionScore>& scores = scored[owners[r].first].scores;
    scores.insert(scores.end(), results[r].begin(), results[r].end());
  }
  return scored;
}

size_t count_characters(const std::string& utf8) {
  return size_t(std::count_if(utf8.begin(), utf8.end(), [](char c) { return (uint8_t(c) & 0xC0) != 0x80; }));
}

std::vector<double> log_probs(const ScoredExample& s) {
  std::vector<double> values;
  for (const OptionScore& score : s.scores) values.push_back(score.log_prob);
  return values;
}

int best_of(const std::vector<double>& values) {
  return int(std::max_element(values.begin(), values.end()) - values.begin());
}

TaskMetric mean_metric(const std::string& name, const std::vector<double>& values,
                       const std::string& filter = "none") {
  const MeanError mean = mean_error(values);
  return {name, filter, mean.mean, mean.error, true};
}

// acc: argmax ll;  acc_norm: argmax ll / characters;  acc_bytes: argmax ll / bytes;  acc_token: argmax ll / tokens.
std::vector<TaskMetric> accuracies(const std::vector<ScoredExample>& scored, bool length_normalised) {
  std::vector<double> acc, acc_norm, acc_bytes, acc_token;
  for (const ScoredExample& s : scored) {
    std::vector<double> ll = log_probs(s), per_character, per_byte, per_token;
    for (size_t c = 0; c < ll.size(); c++) {
      const std::string& text = s.example->choices[c].text;
      per_character.push_back(ll[c] / double(count_characters(text)));
      per_byte.push_back(ll[c] / double(text.size()));
      per_token.push_back(ll[c] / double(s.tokens[c]));
    }
    const int gold = s.example->gold;
    acc.push_back(best_of(ll) == gold);
    acc_norm.push_back(best_of(per_character) == gold);
    acc_bytes.push_back(best_of(per_byte) == gold);
    acc_token.push_back(best_of(per_token) == gold);
  }
  std::vector<TaskMetric> metrics = {mean_metric("acc", acc)};
  if (!length_normalised) return metrics;
  metrics.push_back(mean_metric("acc_norm", acc_norm));
  metrics.push_back(mean_metric("acc_bytes", acc_bytes));
  metrics.push_back(mean_metric("acc_token", acc_token));
  return metrics;
}

TaskResult start_result(const Task& task, const std::string& name, const std::vector<ScoredExample>& scored) {
  TaskResult result;
  result.task = name;
  result.protocol = task.protocol;
  result.original = int64_t(task.examples.size());
  result.effective = int64_t(scored.size());
  for (size_t e = 0; e < scored.size(); e++) {
    ExampleRecord record{int64_t(e), log_probs(scored[e]), 0, scored[e].example->gold, false};
    record.prediction = best_of(record.log_probs);
    for (const OptionScore& s : scored[e].scores) record.truncated = record.truncated || s.truncated;
    result.truncated += record.truncated;
    result.chance += 1.0 / double(record.log_probs.size()) / double(scored.size());
    result.records.push_back(std::move(record));
  }
  return result;
}

// ---- TruthfulQA ----

// MC1: the best answer against the incorrect ones. The correct answers in between are left out.
TaskResult truthful_mc1(const Task& task, const std::vector<ScoredExample>& scored) {
  std::vector<ScoredExample> kept = scored;
  std::vector<TaskExample> examples(scored.size());
  for (size_t e = 0; e < scored.size(); e++) {
    const TaskExample& full = *scored[e].example;
    kept[e] = {&examples[e], {}, {}};
    for (size_t c = 0; c < full.choices.size(); c++) {
      if (full.is_true[c]) continue;
      examples[e].choices.push_back(full.choices[c]);
      kept[e].scores.push_back(scored[e].scores[c]);
      kept[e].tokens.push_back(scored[e].tokens[c]);
    }
    examples[e].gold = int(examples[e].choices.size()) - 1;
  }
  TaskResult result = start_result(task, "truthfulqa_mc1", kept);
  result.metrics = accuracies(kept, false);
  return result;
}

// MC2: Σ p(correct) / (Σ p(correct) + Σ p(incorrect)), p = exp(ll).
TaskResult truthful_mc2(const Task& task, const std::vector<ScoredExample>& scored) {
  std::vector<double> masses;
  double chance = 0;
  for (const ScoredExample& s : scored) {
    // The best answer stands last and is among the correct ones already: leave it out.
    const std::vector<OptionScore> scores(s.scores.begin(), s.scores.end() - 1);
    const std::vector<double> p = option_probabilities(scores);
    double mass = 0, truths = 0;
    for (size_t c = 0; c < p.size(); c++) {
      mass += s.example->is_true[c] ? p[c] : 0;
      truths += s.example->is_true[c];
    }
    masses.push_back(mass);
    chance += truths / double(p.size()) / double(scored.size());
  }
  TaskResult result = start_result(task, "truthfulqa_mc2", scored);
  result.metrics = {mean_metric("acc", masses)};
  result.chance = chance;
  return result;
}

// ---- GSM8K ----

// What the harness stops at.
std::string until_next_question(const std::string& text) {
  return text.substr(0, text.find("Question:"));
}

TaskResult word_problems(const Task& task, const std::vector<ScoredExample>& scored,
                         const GenerateFunction& generate) {
  TaskResult result = start_result(task, task.name, scored);
  result.chance = 0;
  std::vector<double> per_token, strict, flexible;
  for (size_t e = 0; e < scored.size(); e++) {
    per_token.push_back(scored[e].scores[0].log_prob / double(scored[e].tokens[0]));
    result.records[e].prediction = -1;
    if (!generate) continue;
    const std::string reply = until_next_question(generate(scored[e].example->prompt));
    const std::string gold = strict_number(scored[e].example->answer);
    strict.push_back(strict_number(reply) == gold);
    flexible.push_back(last_number(reply) == gold);
  }
  result.metrics = {mean_metric("log_prob_per_token", per_token)};
  if (generate) {
    result.metrics.push_back(mean_metric("exact_match", strict, "strict-match"));
    result.metrics.push_back(mean_metric("exact_match", flexible, "flexible-extract"));
  }
  return result;
}

bool in(char c, const char* set) {
  return c != 0 && std::string_view(set).find(c) != std::string_view::npos;
}

// "$1,234." to "1234"
std::string bare_number(const std::string& text) {
  std::string number;
  for (char c : text)
    if (c != '$' && c != ',') number += c;
  if (!number.empty() && number.back() == '.') number.pop_back();
  return number;
}

}  // namespace

std::string strict_number(const std::string& text) {
  const std::string mark = "#### ";
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + 1)) {
    const size_t begin = at + mark.size();
    size_t end = begin;
    if (end < text.size() && text[end] == '-') end++;
    const size_t digits = end;
    while (end < text.size() && in(text[end], "0123456789.,")) end++;
    if (end > digits) return bare_number(text.substr(begin, end - begin));
  }
  return "";
}

// As the pattern (-?[$0-9.,]{2,})|(-?[0-9]+), last match.
std::string last_number(const std::string& text) {
  std::string last;
  for (size_t at = 0; at < text.size();) {
    const size_t digits = at + (text[at] == '-');
    size_t end = digits;
    while (end < text.size() && in(text[end], "$0123456789.,")) end++;
    const bool single = end == digits + 1 && in(text[digits], "0123456789");
    if (end >= digits + 2 || single) {
      last = text.substr(at, end - at);
      at = end;
    } else {
      at++;
    }
  }
  return bare_number(last);
}

std::vector<TaskResult> evaluate_task(Scorer& scorer, const TextEncoder& encoder, const Task& task,
                                      int64_t limit, const GenerateFunction& generate) {
  const size_t n = limit > 0 ? std::min(size_t(limit), task.examples.size()) : task.examples.size();
  const std::vector<ScoredExample> scored = score_examples(scorer, encoder, task, n);
  if (task.kind == TaskKind::TruthfulQA) return {truthful_mc1(task, scored), truthful_mc2(task, scored)};
  if (task.kind == TaskKind::WordProblems) return {word_problems(task, scored, generate)};
  TaskResult result = start_result(task, task.name, scored);
  result.metrics = accuracies(scored, task.length_normalised);
  return {result};
}

nlohmann::ordered_json harness_json(const std::vector<TaskResult>& results,
                                    const nlohmann::ordered_json& config) {
  nlohmann::ordered_json out;
  for (const char* key :
       {"results", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better", "n-samples"})
    out[key] = nlohmann::ordered_json::object();
  for (const TaskResult& r : results) {
    nlohmann::ordered_json& values = out["results"][r.task];
    values["alias"] = r.task;
    for (const TaskMetric& m : r.metrics) {
      values[m.name + "," + m.filter] = m.value;
      values[m.name + "_stderr," + m.filter] = m.error;
      out["higher_is_better"][r.task][m.name] = m.higher_is_better;
    }
    const int shots = r.task == "mmlu" ? 5 : 0;
    out["group_subtasks"][r.task] = nlohmann::ordered_json::array();
    out["configs"][r.task] = {{"task", r.task},
                              {"num_fewshot", shots},
                              {"description", r.protocol},
                              {"chance", r.chance},
                              {"truncated_examples", r.truncated}};
    out["versions"][r.task] = 1.0;
    out["n-shot"][r.task] = shots;
    out["n-samples"][r.task] = {{"original", r.original}, {"effective", r.effective}};
  }
  out["config"] = config;
  return out;
}

std::string records_jsonl(const TaskResult& result) {
  std::string text;
  for (const ExampleRecord& r : result.records) {
    nlohmann::ordered_json line = {{"task", result.task}, {"doc_id", r.index}, {"log_probs", r.log_probs}};
    if (r.prediction >= 0) {
      line["prediction"] = r.prediction;
      line["target"] = r.gold;
      line["acc"] = r.prediction == r.gold ? 1 : 0;
    }
    line["truncated"] = r.truncated;
    text += line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  }
  return text;
}

std::string task_table(const std::vector<TaskResult>& results) {
  std::string text = fmt::format("{:<16} {:<28} {:>8} {:>8} {:>7} {:>6} {:>9}\n", "task", "metric", "value",
                                 "stderr", "chance", "n", "truncated");
  for (const TaskResult& r : results)
    for (const TaskMetric& m : r.metrics)
      text += fmt::format("{:<16} {:<28} {:>8.4f} {:>8.4f} {:>7.3f} {:>6} {:>9}\n", r.task,
                          m.filter == "none" ? m.name : m.name + " (" + m.filter + ")", m.value, m.error,
                          r.chance, r.effective, r.truncated);
  return text;
}

}  // namespace chalk
