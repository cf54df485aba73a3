// Scoring of continuations in padded batches, and the small statistics every benchmark needs.
#include "models/evaluate.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autograd/check.h"

namespace chalk {

namespace {

// One row to run: the context and, but for its last token, the longest of the options that are read off it.
struct Sequence {
  size_t request;
  std::vector<size_t>
      options;  // the longest first; the others end where some position of the row predicts their last token
  std::vector<int32_t> ids;
  bool truncated;
};

void check_request(const ChoiceRequest& request, int64_t V) {
  if (request.context.empty()) throw UsageError("score: a request has an empty context; put BOS there");
  auto check_ids = [V](const std::vector<int32_t>& ids) {
    for (int32_t id : ids)
      if (id < 0 || id >= V)
        throw UsageError(fmt::format("score: token id {} is not in 0 ... {}", id, V - 1));
  };
  check_ids(request.context);
  for (const auto& option : request.options) {
    if (option.empty()) throw UsageError("score: an option has no tokens");
    check_ids(option);
  }
}

// context + option without its last token, cut from the left to `limit` positions.
Sequence make_sequence(const ChoiceRequest& request, size_t r, size_t o, int64_t limit) {
  Sequence s{r, {o}, request.context, false};
  s.ids.insert(s.ids.end(), request.options[o].begin(), request.options[o].end() - 1);
  if (const int64_t extra = int64_t(s.ids.size()) - limit; extra > 0) {
    s.truncated = true;
    s.ids.erase(s.ids.begin(), s.ids.begin() + extra);
  }
  return s;
}

// Can `option` be read off the row too? All its tokens but the last must be there, after the same context.
bool can_share(const Sequence& s, const ChoiceRequest& request, const std::vector<int32_t>& option) {
  const std::vector<int32_t>& longest = request.options[s.options[0]];
  return (!s.truncated || option.size() == longest.size()) &&
         std::equal(option.begin(), option.end() - 1, longest.begin());
}

void add_sequences(std::vector<Sequence>& sequences, const ChoiceRequest& request, size_t r, int64_t limit) {
  std::vector<size_t> order(request.options.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return request.options[a].size() > request.options[b].size(); });
  const auto first = std::ptrdiff_t(sequences.size());
  for (size_t o : order) {
    const auto row = std::find_if(sequences.begin() + first, sequences.end(), [&](const Sequence& s) {
      return can_share(s, request, request.options[o]);
    });
    if (row != sequences.end()) {
      row->options.push_back(o);
    } else {
      sequences.push_back(make_sequence(request, r, o, limit));
    }
  }
}

std::vector<Sequence> make_sequences(const std::vector<ChoiceRequest>& requests, int64_t V, int64_t limit) {
  std::vector<Sequence> sequences;
  for (size_t r = 0; r < requests.size(); r++) {
    check_request(requests[r], V);
    add_sequences(sequences, requests[r], r, limit);
  }
  // Longest first: rows of a batch have similar lengths, and a batch that does not fit fails at once.
  std::stable_sort(sequences.begin(), sequences.end(),
                   [](const Sequence& a, const Sequence& b) { return a.ids.size() > b.ids.size(); });
  return sequences;
}

// `row` holds the logits of the sequence's positions, (T, V).
void read_scores(const Sequence& s, const float* row, int64_t V, const ChoiceRequest& request,
                 std::vector<OptionScore>& scores) {
  // The position that predicts the first token of the options; negative when it was cut away.
  const int64_t first = int64_t(s.ids.size()) - int64_t(request.options[s.options[0]].size());
  for (size_t o : s.options) {
    const std::vector<int32_t>& option = request.options[o];
    OptionScore score{0, true, s.truncated};
    for (int64_t i = std::max<int64_t>(0, -first); i < int64_t(option.size()); i++) {
      bool greedy = false;
      score.log_prob += log_softmax_at(row + (first + i) * V, V, option[size_t(i)], &greedy);
      score.greedy = score.greedy && greedy;
    }
    scores[o] = score;
  }
}

}  // namespace

