#pragma once
// Fine-tuning on the world's chat documents: data, and how well a model does. Shared by the tutorials of LoRA and QLoRA.

#include <memory>
#include <string>
#include <vector>

#include "models/load.h"
#include "models/text/loader.h"
#include "tutorials/support/base_model.h"

namespace chalk {

// Chat documents count on their replies only (from <bot> to <eot>), as in the papers; documents of the base on every token.
struct ChatTask {
  std::shared_ptr<RowLoader> train, chat, base;

  Batch batch(int64_t index) const { return train->batch(index); }
  double chat_loss(LanguageModel& model) const;  // nats per reply token, validation documents
  double base_loss(LanguageModel& model) const;  // nats per token on what the base was trained on
};
// `documents` chat documents of the fine-tuning stream, rows of 64, `rows` to a batch, in an order drawn from seed.
ChatTask make_chat_task(int64_t documents, int64_t rows, uint64_t seed);

// What only chat documents teach, as shares of right answers: rule-following requests, honest facts, feelings in replies.
struct ChatSkills {
  double requests = 0, facts = 0, feelings = 0;
};
ChatSkills chat_skills(LanguageModel& model, const Tokenizer& tokenizer);

// A model with the same weights: every method starts from its own copy.
std::unique_ptr<LanguageModel> copy_of(LanguageModel& model);

double mean_of(const std::vector<double>& x);
double deviation_of(const std::vector<double>& x);  // n − 1 in the denominator; 0 for one value
std::string with_spread(const std::vector<double>& x, int decimals = 3);  // "0.412 ± 0.003"

}  // namespace chalk
