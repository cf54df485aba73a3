// From item scores to the table of capabilities.
#include "models/evaluate_world.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/evaluate_world_items.h"
#include "models/text/loader.h"

namespace chalk {

std::vector<WorldItems> world_items(const World& world) {
  std::vector<WorldItems> sets = items::about_skills(world);
  const std::vector<WorldItems> more = items::about_facts(world);
  sets.insert(sets.end(), more.begin(), more.end());
  return sets;
}

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

std::vector<ChoiceRequest> requests_of(const std::vector<WorldItem>& items) {
  std::vector<ChoiceRequest> requests;
  for (const WorldItem& item : items) {
    ChoiceRequest request{encode_world(split_words(item.prompt)), {}};
    for (const std::string& option : item.options)
      request.options.push_back(encode_world(split_words(option)));
    requests.push_back(std::move(request));
  }
  return requests;
}

struct ScoredItems {
  std::vector<WorldItem> items;
  std::vector<std::vector<OptionScore>> scores;  // one per item
};

// The value of each item: 0 ... 1.
std::vector<double> item_values(const ScoredItems& set, WorldMetric metric) {
  const bool accuracy = metric == WorldMetric::Accuracy || metric == WorldMetric::OtherAccuracy;
  const bool other = metric == WorldMetric::OtherAccuracy || metric == WorldMetric::OtherProbability;
  std::vector<double> values;
  for (size_t i = 0; i < set.items.size(); i++) {
    const int option = other ? set.items[i].other : set.items[i].gold;
    if (accuracy) {
      std::vector<double> log_probs;
      for (const OptionScore& s : set.scores[i]) log_probs.push_back(s.log_prob);
      values.push_back(shared_accuracy(log_probs, option));
    } else {
      values.push_back(option_probabilities(set.scores[i])[size_t(option)]);
    }
  }
  return values;
}

double chance_of(const ScoredItems& set) {
  double sum = 0;
  for (const WorldItem& item : set.items) sum += 1.0 / double(item.options.size());
  return sum / double(set.items.size());
}

WorldResult measure(const WorldMeasure& m, const std::map<std::string, ScoredItems>& sets) {
  const ScoredItems& set = sets.at(m.items);
  const MeanError mean = mean_error(item_values(set, m.metric));
  WorldResult result{m, mean.mean, mean.error, int64_t(set.items.size()), chance_of(set), true};
  if (!m.minus_items.empty()) {
    const ScoredItems& minus = sets.at(m.minus_items);
    const MeanError subtracted = mean_error(item_values(minus, m.metric));
    result.value -= subtracted.mean;
    result.error = std::sqrt(result.error * result.error + subtracted.error * subtracted.error);
    result.chance -= chance_of(minus);
  }
  result.passed = m.mark.passes(result.value);
  return result;
}

// `limit` items at equal distances.
std::vector<WorldItem> thinned(const std::vector<WorldItem>& items, int64_t limit) {
  const int64_t n = int64_t(items.size());
  if (limit <= 0 || n <= limit) return items;
  std::vector<WorldItem> kept;
  for (int64_t i = 0; i < limit; i++) kept.push_back(items[size_t(i * n / limit)]);
  return kept;
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

std::vector<WorldResult> evaluate_world(Scorer& scorer, const World& world, int64_t limit) {
  std::map<std::string, ScoredItems> sets;
  std::vector<ChoiceRequest> requests;  // all sets in one go, so that batches are full
  const std::vector<WorldItems> all = world_items(world);
  for (const WorldItems& set : all) {
    sets[set.name].items = thinned(set.items, limit);
    const std::vector<ChoiceRequest> more = requests_of(sets[set.name].items);
    requests.insert(requests.end(), more.begin(), more.end());
  }
  const std::vector<std::vector<OptionScore>> scores = scorer.score(requests);
  check(scores.size() == requests.size(), "evaluate_world: {} scores for {} requests", scores.size(),
        requests.size());
  size_t next = 0;
  for (const WorldItems& set : all) {
    ScoredItems& scored = sets[set.name];
    for (size_t i = 0; i < scored.items.size(); i++) scored.scores.push_back(scores[next++]);
  }
  std::vector<WorldResult> results;
  for (const WorldMeasure& m : world_measures()) results.push_back(measure(m, sets));
  return results;
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
