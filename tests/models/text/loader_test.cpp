// Batches: nothing lost, nothing predicted across documents, and every step reproducible by itself.
#include "models/text/loader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <set>

#include "autograd/check.h"
#include "models/io/npy.h"

namespace chalk {
namespace {

TokenizedDocument document(std::vector<int32_t> ids) {
  TokenizedDocument d{std::move(ids), {}};
  d.weights.assign(d.ids.size(), 1.0f);
  return d;
}

std::vector<int32_t> counting(int64_t n) {
  std::vector<int32_t> tokens(static_cast<size_t>(n));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

TEST(PackRows, ByHand) {
  // Rows of 4 positions hold 5 tokens: [1 2 3 | 4 5], then [6 7 8 9] which does not fit behind them.
  const Rows rows = pack_rows({document({1, 2, 3}), document({4, 5}), document({6, 7, 8, 9})}, 4, 0);
  ASSERT_EQ(rows.N, 2);
  const int32_t none = ignore_index;
  EXPECT_EQ(rows.ids, (std::vector<int32_t>{1, 2, 3, 4, 6, 7, 8, 9}));
  EXPECT_EQ(rows.targets, (std::vector<int32_t>{2, 3, none, 5, 7, 8, 9, none}));
  EXPECT_EQ(rows.weights, (std::vector<float>{1, 1, 0, 1, 1, 1, 1, 0}));
}

TEST(PackRows, Refuses) {
  EXPECT_THROW(pack_rows({document({1, 2, 3, 4, 5, 6})}, 4, 0), UsageError);
  EXPECT_THROW(pack_rows({document({})}, 4, 0), UsageError);
  EXPECT_THROW(pack_rows({document({1, 2})}, 0, 0), UsageError);
  EXPECT_THROW(pack_rows({TokenizedDocument{{1, 2}, {1}}}, 4, 0), Error);
  EXPECT_EQ(pack_rows({}, 4, 0).N, 0);
  EXPECT_THROW(RowLoader(pack_rows({}, 4, 0), 1, 1), UsageError);
}

TEST(PackRows, TheWorldInRowsOf64) {
  const std::vector<Document> documents = world_documents(make_world(), 100000, kWorldTrainSeed);
  const Rows rows = pack_rows(encode_world(documents), 64, 0);
  // 66,538 rows in the prototype, whose draws differ. The total length of the stream has a standard deviation of
  // about 12.5 tokens per document, 3,950 in all or 84 rows; three of them are allowed.
  EXPECT_NEAR(double(rows.N), 66538, 3 * 84);
  EXPECT_EQ(rows.N, 66611);  // ours, frozen

  // Conservation: every token but the first of each document is a target exactly once, with its weight.
  int64_t words = 0, answers = 0, targets = 0;
  for (const Document& d : documents) {
    words += int64_t(d.words.size()) - 1;
    answers += std::count(d.answer.begin(), d.answer.end(), true);
  }
  double weight = 0;
  for (size_t i = 0; i < rows.targets.size(); i++) {
    const bool target = rows.targets[i] != ignore_index;
    targets += target;
    weight += rows.weights[i];
    ASSERT_EQ(rows.weights[i] == 0, !target);
    ASSERT_NE(rows.targets[i], 0) << "<pad> is never predicted";
    ASSERT_NE(rows.targets[i], 1) << "<bos> is never predicted";
    ASSERT_TRUE(i % 64 != 0 || rows.ids[i] == 1) << "a row starts at a document start";
    ASSERT_TRUE(!target || i % 64 == 63 || rows.targets[i] == rows.ids[i + 1]);
  }
  EXPECT_EQ(targets, words);
  EXPECT_DOUBLE_EQ(weight, double(words + 3 * answers));
}

TEST(EncodeWorld, WordsAndStrangers) {
  EXPECT_EQ(encode_world(Words{"<pad>", "<bos>", "<eot>"}), (std::vector<int32_t>{0, 1, 6}));
  EXPECT_THROW(encode_world(Words{"telephone"}), Error);
  const TokenizedDocument d = encode_world(make_document("arith", "calc 1 + 1 = ~2 ;"), 4);
  EXPECT_EQ(d.weights, (std::vector<float>{1, 1, 1, 1, 1, 1, 4, 1, 1}));
  for (size_t i = 0; i < d.ids.size(); i++)  // round trip
    EXPECT_EQ(world_vocabulary()[d.ids[i]], make_document("arith", "calc 1 + 1 = ~2 ;").words[i]);
}

TEST(EncodeWorld, RepliesOnly) {
  TokenizedDocument d =
      encode_world(make_document("qa", "<user> hello <eot> <bot> ok . <eot> <user> now <eot>"));
  keep_replies_only(d, 5, 6);
  //                                      bos user hello eot bot ok . eot user now eot eos
  EXPECT_EQ(d.weights, (std::vector<float>{0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0}));
  const Rows rows = pack_rows({d}, 16, 0);
  EXPECT_EQ(
      std::count_if(rows.targets.begin(), rows.targets.end(), [](int32_t t) { return t != ignore_index; }),
      3);
}

TEST(RowLoader, EveryEpochShowsEachRowOnceInItsOwnOrder) {
  std::vector<TokenizedDocument> documents;
  for (int32_t i = 0; i < 11; i++) documents.push_back(document({i, 100}));
  RowLoader loader(pack_rows(documents, 1, 0), 3, 7);  // 11 rows of one position; ids name the row
  std::vector<int32_t> shown;
  for (int64_t step = 0; step < 22; step++)  // 66 rows = 6 epochs
    for (int32_t id : loader.batch(step).ids) shown.push_back(id);
  std::set<std::vector<int32_t>> orders;
  for (int epoch = 0; epoch < 6; epoch++) {
    const std::vector<int32_t> order(shown.begin() + 11 * epoch, shown.begin() + 11 * (epoch + 1));
    EXPECT_EQ(std::set<int32_t>(order.begin(), order.end()).size(), 11u);
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 6u);

  RowLoader resumed(loader.rows(), 3, 7);  // starts in the middle, jumps back
  for (int64_t step : {17, 3, 4, 0}) {
    EXPECT_EQ(resumed.batch(step).ids, loader.batch(step).ids) << step;
  }
  RowLoader other(loader.rows(), 3, 8);
  EXPECT_NE(other.batch(0).ids, loader.batch(0).ids);
}

TEST(RowLoader, SequentialBatchesCoverTheRowsOnce) {
  std::vector<TokenizedDocument> documents;
  for (int32_t i = 0; i < 11; i++) documents.push_back(document({i, 100 + i}));
  const RowLoader loader(pack_rows(documents, 1, 0), 4, 7);
  ASSERT_EQ(loader.sequential_batches(), 3);
  std::vector<int32_t> targets;
  for (int64_t i = 0; i < 3; i++)
    for (int32_t target : loader.sequential_batch(i).targets)
      if (target != ignore_index) targets.push_back(target - 100);
  EXPECT_EQ(targets, counting(11));
  EXPECT_THROW(loader.sequential_batch(3), Error);
}

TEST(StreamLoader, WindowsAreTextAndReachBothEnds) {
  const StreamLoader loader(counting(12), 5, 10, 3);  // only two windows exist: at 0 and at 1
  std::map<int32_t, int> starts;
  for (int64_t step = 0; step < 40; step++) {
    const Batch batch = loader.batch(step);
    ASSERT_EQ(batch.B * batch.T, int64_t(batch.ids.size()));
    for (int64_t b = 0; b < batch.B; b++) {
      starts[batch.ids[b * 10]]++;
      for (int64_t t = 0; t < 10; t++) {
        ASSERT_EQ(batch.ids[b * 10 + t], batch.ids[b * 10] + t);
        ASSERT_EQ(batch.targets[b * 10 + t], batch.ids[b * 10 + t] + 1);
      }
    }
  }
  ASSERT_EQ(starts.size(), 2u);
  EXPECT_NEAR(starts[0], 100, 3 * std::sqrt(200 * 0.25));  // 200 fair coins, three standard deviations
  const StreamLoader again(counting(12), 5, 10, 3);
  EXPECT_EQ(again.batch(33).ids, loader.batch(33).ids);
}

TEST(StreamLoader, SequentialBatchesPredictEveryTokenOnce) {
  for (int64_t n : {5, 8, 9, 10, 12, 13, 50}) {
    const StreamLoader loader(counting(n), 3, 4, 1);
    std::vector<int32_t> targets;
    for (int64_t i = 0; i < loader.sequential_batches(); i++) {
      const Batch batch = loader.sequential_batch(i);
      for (size_t p = 0; p < batch.targets.size(); p++) {
        if (batch.targets[p] == ignore_index) continue;
        targets.push_back(batch.targets[p]);
        EXPECT_EQ(batch.ids[p] + 1, batch.targets[p]);
      }
    }
    std::vector<int32_t> expected = counting(n);
    expected.erase(expected.begin());
    EXPECT_EQ(targets, expected) << "n = " << n;
  }
}

TEST(TokenFile, RoundTripAndRefusals) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("chalk_tokens_" + std::to_string(getpid()) + ".npy"))
          .string();
  write_tokens(path, {3, 0, 50256});
  EXPECT_EQ(read_tokens(path, 50257), (std::vector<int32_t>{3, 0, 50256}));
  EXPECT_THROW(read_tokens(path, 50256), FileError);
  write_tokens(path, {1, -1});
  EXPECT_THROW(read_tokens(path, 10), FileError);
  write_npy(path, {2}, std::span<const float>(std::vector<float>{1, 2}));
  EXPECT_THROW(read_tokens(path, 10), FileError);
  const std::vector<int64_t> wide = {1, int64_t(1) << 32, 2, 3};
  write_npy(path, {4}, std::span<const int64_t>(wide));
  EXPECT_THROW(read_tokens(path, 10), FileError);  // must not wrap around to 0
  write_npy(path, {2, 2}, std::span<const int64_t>(wide));
  EXPECT_THROW(read_tokens(path, 10), FileError);
  std::filesystem::remove(path);
  EXPECT_THROW(read_tokens(path, 10), FileError);
}

TEST(StreamLoader, SplitAndRefusals) {
  const auto [train, validation] = split_stream(counting(101), 0.1);
  EXPECT_EQ(train.size(), 90u);
  EXPECT_EQ(validation.front(), 90);
  EXPECT_EQ(validation.back(), 100);
  EXPECT_THROW(split_stream(counting(5), 1.5), UsageError);
  EXPECT_THROW(StreamLoader(counting(10), 1, 10, 1), UsageError);
  EXPECT_THROW(StreamLoader(counting(10), 0, 4, 1), UsageError);
  EXPECT_NO_THROW(StreamLoader(counting(11), 1, 10, 1).batch(0));
}

}  // namespace
}  // namespace chalk
