// Packing and drawing of batches.
#include "models/text/loader.h"

#include <algorithm>
#include <numeric>
#include <unordered_map>

#include "autograd/check.h"
#include "models/io/npy.h"

namespace chalk {

namespace {

// A random stream of its own for each (seed, counter). The seed is scrambled first, so that seeds 1 and 2 are not neighbours.
SplitMix64 stream_of(uint64_t seed, uint64_t counter) {
  return SplitMix64(SplitMix64(seed).next() + counter);
}

Batch empty_batch(int64_t B, int64_t T, int32_t pad) {
  Batch batch;
  batch.B = B;
  batch.T = T;
  batch.ids.assign(size_t(B * T), pad);
  batch.targets.assign(size_t(B * T), ignore_index);
  batch.weights.assign(size_t(B * T), 0.0f);
  return batch;
}

void check_sizes(const char* loader, int64_t B, int64_t T) {
  if (B < 1 || T < 1)
    throw UsageError(
        fmt::format("{}: batch of {} rows with {} positions; both must be at least 1", loader, B, T));
}

}  // namespace

// ---- Whole documents ----

std::vector<int32_t> encode_world(const Words& words) {
  static const std::unordered_map<std::string, int32_t> ids = [] {
    std::unordered_map<std::string, int32_t> map;
    for (const std::string& word : world_vocabulary()) map.emplace(word, int32_t(map.size()));
    return map;
  }();
  std::vector<int32_t> encoded;
  encoded.reserve(words.size());
  for (const std::string& word : words) {
    const auto found = ids.find(word);
    check(found != ids.end(), "world: '{}' is not one of the {} words of the vocabulary", word, ids.size());
    encoded.push_back(found->second);
  }
  return encoded;
}

TokenizedDocument encode_world(const Document& document, float answer_weight) {
  TokenizedDocument encoded{encode_world(document.words), {}};
  for (bool answer : document.answer) encoded.weights.push_back(answer ? answer_weight : 1.0f);
  return encoded;
}

std::vector<TokenizedDocument> encode_world(const std::vector<Document>& documents, float answer_weight) {
  std::vector<TokenizedDocument> encoded;
  encoded.reserve(documents.size());
  for (const Document& document : documents) encoded.push_back(encode_world(document, answer_weight));
  return encoded;
}

void keep_replies_only(TokenizedDocument& document, int32_t reply, int32_t end) {
  bool inside = false;
  for (size_t i = 0; i < document.ids.size(); i++) {
    if (!inside) document.weights[i] = 0;
    if (document.ids[i] == reply) inside = true;
    if (document.ids[i] == end) inside = false;
  }
}

namespace {

// Collects documents until the next one does not fit, then writes the row.
class RowPacker {
 public:
  RowPacker(int64_t T, int32_t pad) : pad_(pad) { rows_.T = T; }

  void add(const TokenizedDocument& document) {
    if (used_ + int64_t(document.ids.size()) > rows_.T + 1) used_ = 0;
    if (used_ == 0) open_row();
    const int64_t row = (rows_.N - 1) * rows_.T;
    for (size_t i = 0; i < document.ids.size(); i++, used_++) {
      if (used_ < rows_.T) rows_.ids[row + used_] = document.ids[i];
      if (i == 0) continue;  // the token before it belongs to another document
      rows_.targets[row + used_ - 1] = document.weights[i] == 0 ? ignore_index : document.ids[i];
      rows_.weights[row + used_ - 1] = document.weights[i];
    }
  }

  Rows take() { return std::move(rows_); }

 private:
  void open_row() {
    rows_.N++;
    rows_.ids.resize(size_t(rows_.N * rows_.T), pad_);
    rows_.targets.resize(size_t(rows_.N * rows_.T), ignore_index);
    rows_.weights.resize(size_t(rows_.N * rows_.T), 0.0f);
  }

