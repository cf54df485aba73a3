#pragma once
// What a model of Creature Town can do: 57 measures, each with chance, pass mark and the figures of the measured recipe.
// Items are built from the grammar with a seed of their own (777), never from training documents.
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "models/evaluate.h"
#include "models/text/tokenizer.h"
#include "models/text/world.h"

namespace chalk {

// A prompt and what may follow. `other` is a second option of interest (the truth, where gold is the myth); -1: none.
struct WorldItem {
  std::string prompt;  // begins with <bos>
  Words options;
  int gold = 0;
  int other = -1;
};

struct WorldItems {
  std::string name;
  std::vector<WorldItem> items;
};

// How a set of items becomes one number.
enum class WorldMetric {
  Accuracy,       // share of items whose gold option scores best
  Probability,    // mean probability of the gold option among the options
  OtherAccuracy,  // the same for WorldItem::other
  OtherProbability,
};

// Which values pass. Report: none is asked for; the sheet lists the number only.
struct PassMark {
  enum Kind { Report, AtLeast, Above, Below } kind = Report;
  double threshold = 0;
  bool passes(double value) const;  // a NaN passes nothing but Report
};

struct WorldMeasure {
  std::string name;   // "fact.honest"
  std::string items;  // the WorldItems it is computed on
  WorldMetric metric = WorldMetric::Accuracy;
  PassMark mark;
  double sheet_mean = 0, sheet_min = 0, sheet_max = 0;  // docs/world.md: the reference recipe, 6 seeds
  std::string minus_items;  // not empty: the value is a difference, this set's figure subtracted
  std::string note;
};

std::vector<WorldItems> world_items(const World& world);
const std::vector<WorldMeasure>& world_measures();

struct WorldResult {
  WorldMeasure measure;
  double value = 0;
  double error = 0;   // standard error of the mean over items
  int64_t n = 0;      // items
  double chance = 0;  // the value of a model that finds all options equally likely
  bool passed = true;
};

// Scores every item once. An option is a whole word: the sum of its pieces' log-probabilities, less what belongs to options
// that begin with the same pieces. `limit` > 0 keeps only that many items of each set, spread evenly: a quick look.
// Throws UsageError if the tokenizer cannot express a word of the world.
std::vector<WorldResult> evaluate_world(Scorer& scorer, const World& world, const Tokenizer& tokenizer,
                                        int64_t limit = 0);

bool all_passed(const std::vector<WorldResult>& results);
std::string world_table(const std::vector<WorldResult>& results);  // for people
nlohmann::ordered_json world_json(
    const std::vector<WorldResult>& results);  // a list of objects, one per measure

}  // namespace chalk
