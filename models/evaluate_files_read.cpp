// Readers of the benchmark files. They trust nothing: a missing key, a gold index out of range or an empty option is an error that
// names file, line and field.
#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/evaluate_files.h"
#include "models/io/file.h"
#include "models/io/json.h"

namespace chalk {

using nlohmann::json;

namespace {

constexpr size_t kMaxFileBytes = size_t(256) << 20;
constexpr int64_t kMaxChoices = 1000;

// Where a piece of JSON comes from, for messages: "piqa.jsonl: line 12".
struct Source {
  const std::string& path;
  std::string place;
  [[noreturn]] void fail(const std::string& field, const std::string& reason) const {
    throw FileError(path, place + (field.empty() ? "" : ": " + field), reason);
  }
  std::string name() const { return path + ": " + place; }
};

std::string text_of(const Source& source, const json& object, const std::string& key) {
  const std::string text = get_string(object, source.name(), key);
  if (text.empty()) source.fail(key, "is empty");
  return text;
}

std::vector<std::string> texts_of(const Source& source, const json& object, const std::string& key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_array()) source.fail(key, "must be a list of strings");
  if (found->size() < 2 || int64_t(found->size()) > kMaxChoices)
    source.fail(key, fmt::format("has {} entries; 2 to {} make sense", found->size(), kMaxChoices));
  std::vector<std::string> texts;
  for (const json& entry : *found) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty())
      source.fail(key, fmt::format("entry {} is not a non-empty string", texts.size()));
    texts.push_back(entry.get<std::string>());
  }
  return texts;
}

// An index, written as a number or (HellaSwag on the Hub) as a string of digits.
int index_of(const Source& source, const json& object, const std::string& key, size_t choices) {
  const auto found = object.find(key);
  if (found != object.end() && found->is_string()) {
    const std::string digits = found->get<std::string>();
    if (digits.size() == 1 && digits[0] >= '0' && size_t(digits[0] - '0') < choices) return digits[0] - '0';
    source.fail(key, fmt::format("'{}' is not an index of {} choices", printable(digits), choices));
  }
  return int(get_int(object, source.name(), key, 0, int64_t(choices) - 1));
}

// " " before the option, unless it brings its own space (MMLU's " A").
TaskExample with_options(const std::string& context, const std::vector<std::string>& options, int gold) {
  TaskExample example;
  for (const std::string& option : options)
    example.choices.push_back({context, option[0] == ' ' ? option : " " + option, option});
  example.gold = gold;
  return example;
}

// ---- The formats of one JSON object per line ----

bool has_keys(const json& object, std::initializer_list<const char*> keys) {
  return std::all_of(keys.begin(), keys.end(), [&](const char* key) { return object.contains(key); });
}

TaskExample read_query(const Source& source, const json& line) {
  std::string query = text_of(source, line, "query");
  // The converted PIQA and ARC files hold "Question: ..." and leave the harness' "\nAnswer:" to the reader.
  if (query.rfind("Question: ", 0) == 0 && query.find("\nAnswer:") == std::string::npos) query += "\nAnswer:";
  const std::vector<std::string> choices = texts_of(source, line, "choices");
  return with_options(query, choices, index_of(source, line, "gold", choices.size()));
}

// Python's str.capitalize, for ASCII: the first letter upper case, all others lower.
std::string capitalised(std::string text) {
  for (size_t i = 0; i < text.size(); i++) {
    const char c = text[i];
    if (i == 0 && c >= 'a' && c <= 'z') text[i] = char(c - 'a' + 'A');
    if (i > 0 && c >= 'A' && c <= 'Z') text[i] = char(c - 'A' + 'a');
  }
  return text;
}

TaskExample read_hellaswag(const Source& source, const json& line) {
  const std::string context = text_of(source, line, "activity_label") + ": " +
                              text_of(source, line, "ctx_a") + " " +
                              capitalised(get_string(line, source.name(), "ctx_b"));
  std::vector<std::string> endings = texts_of(source, line, "endings");
  for (std::string& ending : endings) {
    ending = clean_hellaswag(ending);
    if (ending.empty()) source.fail("endings", "one is empty after the clean-up");
  }
  return with_options(clean_hellaswag(context), endings, index_of(source, line, "label", endings.size()));
}

