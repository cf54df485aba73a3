// Data and measures of fine-tuning on chat documents.

#include "tutorials/support/finetuning.h"

#include "models/evaluate_world.h"
#include "models/model_scorer.h"
#include "models/text/world_tokenizer.h"
#include "models/train.h"

namespace chalk {
namespace {

constexpr int32_t kPad = 0, kBot = 5,
                  kEot = 6;  // ids of the word-level tokenizer: positions in world_lexicon().specials
constexpr int64_t kValidationDocuments = 600;
constexpr uint64_t kBaseWorld = 1, kOtherWorld = 2;  // make_world(seed): the facts are shuffled

std::shared_ptr<RowLoader> chat_rows(int64_t documents, uint64_t stream, int64_t rows, uint64_t seed) {
  std::vector<TokenizedDocument> tokenized;
  for (const Document& d :
       world_documents(make_world(kOtherWorld), documents, stream, {.types = world_chat_types()})) {
    tokenized.push_back(encode_world(d, 1));
    keep_replies_only(tokenized.back(), kBot, kEot);
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
  const auto base =
      encode_world(world_documents(make_world(kBaseWorld), kValidationDocuments, kWorldValidationSeed), 1);
  return {chat_rows(documents, kWorldSftSeed, rows, seed),
          chat_rows(kValidationDocuments, kWorldValidationSeed, 16, 1),
          std::make_shared<RowLoader>(pack_rows(base, 64, kPad), 16, 1)};
}

namespace {

// Share of the items of these sets (all whose name begins so) whose right option is the most probable one.
double accuracy(LanguageModel& model, const Tokenizer& tokenizer, uint64_t world, const std::string& sets) {
  ModelScorer scorer = make_scorer(model);
  std::vector<double> right;
  for (const WorldItems& set : world_items(make_world(world))) {
    if (!set.name.starts_with(sets)) continue;
    std::vector<ChoiceRequest> requests;
    for (const WorldItem& item : set.items) {
      requests.push_back({encode_world(split_words(item.prompt), tokenizer), {}});
      for (const std::string& option : item.options) {
        requests.back().options.push_back(encode_world(Words{option}, tokenizer, true));
      }
    }
    const auto scores = scorer.score(requests);
    for (size_t i = 0; i < scores.size(); ++i) {
      std::vector<double> log_probs;
      for (const OptionScore& score : scores[i]) log_probs.push_back(score.log_prob);
      right.push_back(shared_accuracy(log_probs, set.items[i].gold));
    }
  }
  return mean_of(right);
}

}  // namespace

ChatSkills chat_skills(LanguageModel& model, const Tokenizer& tokenizer) {
  return {accuracy(model, tokenizer, kOtherWorld, "fact.honest"),
          accuracy(model, tokenizer, kBaseWorld, "fact.honest"),
          accuracy(model, tokenizer, kOtherWorld, "request.forbidden")};
}

std::unique_ptr<LanguageModel> copy_of(LanguageModel& model) {
  return make_model(to_checkpoint(model), model.device());
}

LoadedModel numbered_base(const std::string& prefix, uint64_t number, Context& context) {
  if (prefix.empty()) return base_model("world", number, context);
  return load_model(prefix + std::to_string(number), "", context.device);
}

}  // namespace chalk