std::vector<std::vector<OptionScore>> ModelScorer::score(const std::vector<ChoiceRequest>& requests) {
  if (V < 1 || context < 1 || batch_rows < 1)
    throw UsageError(fmt::format("ModelScorer: vocabulary {}, context {}, batch {}; all must be at least 1",
                                 V, context, batch_rows));
  std::vector<std::vector<OptionScore>> scores(requests.size());
  for (size_t r = 0; r < requests.size(); r++) scores[r].resize(requests[r].options.size());

  const std::vector<Sequence> sequences = make_sequences(requests, V, context);
  for (size_t begin = 0; begin < sequences.size();) {
    const int64_t T = int64_t(sequences[begin].ids.size());
    const int64_t fit = std::clamp<int64_t>(max_logits / (T * V), 1, batch_rows);
    const int64_t B = std::min<int64_t>(fit, int64_t(sequences.size() - begin));
    // Padding on the right is invisible to the tokens before it (causal attention), so any id will do.
    std::vector<int32_t> ids(size_t(B * T), 0);
    for (int64_t b = 0; b < B; b++)
      std::copy(sequences[begin + b].ids.begin(), sequences[begin + b].ids.end(), ids.begin() + b * T);
    const std::vector<float> y = logits(ids, B, T);
    check(int64_t(y.size()) == B * T * V,
          "ModelScorer: the model gave {} logits for {} rows of {} positions and {} words", y.size(), B, T,
          V);
    for (int64_t b = 0; b < B; b++) {
      const Sequence& s = sequences[begin + b];
      read_scores(s, y.data() + b * T * V, V, requests[s.request], scores[s.request]);
    }
    begin += size_t(B);
    if (progress) progress(int64_t(begin), int64_t(sequences.size()));
  }
  return scores;
}

double log_softmax_at(const float* logits, int64_t V, int32_t token, bool* greedy) {
  const float* largest = std::max_element(logits, logits + V);
  double sum = 0;
  for (int64_t v = 0; v < V; v++) sum += std::exp(double(logits[v]) - *largest);
  if (greedy) *greedy = largest - logits == token;
  // ln softmax(x)_i = x_i − max − ln Σ exp(x − max)
  return double(logits[token]) - *largest - std::log(sum);
}

std::vector<double> option_probabilities(const std::vector<OptionScore>& scores) {
  double best = -INFINITY, sum = 0;
  for (const OptionScore& s : scores) best = std::max(best, s.log_prob);
  std::vector<double> p;
  for (const OptionScore& s : scores) p.push_back(std::isinf(best) ? 1.0 : std::exp(s.log_prob - best));
  for (double x : p) sum += x;
  for (double& x : p) x /= sum;
  return p;
}

double shared_accuracy(const std::vector<double>& scores, int gold) {
  const double best = *std::max_element(scores.begin(), scores.end());
  if (scores[size_t(gold)] != best) return 0;
  return 1.0 / double(std::count(scores.begin(), scores.end(), best));
}

MeanError mean_error(const std::vector<double>& values) {
  if (values.empty()) return {};
  const double n = double(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() < 2 ? 0.0 : std::sqrt(squares / (n - 1) / n)};
}

TextEncoder text_encoder(const Tokenizer& tokenizer) {
  TextEncoder encoder;
  encoder.encode = [&tokenizer](const std::string& text) { return tokenizer.encode(text); };
  if (tokenizer.add_bos) encoder.bos = tokenizer.bos;
  encoder.empty_context = tokenizer.bos ? *tokenizer.bos : tokenizer.eos.value_or(-1);
  return encoder;
}

TokenPair encode_pair(const TextEncoder& encoder, std::string context, std::string continuation) {
  const size_t end = context.find_last_not_of(' ') + 1;  // 0 if the context is empty or all spaces
  continuation = context.substr(end) + continuation;
  context.resize(end);
  if (continuation.empty()) throw UsageError("evaluate: an option is empty");

  TokenPair pair;
  std::vector<int32_t> whole = encoder.encode(context + continuation);
  check(!whole.empty(), "evaluate: the tokenizer gives no tokens for a text of {} bytes",
        continuation.size());
  size_t split = context.empty() ? 0 : encoder.encode(context).size();
  split = std::min(split, whole.size() - 1);  // a merge across the border must not eat the whole option
  if (encoder.bos) pair.context.push_back(*encoder.bos);
  pair.context.insert(pair.context.end(), whole.begin(), whole.begin() + long(split));
  pair.continuation.assign(whole.begin() + long(split), whole.end());
  if (pair.context.empty()) {
    if (encoder.empty_context < 0)
      throw UsageError(
          "evaluate: a question has an empty context, and the tokenizer has neither BOS nor end-of-text");
    pair.context.push_back(encoder.empty_context);
  }
  return pair;
}

}  // namespace chalk
