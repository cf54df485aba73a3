#pragma once
// From texts to batches. Two loaders: rows packed with whole documents (the world, fine-tuning data), and random windows of
// one long stream of tokens (a book). Both give batch(step) as a pure function of (seed, step): a run that is resumed
// at step n, on any machine, sees exactly what it would have seen.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autograd/ops.h"  // ignore_index
#include "models/text/world.h"

namespace chalk {

// What a training step eats. All three are (B, T), row-major.
struct Batch {
  int64_t B = 0, T = 0;
  std::vector<int32_t> ids;      // inputs
  std::vector<int32_t> targets;  // targets[b, t] = the token after ids[b, t], or ignore_index
  std::vector<float> weights;    // factor of the loss at [b, t]; 0 where the target is ignored
};

// ---- Whole documents ----

// One text, tokenised: weights[i] is the loss weight of predicting ids[i] from what is before it.
// weights[0] is never used: nothing in the document comes before its first token.
struct TokenizedDocument {
  std::vector<int32_t> ids;
  std::vector<float> weights;
};

// Ids are positions in world_vocabulary(). Answer tokens weigh `answer_weight`, others 1.
// Throws Error, naming the word, if one is not in the vocabulary.
TokenizedDocument encode_world(const Document& document, float answer_weight = 4);
std::vector<TokenizedDocument> encode_world(const std::vector<Document>& documents, float answer_weight = 4);
std::vector<int32_t> encode_world(const Words& words);

// Fine-tuning: loss on the replies only, i.e. on what stands after each `reply` token (<bot>) up to and including the
// next `end` token (<eot>). Other weights become 0.
void keep_replies_only(TokenizedDocument& document, int32_t reply, int32_t end);

// N rows of T positions. A row is cut from T + 1 tokens that start at a document start: ids are the first T, targets the
// last T. A document's first token is never a target, so no document is predicted from its neighbour.
struct Rows {
  int64_t N = 0, T = 0;
  std::vector<int32_t> ids, targets;  // (N, T)
  std::vector<float> weights;         // (N, T)
};

// Fills rows greedily, in order, with whole documents; pads the rest with `pad`. Attention may look at earlier documents of
// the row (docs/world.md says why). Throws UsageError if a document is empty or longer than T + 1 tokens.
Rows pack_rows(const std::vector<TokenizedDocument>& documents, int64_t T, int32_t pad);

// Endless shuffled batches of B rows; every epoch visits each row once in an order of its own. A batch may straddle two
// epochs, so no row is dropped.
class RowLoader {
 public:
  RowLoader(Rows rows, int64_t B, uint64_t seed);  // throws UsageError on no rows or B < 1

  Batch batch(int64_t step);  // not const: remembers the order of the epoch it drew last

  // The rows in order, for validation. The last batch is filled up with rows of padding, which have no targets.
  int64_t sequential_batches() const { return (rows_.N + B_ - 1) / B_; }
  Batch sequential_batch(int64_t index) const;

  const Rows& rows() const { return rows_; }

 private:
  int64_t row_at(int64_t position);

  Rows rows_;
  int64_t B_;
  uint64_t seed_;
  int64_t epoch_ = -1;          // whose order is in order_
  std::vector<int64_t> order_;  // (N)
};

// ---- One long stream ----

// The first part for training, the rest (`validation_share` of the tokens) for validation.
std::pair<std::vector<int32_t>, std::vector<int32_t>> split_stream(const std::vector<int32_t>& tokens,
                                                                   double validation_share = 0.1);

// A tokenised text as a one-dimensional .npy file of int32 (int64 is read too), so that a large text is tokenised once.
// read_tokens throws FileError if the file is not that or holds an id outside 0 ... vocab_size - 1.
void write_tokens(const std::string& path, const std::vector<int32_t>& tokens);
std::vector<int32_t> read_tokens(const std::string& path, int64_t vocab_size);

// Windows of T tokens of a stream; all weights are 1.
class StreamLoader {
 public:
  // Throws UsageError if the stream has fewer than T + 1 tokens.
  StreamLoader(std::vector<int32_t> tokens, int64_t B, int64_t T, uint64_t seed);

  // B windows at random places, each place equally likely.
  Batch batch(int64_t step) const;

  // Disjoint windows in order: every token but the first is a target exactly once. The last window may be shorter (padded).
  int64_t sequential_batches() const;
  Batch sequential_batch(int64_t index) const;

  int64_t size() const { return int64_t(tokens_.size()); }

 private:
  std::vector<int32_t> tokens_;
  int64_t B_, T_;
  uint64_t seed_;
};

}  // namespace chalk