  Rows rows_;
  int32_t pad_;
  int64_t used_ = 0;  // tokens in the open row, at most T + 1
};

}  // namespace

Rows pack_rows(const std::vector<TokenizedDocument>& documents, int64_t T, int32_t pad) {
  check_sizes("pack_rows", 1, T);
  RowPacker packer(T, pad);
  for (size_t d = 0; d < documents.size(); d++) {
    const int64_t length = int64_t(documents[d].ids.size());
    if (length == 0) throw UsageError(fmt::format("pack_rows: document {} is empty", d));
    if (length > T + 1)
      throw UsageError(
          fmt::format("pack_rows: document {} has {} tokens, but a row of {} positions holds {}; use a "
                      "longer context or cut the document",
                      d, length, T, T + 1));
    check(documents[d].weights.size() == documents[d].ids.size(),
          "pack_rows: document {} has {} tokens and {} weights", d, length, documents[d].weights.size());
    packer.add(documents[d]);
  }
  return packer.take();
}

RowLoader::RowLoader(Rows rows, int64_t B, uint64_t seed) : rows_(std::move(rows)), B_(B), seed_(seed) {
  check_sizes("RowLoader", B, rows_.T);
  if (rows_.N < 1) throw UsageError("RowLoader: there is no row to draw from");
}

int64_t RowLoader::row_at(int64_t position) {
  const int64_t epoch = position / rows_.N;
  if (epoch != epoch_) {
    order_.resize(size_t(rows_.N));
    std::iota(order_.begin(), order_.end(), int64_t(0));
    SplitMix64 random = stream_of(seed_, uint64_t(epoch));
    random.shuffle(order_);
    epoch_ = epoch;
  }
  return order_[size_t(position % rows_.N)];
}

namespace {

void copy_row(const Rows& rows, int64_t row, Batch& batch, int64_t b) {
  const int64_t from = row * rows.T, to = b * rows.T;
  std::copy_n(rows.ids.begin() + from, rows.T, batch.ids.begin() + to);
  std::copy_n(rows.targets.begin() + from, rows.T, batch.targets.begin() + to);
  std::copy_n(rows.weights.begin() + from, rows.T, batch.weights.begin() + to);
}

}  // namespace

Batch RowLoader::batch(int64_t step) {
  check(step >= 0, "RowLoader: step {} is negative", step);
  Batch batch = empty_batch(B_, rows_.T, 0);
  for (int64_t b = 0; b < B_; b++) copy_row(rows_, row_at(step * B_ + b), batch, b);
  return batch;
}

Batch RowLoader::sequential_batch(int64_t index) const {
  check(index >= 0 && index < sequential_batches(), "RowLoader: batch {} of {}", index, sequential_batches());
  Batch batch = empty_batch(B_, rows_.T, rows_.ids[0]);
  for (int64_t b = 0; b < B_ && index * B_ + b < rows_.N; b++) copy_row(rows_, index * B_ + b, batch, b);
  return batch;
}

// ---- One long stream ----

std::pair<std::vector<int32_t>, std::vector<int32_t>> split_stream(const std::vector<int32_t>& tokens,
                                                                   double validation_share) {
  if (!(validation_share >= 0 && validation_share <= 1))
    throw UsageError(
        fmt::format("split_stream: a validation share of {} is not between 0 and 1", validation_share));
  const auto middle = tokens.begin() + int64_t(double(tokens.size()) * (1 - validation_share));
  return {{tokens.begin(), middle}, {middle, tokens.end()}};
}

void write_tokens(const std::string& path, const std::vector<int32_t>& tokens) {
  write_npy(path, {int64_t(tokens.size())}, std::span<const int32_t>(tokens));
}

std::vector<int32_t> read_tokens(const std::string& path, int64_t vocab_size) {
  const Npy file = read_npy(path);
  if (file.shape.size() != 1)
    throw FileError(path, "shape",
                    fmt::format("has {} dimensions; token ids need exactly one", file.shape.size()));
  if (file.dtype != DType::I32 && file.dtype != DType::I64)
    throw FileError(path, "descr", "is not an integer type; token ids are int32 or int64");
  const std::vector<int64_t> ids = to_int64s(file.view());
  for (size_t i = 0; i < ids.size(); i++)
    if (ids[i] < 0 || ids[i] >= vocab_size)
      throw FileError(path, fmt::format("token {}", i),
                      fmt::format("is {}, not in 0 ... {}", ids[i], vocab_size - 1));
  return {ids.begin(), ids.end()};
}

StreamLoader::StreamLoader(std::vector<int32_t> tokens, int64_t B, int64_t T, uint64_t seed)
    : tokens_(std::move(tokens)), B_(B), T_(T), seed_(seed) {
  check_sizes("StreamLoader", B, T);
  if (size() < T + 1)
    throw UsageError(
        fmt::format("StreamLoader: the text has {} tokens, but one window of {} positions needs {}; use a "
                    "longer text or a shorter context",
                    size(), T, T + 1));
}

namespace {

// `count` positions from tokens[begin] on, as row b.
void copy_window(const std::vector<int32_t>& tokens, int64_t begin, int64_t count, Batch& batch, int64_t b) {
  const int64_t to = b * batch.T;
  std::copy_n(tokens.begin() + begin, count, batch.ids.begin() + to);
  std::copy_n(tokens.begin() + begin + 1, count, batch.targets.begin() + to);
  std::fill_n(batch.weights.begin() + to, count, 1.0f);
}

}  // namespace

Batch StreamLoader::batch(int64_t step) const {
  check(step >= 0, "StreamLoader: step {} is negative", step);
  Batch batch = empty_batch(B_, T_, 0);
  SplitMix64 random = stream_of(seed_, uint64_t(step));
  // below() scales 32 random bits, so a stream of 2^32 tokens or more needs more bits: take them from unit().
  for (int64_t b = 0; b < B_; b++)
    copy_window(tokens_, int64_t(random.unit() * double(size() - T_)), T_, batch, b);
  return batch;
}

int64_t StreamLoader::sequential_batches() const {
  const int64_t windows = (size() - 1 + T_ - 1) / T_;
  return (windows + B_ - 1) / B_;
}

Batch StreamLoader::sequential_batch(int64_t index) const {
  check(index >= 0 && index < sequential_batches(), "StreamLoader: batch {} of {}", index,
        sequential_batches());
  Batch batch = empty_batch(B_, T_, tokens_[0]);
  for (int64_t b = 0; b < B_; b++) {
    const int64_t begin = (index * B_ + b) * T_;
    if (begin < size() - 1) copy_window(tokens_, begin, std::min(T_, size() - 1 - begin), batch, b);
  }
  return batch;
}

}  // namespace chalk
