// From item scores to the table of capabilities.
#include "models/evaluate_world.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "autograd/check.h"
#include "models/evaluate_world_items.h"
#include "models/text/world_tokenizer.h"

namespace chalk {

std::vector<WorldItems> world_items(const World& world) {
  std::vector<WorldItems> sets = items::about_skills(world);
  const std::vector<WorldItems> more = items::about_facts(world);
  sets.insert(sets.end(), more.begin(), more.end());
  return sets;
}

namespace {

std::vector<ChoiceRequest> requests_of(const std::vector<WorldItem>& items, const Tokenizer& tokenizer) {
  std::vector<ChoiceRequest> requests;
  for (const WorldItem& item : items) {
    ChoiceRequest request{encode_world(split_words(item.prompt), tokenizer), {}};
    for (const std::string& option : item.options)
      request.options.push_back(encode_world(Words{option}, tokenizer, true));
    requests.push_back(std::move(request));
  }
  return requests;
}

// The pieces of "walk" also begin "walks", so their probability counts both words. What belongs to the longer options is taken
// away again: p(walk) = p(pieces of walk) − Σ p(option), over the options that go on where "walk" ends.
// Nothing happens to options of one piece each.
void keep_whole_words(const ChoiceRequest& request, std::vector<OptionScore>& scores) {
  std::vector<size_t> order(request.options.size());
  std::iota(order.begin(), order.end(), 0);
  const auto length = [&](size_t o) { return request.options[o].size(); };
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return length(a) > length(b); });
  for (size_t i = 0; i < order.size(); ++i) {  // longest first: what is subtracted is a whole word already
    const std::vector<int32_t>& pieces = request.options[order[i]];
    double others = 0;  // share of p(pieces) that belongs to longer options
    for (size_t j = 0; j < i; ++j) {
      const std::vector<int32_t>& longer = request.options[order[j]];
      const bool goes_on =
          longer.size() > pieces.size() && std::equal(pieces.begin(), pieces.end(), longer.begin());
      if (goes_on) others += std::exp(scores[order[j]].log_prob - scores[order[i]].log_prob);
    }
    if (others > 0) scores[order[i]].log_prob += std::log(std::max(0.0, 1 - others));  // ln 0 = −∞
  }
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

std::vector<WorldResult> evaluate_world(Scorer& scorer, const World& world, const Tokenizer& tokenizer,
                                        int64_t limit) {
  std::map<std::string, ScoredItems> sets;
  std::vector<ChoiceRequest> requests;  // all sets in one go, so that batches are full
  const std::vector<WorldItems> all = world_items(world);
  for (const WorldItems& set : all) {
    sets[set.name].items = thinned(set.items, limit);
    const std::vector<ChoiceRequest> more = requests_of(sets[set.name].items, tokenizer);
    requests.insert(requests.end(), more.begin(), more.end());
  }
  std::vector<std::vector<OptionScore>> scores = scorer.score(requests);
  check(scores.size() == requests.size(), "evaluate_world: {} scores for {} requests", scores.size(),
        requests.size());
  for (size_t r = 0; r < requests.size(); ++r) keep_whole_words(requests[r], scores[r]);
  size_t next = 0;
  for (const WorldItems& set : all) {
    ScoredItems& scored = sets[set.name];
    for (size_t i = 0; i < scored.items.size(); i++) scored.scores.push_back(scores[next++]);
  }
  std::vector<WorldResult> results;
  for (const WorldMeasure& m : world_measures()) results.push_back(measure(m, sets));
  return results;
}

}  // namespace chalk
