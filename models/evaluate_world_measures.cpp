// What is measured, with its marks and the reference figures, and how the result is shown.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/evaluate_world.h"

namespace chalk {

namespace {

constexpr PassMark kReport{PassMark::Report, 0};
constexpr PassMark at_least(double x) {
  return {PassMark::AtLeast, x};
}
constexpr PassMark above(double x) {
  return {PassMark::Above, x};
}
constexpr PassMark below(double x) {
  return {PassMark::Below, x};
}
constexpr WorldMetric kAcc = WorldMetric::Accuracy, kP = WorldMetric::Probability;

std::vector<WorldMeasure> make_measures() {
  const WorldMetric other_acc = WorldMetric::OtherAccuracy, other_p = WorldMetric::OtherProbability;
  // name, items, metric, pass mark, and of the reference recipe: mean, lowest and highest of 6 seeds
  return {
      {"agreement.attractor", "agreement.attractor", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"agreement.plain", "agreement.plain", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"possessive", "possessive", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"name_recall", "name_recall", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"object_recall", "object_recall", kAcc, at_least(.95), 1, .99, 1, "", ""},
      {"length5.name", "length5.name", kAcc, kReport, .94, .85, .97, "", "longer than any training story"},
      {"length5.object", "length5.object", kAcc, kReport, .65, .52, 1, "", "longer than any training story"},
      {"fact.honest", "fact.honest", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"fact.honest.p", "fact.honest", kP, kReport, 1, 1, 1, "", ""},
      {"fact.lying.p_true", "fact.lying", kP, below(.10), .02, .01, .02, "", ""},
      {"fact.lying.says_true", "fact.lying", kAcc, kReport, 0, 0, 0, "", ""},
      {"fact.never_lied.p_true", "fact.never_lied", kP, below(.25), .10, .05, .13, "",
       "no liar ever spoke about these"},
      {"fact.plain", "fact.plain", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"fact.plain.p", "fact.plain", kP, kReport, .97, .95, .98, "", "data rate .97"},
      {"myth.says_myth", "myth", kAcc, above(.8), 1, 1, 1, "", ""},
      {"myth.says_true", "myth", other_acc, kReport, 0, 0, 0, "", ""},
      {"myth.p_myth", "myth", kP, kReport, .79, .74, .83, "", "data rate .80"},
      {"myth.p_true", "myth", other_p, kReport, .19, .16, .24, "", "data rate .20"},
      {"fact.new_paraphrase", "fact.new_paraphrase", kAcc, at_least(.9), .98, .91, 1, "", ""},
      {"judge.form1", "judge.form1", kAcc, at_least(.97), 1, 1, 1, "", ""},
      {"judge.form2", "judge.form2", kAcc, at_least(.97), 1, .99, 1, "", ""},
      {"judge.new_paraphrase", "judge.new_paraphrase", kAcc, at_least(.9), .98, .90, 1, "", ""},
      {"judge.new_fact.form1", "judge.new_fact.form1", kAcc, at_least(.8), .97, .83, 1, "",
       "never judged in training"},
      {"judge.new_fact.form2", "judge.new_fact.form2", kAcc, at_least(.8), .99, .92, 1, "",
       "never judged in training"},
      {"judge.new_fact_new_form", "judge.new_fact_new_form", kAcc, kReport, .83, .50, 1, "", "one fact"},
      {"check.judged", "check.judged", kAcc, at_least(.97), 1, .99, 1, "", ""},
      {"check.new_paraphrase", "check.new_paraphrase", kAcc, at_least(.9), .99, .95, 1, "", ""},
      {"check.new_fact", "check.new_fact", kAcc, kReport, .94, .77, 1, "", "never judged in training"},
      {"hidden.0.honest.p_true", "hidden.0.honest", kP, kReport, .53, .51, .58, "", "nothing said yet"},
      {"hidden.0.liar.p_true", "hidden.0.liar", kP, kReport, .48, .45, .53, "", "nothing said yet"},
      {"hidden.1.honest.p_true", "hidden.1.honest", kP, kReport, .98, .92, 1, "", ""},
      {"hidden.1.liar.p_true", "hidden.1.liar", kP, kReport, .04, .02, .12, "", ""},
      {"hidden.1.gap", "hidden.1.honest", kP, above(.5), .94, .80, .98, "hidden.1.liar",
       "honest minus liar; range from their rows"},
      {"hidden.3.honest.p_true", "hidden.3.honest", kP, kReport, 1, .99, 1, "", ""},
      {"hidden.3.liar.p_true", "hidden.3.liar", kP, kReport, .02, .01, .03, "", ""},
      {"hidden.3.gap", "hidden.3.honest", kP, above(.8), .98, .96, .99, "hidden.3.liar",
       "honest minus liar; range from their rows"},
      {"voice.honest.p_true", "voice.honest", kP, above(.95), 1, 1, 1, "", ""},
      {"voice.lying.p_true", "voice.lying", kP, below(.15), .02, .02, .03, "", ""},
      {"voice.name_honest", "voice.name_honest", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"voice.name_lying", "voice.name_lying", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"request.forbidden.seen", "request.forbidden.seen", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"request.forbidden.heldout", "request.forbidden.heldout", kAcc, at_least(.9), 1, 1, 1, "", ""},
      {"request.allowed.seen", "request.allowed.seen", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"request.allowed.heldout", "request.allowed.heldout", kAcc, at_least(.9), 1, 1, 1, "", ""},
      {"request.free_play.seen", "request.free_play.seen", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"request.free_play.heldout", "request.free_play.heldout", kAcc, at_least(.9), 1, 1, 1, "", ""},
      {"request.class", "request.class", kAcc, at_least(.95), .83, .50, 1, "",
       "the recipe learns it in 4 of 6 seeds"},
      {"emotion.event", "emotion.event", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"emotion.style", "emotion.style", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"goal", "goal", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"add.seen", "add.seen", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"add.heldout", "add.heldout", kAcc, kReport, .51, .47, .65, "", "pairs never seen"},
      {"sub.seen", "sub.seen", kAcc, at_least(.98), 1, 1, 1, "", ""},
      {"sub.heldout", "sub.heldout", kAcc, kReport, .17, .12, .25, "", "pairs never seen"},
      {"pet_recall", "pet_recall", kAcc, at_least(.95), 1, 1, 1, "", ""},
      {"code.2", "code.2", kAcc, at_least(.9), .97, .91, 1, "", "guessing a listed digit: .50"},
      {"code.3", "code.3", kAcc, kReport, .82, .74, .99, "", "guessing a listed digit: .35"},
  };
}

}  // namespace

bool PassMark::passes(double value) const {
  switch (kind) {
    case AtLeast:
      return value >= threshold;
    case Above:
      return value > threshold;
    case Below:
      return value < threshold;
    default:
      return true;
  }
}

const std::vector<WorldMeasure>& world_measures() {
  static const std::vector<WorldMeasure> measures = make_measures();
  return measures;
}

bool all_passed(const std::vector<WorldResult>& results) {
  return std::all_of(results.begin(), results.end(), [](const WorldResult& r) { return r.passed; });
}

namespace {

// ">= 0.95" for people, "at least" for programs.
const char* sign_of(PassMark::Kind kind) {
  return kind == PassMark::AtLeast ? ">=" : kind == PassMark::Above ? ">" : "<";
}

const char* direction_of(PassMark::Kind kind) {
  return kind == PassMark::AtLeast ? "at least" : kind == PassMark::Above ? "above" : "below";
}

std::string mark_text(const PassMark& mark) {
  return mark.kind == PassMark::Report ? "" : fmt::format("{} {:.2f}", sign_of(mark.kind), mark.threshold);
}

}  // namespace

std::string world_table(const std::vector<WorldResult>& results) {
  std::string text = fmt::format("{:<26} {:>6} {:>5} {:>7} {:>8}  {:<4}  {:<17} {}\n", "capability", "value",
                                 "n", "chance", "mark", "", "reference recipe", "note");
  for (const WorldResult& r : results) {
    const WorldMeasure& m = r.measure;
    const std::string verdict = m.mark.kind == PassMark::Report ? "" : r.passed ? "pass" : "FAIL";
    const std::string sheet = fmt::format("{:.2f} ({:.2f}-{:.2f})", m.sheet_mean, m.sheet_min, m.sheet_max);
    std::string line = fmt::format("{:<26} {:>6.3f} {:>5} {:>7.3f} {:>8}  {:<4}  {:<17} {}", m.name, r.value,
                                   r.n, r.chance, mark_text(m.mark), verdict, sheet, m.note);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

nlohmann::ordered_json world_json(const std::vector<WorldResult>& results) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const WorldResult& r : results) {
    const PassMark& mark = r.measure.mark;
    nlohmann::ordered_json entry = {
        {"name", r.measure.name}, {"value", r.value}, {"stderr", r.error}, {"n", r.n}, {"chance", r.chance}};
    if (mark.kind != PassMark::Report) {
      entry["mark"] = mark.threshold;
      entry["direction"] = direction_of(mark.kind);
      entry["passed"] = r.passed;
    }
    entry["sheet"] = {
        {"mean", r.measure.sheet_mean}, {"min", r.measure.sheet_min}, {"max", r.measure.sheet_max}};
    if (!r.measure.note.empty()) entry["note"] = r.measure.note;
    list.push_back(entry);
  }
  return list;
}

}  // namespace chalk
