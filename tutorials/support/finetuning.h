#pragma once
// Fine-tuning a model of the world on the chat documents of another world, in which the same creatures have other colors,
// homes and foods: data, and how well a model does. Shared by the tutorials of LoRA and QLoRA.

#include <memory>
#include <string>
#include <vector>

#include "models/load.h"
#include "models/text/loader.h"
#include "tutorials/support/base_model.h"
#include "tutorials/support/over_seeds.h"

namespace chalk {

// Chat documents count on their replies only (from <bot> to <eot>), as in the papers; documents of the base on every token.
struct ChatTask {
  std::shared_ptr<RowLoader> train, chat, base;

  Batch batch(int64_t index) const { return train->batch(index); }
  double chat_loss(
      LanguageModel& model) const;  // nats per reply token, validation documents of the other world
  double base_loss(LanguageModel& model) const;  // nats per token on what the base was trained on
};
// `documents` chat documents of the fine-tuning stream, rows of 64, `rows` to a batch, in an order drawn from seed.
ChatTask make_chat_task(int64_t documents, int64_t rows, uint64_t seed);

// Shares of right answers. New facts are what fine-tuning teaches; requests follow the same rules in both worlds.
struct ChatSkills {
  double new_facts = 0, old_facts = 0, requests = 0;
};
struct SkillsOverSeeds {
  std::vector<double> new_facts = {}, old_facts = {}, requests = {};
  void add(const ChatSkills& skills) {
    new_facts.push_back(skills.new_facts), old_facts.push_back(skills.old_facts);
    requests.push_back(skills.requests);
  }
};
ChatSkills chat_skills(LanguageModel& model, const Tokenizer& tokenizer);

// A model with the same weights: every method starts from its own copy.
std::unique_ptr<LanguageModel> copy_of(LanguageModel& model);

// Base model 1, 2, …: the world's, trained if need be, or PREFIX1, PREFIX2, … when a prefix is given.
LoadedModel numbered_base(const std::string& prefix, uint64_t number, Context& context);

}  // namespace chalk
