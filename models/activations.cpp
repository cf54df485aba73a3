// Texts through a model, batched by length; activations and logits at single tokens; cost of an intervention.

#include "models/activations.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"

namespace chalk {

std::vector<TextGroup> group_by_length(const std::vector<Ids>& texts, int64_t max_rows) {
  std::map<size_t, std::vector<int64_t>> by_length;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) throw UsageError(fmt::format("text {} is empty: there is no token to read", i));
    by_length[texts[i].size()].push_back(int64_t(i));
  }
  std::vector<TextGroup> groups;
  for (const auto& [length, indices] : by_length) {
    for (size_t begin = 0; begin < indices.size(); begin += size_t(max_rows)) {
      const size_t end = std::min(indices.size(), begin + size_t(max_rows));
      TextGroup group{{indices.begin() + int64_t(begin), indices.begin() + int64_t(end)}, {}};
      group.ids.shape = {int64_t(end - begin), int64_t(length)};
      for (int64_t i : group.texts) {
        group.ids.values.insert(group.ids.values.end(), texts[size_t(i)].begin(), texts[size_t(i)].end());
      }
      groups.push_back(std::move(group));
    }
  }
  return groups;
}

std::string residual_name(const LanguageModel& model, int64_t depth) {
  return depth == 0 ? model.block_prefix(0) + "resid_pre" : model.block_prefix(depth - 1) + "resid_post";
}

int64_t block_count(LanguageModel& model) {
  return int64_t(model.blocks().size());
}

namespace {

// Copies row (b, column) of x (B, T, W) to row texts[b] of `samples`, for every b.
void keep_column(const Tensor& x, int64_t column, const std::vector<int64_t>& texts, int64_t n,
                 Samples& samples) {
  const Tensor host = x.to(Device::CPU);
  const int64_t B = x.dim(0), T = x.dim(1), W = x.dim(2);
  if (samples.n == 0) samples = {n, W, std::vector<float>(size_t(n * W))};
  for (int64_t b = 0; b < B; ++b) {
    const float* row = host.data() + (b * T + column) * W;
    std::copy(row, row + W, samples.x.begin() + texts[size_t(b)] * W);
  }
}

}  // namespace

std::map<std::string, Samples> activations_at(LanguageModel& model, const std::vector<Ids>& texts,
                                              const std::vector<std::string>& names, int64_t from_end) {
  NoGrad no_grad;
  std::map<std::string, Samples> result;
  Recorder recorder(model.hooks, names);
  for (const TextGroup& group : group_by_length(texts)) {
    const int64_t T = group.ids.shape[1];
    if (from_end < 1 || from_end > T) {
      throw UsageError(fmt::format("token −{} of a text of {} tokens", from_end, T));
    }
    model.forward_blocks(group.ids);
    for (const std::string& name : names) {
      check(recorder.last.contains(name), "the model passes no activation '{}'", name);
      keep_column(recorder.last.at(name), T - from_end, group.texts, int64_t(texts.size()), result[name]);
    }
  }
  return result;
}

std::vector<Samples> residuals_at(LanguageModel& model, const std::vector<Ids>& texts, int64_t from_end) {
  std::vector<std::string> names;
  for (int64_t depth = 0; depth <= block_count(model); ++depth) names.push_back(residual_name(model, depth));
  std::map<std::string, Samples> by_name = activations_at(model, texts, names, from_end);
  std::vector<Samples> result;
  for (const std::string& name : names) result.push_back(std::move(by_name[name]));
  return result;
}

Samples next_logits(LanguageModel& model, const std::vector<Ids>& texts) {
  NoGrad no_grad;
  Samples logits;
  for (const TextGroup& group : group_by_length(texts)) {
    keep_column(model.forward(group.ids), group.ids.shape[1] - 1, group.texts, int64_t(texts.size()), logits);
  }
  return logits;
}

std::vector<double> next_probabilities(const float* logits, int64_t V) {
  const double most = double(*std::max_element(logits, logits + V));
  std::vector<double> p;
  double sum = 0;
  for (int64_t v = 0; v < V; ++v) sum += p.emplace_back(std::exp(double(logits[v]) - most));
  for (double& value : p) value /= sum;
  return p;
}

// ---- cost ----

namespace {

// ln softmax of all logits of a group but those of the last column: (B, T − 1, V)
std::vector<float> log_probabilities(LanguageModel& model, const TextGroup& group) {
  NoGrad no_grad;
  const Tensor logits = model.forward(group.ids);
  return log_softmax(slice(logits, 1, 0, logits.dim(1) - 1)).to_vector();
}

// Σ −ln q(token) over the group
double total_loss(const std::vector<float>& log_q, const TextGroup& group, int64_t V) {
  const int64_t B = group.ids.shape[0], T = group.ids.shape[1];
  double sum = 0;
  for (int64_t b = 0; b < B; ++b)
    for (int64_t t = 0; t + 1 < T; ++t)
      sum -= double(log_q[size_t((b * (T - 1) + t) * V + group.ids.values[size_t(b * T + t + 1)])]);
  return sum;
}

}  // namespace

CostMeter::CostMeter(LanguageModel& model, std::vector<Ids> documents) : model(model) {
  std::erase_if(documents, [](const Ids& ids) { return ids.size() < 2; });  // nothing is predicted there
  check(!documents.empty(), "CostMeter: no document has two tokens");
  groups = group_by_length(documents);
  for (const TextGroup& group : groups) {
    log_p.push_back(log_probabilities(model, group));
    plain_loss += total_loss(log_p.back(), group, model.vocab_size());
    tokens += group.ids.shape[0] * (group.ids.shape[1] - 1);
  }
  plain_loss /= double(tokens);
}

CostMeter::Cost CostMeter::measure() const {
  Cost cost;
  for (size_t g = 0; g < groups.size(); ++g) {
    const std::vector<float> log_q = log_probabilities(model, groups[g]);
    cost.loss += total_loss(log_q, groups[g], model.vocab_size());
    for (size_t i = 0; i < log_q.size(); ++i) {
      const double p = double(log_p[g][i]), q = double(log_q[i]);
      cost.kl += std::exp(p) * (p - q);
    }
  }
  return {cost.loss / double(tokens), cost.kl / double(tokens)};
}

}  // namespace chalk
