#pragma once
// Likelihood scoring: how probable does a model find each of several continuations of a text? All multiple choice, from Creature
// Town's capabilities to PIQA, is built on this one question. Nothing here knows what a model is: a Scorer answers,
// and ModelScorer makes one out of any function from ids to logits.
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/text/tokenizer.h"

namespace chalk {

// "After `context`, which of `options`?" In tokens; neither may be empty.
struct ChoiceRequest {
  std::vector<int32_t> context;
  std::vector<std::vector<int32_t>> options;
};

struct OptionScore {
  double log_prob = 0;     // sum over the option's tokens of ln p(token | everything before it)
  bool greedy = false;     // would greedy decoding have written exactly this option?
  bool truncated = false;  // the context (or even the option) did not fit and was cut from the left
};

struct Scorer {
  virtual ~Scorer() = default;
  // result[r][o] belongs to requests[r].options[o].
  virtual std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) = 0;
};

// ids (B, T) to logits (B, T, V), row-major, causal: position t sees ids 0 ... t of its row.
using LogitsFunction =
    std::function<std::vector<float>(const std::vector<int32_t>& ids, int64_t B, int64_t T)>;

// Runs requests through a model in padded batches, longest first. Options that differ only in their last token cost one
// sequence, however many there are, and so does one that ends on the way of another.
struct ModelScorer : Scorer {
  LogitsFunction logits;
  int64_t V = 0;            // size of the vocabulary
  int64_t context = 0;      // most positions the model takes; longer sequences lose their beginning
  int64_t batch_rows = 32;  // at most; fewer if B T V would exceed max_logits
  int64_t max_logits = int64_t(1) << 26;                      // floats, 256 MiB
  std::function<void(int64_t done, int64_t total)> progress;  // called after each batch; may be empty

  ModelScorer(LogitsFunction logits, int64_t V, int64_t context)
      : logits(std::move(logits)), V(V), context(context) {}
  std::vector<std::vector<OptionScore>> score(const std::vector<ChoiceRequest>& requests) override;
};

// ln softmax(logits)[token] over V numbers, summed in double; `greedy` (if not null) says whether token is the argmax.
double log_softmax_at(const float* logits, int64_t V, int32_t token, bool* greedy = nullptr);

// softmax over the options: p(o) = exp(ll_o) / Σ exp(ll). The probability that the model chooses o if it must choose one.
std::vector<double> option_probabilities(const std::vector<OptionScore>& scores);

// 1 if `gold` alone has the best score, 1/k if it shares it with k - 1 others, else 0: the expected accuracy when ties are
// broken by a coin. A model that knows nothing (all scores equal) then gets chance, wherever the gold option stands.
double shared_accuracy(const std::vector<double>& scores, int gold);

// Mean and its standard error s / √n, s with n - 1 as lm-evaluation-harness computes it. Error 0 for n < 2.
struct MeanError {
  double mean = 0, error = 0;
};
MeanError mean_error(const std::vector<double>& values);

// ---- From texts to requests ----

// What evaluation needs of a tokenizer.
struct TextEncoder {
  std::function<std::vector<int32_t>(const std::string&)> encode;  // without special tokens
  std::optional<int32_t> bos;  // put in front of every context (Llama); none for GPT-2
  int32_t empty_context =
      -1;  // the context of a text that has none: BOS or <|endoftext|>; -1: there is no such token
};

// BOS in front where the tokenizer asks for it; an empty context becomes BOS or end-of-text.
// `tokenizer` must outlive the result.
TextEncoder text_encoder(const Tokenizer& tokenizer);

struct TokenPair {
  std::vector<int32_t> context, continuation;
};

// The whole-string rule of lm-evaluation-harness: spaces at the end of the context move to the continuation, the joined text is
// tokenised once, and the continuation is what follows the first |encode(context)| tokens. "Answer:" + " yes" thus gives
// the token " yes", as in running text. Throws UsageError on an empty continuation, or an empty context without a token for it.
TokenPair encode_pair(const TextEncoder& encoder, std::string context, std::string continuation);

}  // namespace chalk
