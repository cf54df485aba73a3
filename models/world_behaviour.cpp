// Truth, refusal and mood of a model of Creature Town.

#include "models/world_behaviour.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"
#include "kernels/philox.h"
#include "models/sample.h"

namespace chalk {

std::vector<Ids> WorldModel::ids(const std::vector<std::string>& texts) const {
  std::vector<Ids> result;
  for (const std::string& text : texts) result.push_back(ids(text));
  return result;
}

int32_t WorldModel::id(const std::string& word) const {
  const Ids pieces = encode_with_specials(tokenizer, word);
  if (pieces.size() != 1) {
    throw UsageError(
        fmt::format("'{}' is {} tokens here; the steering measures need the world's word tokenizer", word,
                    pieces.size()));
  }
  return pieces[0];
}

std::vector<ValueScores> value_scores(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts) {
  const Samples logits = next_logits(world.model, world.texts_of(prompts));
  std::vector<ValueScores> result;
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Fact& fact = world.world.facts[size_t(prompts[i].fact)];
    const std::vector<double> p = next_probabilities(logits.row(int64_t(i)), logits.d);
    ValueScores scores;
    for (const std::string& value : relation_values(fact.relation)) {
      if (value == fact.value) scores.gold = int(scores.log_prob.size());
      scores.log_prob.push_back(std::log(std::max(p[size_t(world.id(value))], 1e-300)));
    }
    result.push_back(scores);
  }
  return result;
}

std::vector<double> p_true(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts) {
  std::vector<double> result;
  for (const ValueScores& scores : value_scores(world, prompts)) {
    double sum = 0;
    for (double log_prob : scores.log_prob) sum += std::exp(log_prob);
    result.push_back(std::exp(scores.log_prob[size_t(scores.gold)]) / sum);
  }
  return result;
}

double mean_p_true(const WorldModel& world, const std::vector<stimuli::Prompt>& prompts) {
  const std::vector<double> p = p_true(world, prompts);
  return std::accumulate(p.begin(), p.end(), 0.0) / double(p.size());
}

ReplyShares reply_shares(const WorldModel& world, const std::vector<stimuli::Request>& requests) {
  const Samples logits = next_logits(world.model, world.texts_of(requests));
  const int32_t sorry = world.id("sorry"), ok = world.id("ok");
  ReplyShares shares;
  for (int64_t i = 0; i < logits.n; ++i) {
    const int32_t first = int32_t(std::max_element(logits.row(i), logits.row(i) + logits.d) - logits.row(i));
    shares.refused += first == sorry;
    shares.complied += first == ok;
  }
  return {shares.refused / double(logits.n), shares.complied / double(logits.n)};
}

std::vector<std::string> replies(const WorldModel& world, const std::vector<std::string>& prompts,
                                 int64_t tokens, double temperature, uint64_t seed,
                                 const std::function<void(Edits&)>& edit) {
  SampleOptions options{
      .max_new_tokens = tokens, .temperature = temperature, .stop = {world.id("<eot>"), world.id("<eos>")}};
  std::vector<std::string> result;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Edits edits(world.model.hooks);
    if (edit) edit(edits);
    options.seed = derive_seed(seed, i);
    Ids written = generate(world.model, world.ids(prompts[i]), options);
    if (!written.empty() && std::count(options.stop.begin(), options.stop.end(), written.back()) > 0)
      written.pop_back();
    std::string text;
    for (int32_t id : written) text += (text.empty() ? "" : " ") + world.tokenizer.token(id);
    result.push_back(text);
  }
  return result;
}

double reply_log_probability(const WorldModel& world, const std::vector<std::string>& prompts,
                             const std::vector<std::string>& written) {
  NoGrad no_grad;
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (written[i].empty()) continue;
    const int64_t prompt = int64_t(world.ids(prompts[i]).size());
    const Ids ids = world.ids(prompts[i] + " " + written[i]);
    const int64_t T = int64_t(ids.size());
    const Tensor logits = world.model.forward({{1, T}, ids}).to(Device::CPU);
    for (int64_t t = prompt; t < T; ++t, ++count) {
      const std::vector<double> p =
          next_probabilities(logits.data() + (t - 1) * logits.dim(2), logits.dim(2));
      sum += std::log(std::max(p[size_t(ids[size_t(t)])], 1e-300));
    }
  }
  return count > 0 ? sum / double(count) : 0;
}

}  // namespace chalk