// Partial evaluation: what follows the blank is scored after each of the two filled-in beginnings.
TaskExample read_winogrande(const Source& source, const json& line) {
  TaskExample example;
  const std::string continuation = text_of(source, line, "continuation");
  for (const std::string& context : texts_of(source, line, "context_options"))
    example.choices.push_back({context, " " + continuation, continuation});
  example.gold = index_of(source, line, "gold", example.choices.size());
  return example;
}

TaskExample read_word_problem(const Source& source, const json& line) {
  TaskExample example;
  example.prompt = "Question: " + text_of(source, line, "question") + "\nAnswer:";
  example.answer = text_of(source, line, "answer");
  if (strict_number(example.answer).empty()) source.fail("answer", "has no number after '#### '");
  example.choices.push_back({example.prompt, " " + example.answer, example.answer});
  return example;
}

using LineReader = TaskExample (*)(const Source&, const json&);

// Chooses the reader by the keys of the first line, and fills in the task's name and protocol.
LineReader recognise_lines(const Source& source, const json& first, Task& task) {
  check_object(first, source.path, source.place);
  const std::string answer = "'Question: Q\\nAnswer:' + ' ' + option, 0-shot";
  if (has_keys(first, {"query", "choices", "gold"})) {
    task.protocol = "query + ' ' + option, 0-shot; " + answer + " where the query begins with 'Question: '";
    return read_query;
  }
  if (has_keys(first, {"ctx_a", "endings", "label"})) {
    task.protocol = "'activity: ctx_a Ctx_b' cleaned + ' ' + ending, 0-shot";
    return read_hellaswag;
  }
  if (has_keys(first, {"context_options", "continuation", "gold"})) {
    task.protocol = "the same continuation after each context (partial evaluation), 0-shot";
    task.length_normalised = false;
    return read_winogrande;
  }
  if (has_keys(first, {"question", "answer"})) {
    task.protocol = "'Question: Q\\nAnswer:', 0-shot; likelihood of the reference solution";
    task.kind = TaskKind::WordProblems;
    return read_word_problem;
  }
  source.fail("",
              "unknown format; a line needs the keys query, choices, gold (or those of a benchmark in "
              "docs/world.md)");
}

void read_lines(Task& task) {
  const std::string text = read_text(task.path, kMaxFileBytes);
  LineReader reader = nullptr;
  int64_t number = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    number++;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const Source source{task.path, fmt::format("line {}", number)};
    const json object = parse_json(line, task.path, source.place);
    if (!reader) reader = recognise_lines(source, object, task);
    check_object(object, task.path, source.place);
    task.examples.push_back(reader(source, object));
  }
}

// ---- One JSON object: five-shot MMLU prompts ----

void read_samples(Task& task) {
  const json file = read_json(task.path, kMaxFileBytes);
  check_object(file, task.path, "");
  const auto samples = file.find("samples");
  if (samples == file.end() || !samples->is_array()) throw FileError(task.path, "samples", "must be a list");
  for (const json& sample : *samples) {
    const Source source{task.path, fmt::format("samples[{}]", task.examples.size())};
    check_object(sample, task.path, source.place);
    const std::vector<std::string> options = texts_of(source, sample, "options");
    task.examples.push_back(with_options(text_of(source, sample, "prompt"), options,
                                         index_of(source, sample, "input_label", options.size())));
  }
  task.protocol = "5-shot prompt of the file + ' A' ... ' D'";
  task.length_normalised = false;
}

// ---- TruthfulQA ----

// "a; b; ": trimmed, empty ones dropped, each closed with a full stop as the authors' code does.
std::vector<std::string> split_answers(const std::string& field) {
  std::vector<std::string> answers;
  for (size_t begin = 0; begin <= field.size();) {
    const size_t end = std::min(field.find(';', begin), field.size());
    std::string answer = field.substr(begin, end - begin);
    begin = end + 1;
    answer.erase(0, std::min(answer.find_first_not_of(" \t\r\n"), answer.size()));
    answer.erase(answer.find_last_not_of(" \t\r\n") + 1);
    if (answer.empty()) continue;
    answers.push_back(answer.back() == '.' ? answer : answer + ".");
  }
  return answers;
}

