// Data and measures of fine-tuning on chat documents.

#include "tutorials/support/finetuning.h"

#include <cmath>

#include "models/evaluate_world.h"
#include "models/model_scorer.h"
#include "models/train.h"

namespace chalk {
namespace {

constexpr int32_t kPad = 0, kBot = 5,
                  kEot = 6;  // ids of the word-level tokenizer: positions in world_lexicon().specials
constexpr int64_t kValidationDocuments = 600;

std::shared_ptr<RowLoader> loader(int64_t documents, uint64_t stream, const Words& types, bool replies_only,
                                  int64_t rows, uint64_t seed) {
  std::vector<TokenizedDocument> tokenized;
  for (const Document& document : world_documents(make_world(), documents, stream, {.types = types})) {
    tokenized.push_back(encode_world(document, 1));
    if (replies_only) keep_replies_only(tokenized.back(), kBot, kEot);
  }
  return std::make_shared<RowLoader>(pack_rows(tokenized, 64, kPad), rows, seed);
}

double loss_on(LanguageModel& model, const RowLoader& rows) {
  return validation_loss(model, rows.sequential_batches(),
                         [&](int64_t i) { return rows.sequential_batch(i); });
}

}  // namespace

double ChatTask::chat_loss(LanguageModel& model) const {
  return loss_on(model, *chat);
}

double ChatTask::base_loss(LanguageModel& model) const {
  return loss_on(model, *base);
}

ChatTask make_chat_task(int64_t documents, int64_t rows, uint64_t seed) {
  return {loader(documents, kWorldSftSeed, world_chat_types(), true, rows, seed),
          loader(kValidationDocuments, kWorldValidationSeed, world_chat_types(), true, 16, 1),
          loader(kValidationDocuments, kWorldValidationSeed, world_base_types(), false, 16, 1)};
}

ChatSkills chat_skills(LanguageModel& model, const Tokenizer& tokenizer) {
  ModelScorer scorer = make_scorer(model);
  ChatSkills skills;
  std::vector<double> requests;
  for (const WorldResult& r : evaluate_world(scorer, make_world(), tokenizer, 40)) {
    const std::string& name = r.measure.name;
    if (name == "request.forbidden.seen" || name == "request.allowed.seen" ||
        name == "request.free_play.seen") {
      requests.push_back(r.value);
    }
    if (name == "fact.honest") skills.facts = r.value;
    if (name == "emotion.style") skills.feelings = r.value;
  }
  skills.requests = mean_of(requests);
  return skills;
}

std::unique_ptr<LanguageModel> copy_of(LanguageModel& model) {
  return make_model(to_checkpoint(model), model.device());
}

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (double v : x) sum += v;
  return x.empty() ? 0 : sum / double(x.size());
}

double deviation_of(const std::vector<double>& x) {
  if (x.size() < 2) return 0;
  const double mean = mean_of(x);
  double squares = 0;
  for (double v : x) squares += (v - mean) * (v - mean);
  return std::sqrt(squares / double(x.size() - 1));
}

std::string with_spread(const std::vector<double>& x, int decimals) {
  if (x.size() < 2) return fmt::format("{:.{}f}", mean_of(x), decimals);
  return fmt::format("{:.{}f} ± {:.{}f}", mean_of(x), decimals, deviation_of(x), decimals);
}

}  // namespace chalk