// Choices: the incorrect answers, then the correct ones, then the best one. The best stands last and ties go to the
// first, so a tie is a miss: the authors' code asks for best > max(incorrect).
TaskExample truthful_example(const Source& source, const std::string& question, const std::string& best,
                             const std::string& correct, const std::string& incorrect) {
  const std::vector<std::string> wrong = split_answers(incorrect), right = split_answers(correct),
                                 top = split_answers(best);
  if (question.empty()) source.fail("Question", "is empty");
  if (wrong.empty()) source.fail("Incorrect Answers", "holds no answer");
  if (right.empty()) source.fail("Correct Answers", "holds no answer");
  if (top.size() != 1) source.fail("Best Answer", "must be one answer");
  std::vector<std::string> options = wrong;
  options.insert(options.end(), right.begin(), right.end());
  options.push_back(top[0]);
  TaskExample example = with_options("Q: " + question + "\nA:", options, int(options.size()) - 1);
  example.is_true.assign(options.size(), false);
  std::fill_n(example.is_true.begin() + long(wrong.size()), right.size(), true);
  return example;
}

void read_truthfulqa(Task& task) {
  const std::vector<std::vector<std::string>> rows = read_csv(task.path);
  const std::vector<std::string>& header = rows.at(0);
  auto column = [&](const std::string& name) {
    const auto found = std::find(header.begin(), header.end(), name);
    if (found == header.end()) throw FileError(task.path, "header", "has no column '" + name + "'");
    return size_t(found - header.begin());
  };
  const size_t question = column("Question"), best = column("Best Answer"),
               correct = column("Correct Answers"), incorrect = column("Incorrect Answers");
  for (size_t r = 1; r < rows.size(); r++) {
    const Source source{task.path, fmt::format("row {}", r)};
    task.examples.push_back(
        truthful_example(source, rows[r][question], rows[r][best], rows[r][correct], rows[r][incorrect]));
  }
  task.kind = TaskKind::TruthfulQA;
  task.length_normalised = false;
  task.protocol = "'Q: question\\nA:' + ' ' + answer, 0-shot, without the authors' six example questions";
}

// The harness' names for the files it knows; any other file is called by its own name.
std::string task_name(const std::string& path) {
  const std::string stem = std::filesystem::path(path).stem().string();
  for (const char* known : {"hellaswag", "piqa", "arc_easy", "arc_challenge", "winogrande", "gsm8k", "mmlu"})
    if (stem.rfind(known, 0) == 0) return known;
  return stem == "TruthfulQA" ? "truthfulqa" : stem;
}

}  // namespace

Task read_task(const std::string& path) {
  Task task;
  task.path = path;
  task.name = task_name(path);
  const std::string extension = std::filesystem::path(path).extension().string();
  if (extension == ".csv") {
    read_truthfulqa(task);
  } else if (extension == ".json") {
    read_samples(task);
  } else {
    read_lines(task);
  }
  if (task.examples.empty()) throw FileError(path, "", "holds no example");
  return task;
}

std::vector<std::string> task_files(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string extension = entry.path().extension().string();
    if (extension == ".jsonl" || extension == ".json" || extension == ".csv")
      files.push_back(entry.path().string());
  }
  if (error) throw FileError(folder, "", error.message());
  std::sort(files.begin(), files.end());
  return files;
}

std::string clean_hellaswag(std::string text) {
  auto trim = [&text] {
    text.erase(0, std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    text.erase(text.find_last_not_of(" \t\r\n") + 1);
  };
  trim();
  const std::string title = " [title]";
  for (size_t at; (at = text.find(title)) != std::string::npos;) text.replace(at, title.size(), ". ");
  for (size_t open = 0; (open = text.find('[', open)) != std::string::npos;) {
    const size_t close = text.find(']', open);
    if (close == std::string::npos) break;
    text.erase(open, close - open + 1);
  }
  // Once, from left to right, as Python's str.replace: three spaces become two.
  for (size_t at = 0; (at = text.find("  ", at)) != std::string::npos; at++) text.erase(at, 1);
  return text;
}

}  // namespace chalk
