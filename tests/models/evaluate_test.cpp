// Scoring against models whose probabilities are known exactly.
#include "models/evaluate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "models/evaluate_text.h"
#include "models/text/splitmix.h"

namespace chalk {
namespace {

// A causal "model" whose logits depend on the whole prefix, so that any mistake in windows or padding shows.
std::vector<float> hashing_logits(const std::vector<int32_t>& ids, int64_t B, int64_t T, int64_t V) {
  std::vector<float> y(size_t(B * T * V));
  for (int64_t b = 0; b < B; b++) {
    double state = 1;
    for (int64_t t = 0; t < T; t++) {
      state = std::fmod(state * 7.13 + ids[size_t(b * T + t)] * 1.37 + 0.11, 5.0);
      for (int64_t v = 0; v < V; v++) y[size_t((b * T + t) * V + v)] = float(std::sin(state * double(v + 1)));
    }
  }
  return y;
}

constexpr int64_t kV = 11;

LogitsFunction hashing() {
  return [](const std::vector<int32_t>& ids, int64_t B, int64_t T) { return hashing_logits(ids, B, T, kV); };
}

// ln p(option | context), one token at a time, without any batching.
double direct(std::vector<int32_t> context, const std::vector<int32_t>& option) {
  double sum = 0;
  for (int32_t token : option) {
    const std::vector<float> y = hashing_logits(context, 1, int64_t(context.size()), kV);
    sum += log_softmax_at(y.data() + (int64_t(context.size()) - 1) * kV, kV, token);
    context.push_back(token);
  }
  return sum;
}

TEST(LogSoftmax, KnownValues) {
  const float logits[] = {0, std::log(2.0f), std::log(5.0f)};
  bool greedy = true;
  EXPECT_NEAR(log_softmax_at(logits, 3, 1, &greedy), std::log(2.0 / 8), 1e-7);  // float inputs: 1e-7
  EXPECT_FALSE(greedy);
  log_softmax_at(logits, 3, 2, &greedy);
  EXPECT_TRUE(greedy);
  const float huge[] = {1e30f, -1e30f};
  EXPECT_EQ(log_softmax_at(huge, 2, 0), 0.0);
}

TEST(ModelScorer, AgreesWithOneTokenAtATimeForAnyBatchSize) {
  std::vector<ChoiceRequest> requests;
  SplitMix64 random(3);
  auto id = [&random] { return int32_t(random.below(kV)); };
  for (int r = 0; r < 23; r++) {
    ChoiceRequest request;
    for (int i = 0; i <= r % 7; i++) request.context.push_back(id());
    for (int o = 0; o < 1 + r % 4; o++) {
      request.options.emplace_back();
      for (int i = 0; i <= (r % 3 == 0 ? 0 : o); i++) request.options.back().push_back(id());
    }
    requests.push_back(request);
  }
  requests.push_back({{1, 2}, {}});  // a question without options has no scores
  for (int64_t batch : {1, 4, 100}) {
    ModelScorer scorer(hashing(), kV, 64);
    scorer.batch_rows = batch;
    if (batch == 4) scorer.max_logits = 1;  // forces one row at a time
    const auto scores = scorer.score(requests);
    ASSERT_EQ(scores.size(), requests.size());
    for (size_t r = 0; r < requests.size(); r++) {
      ASSERT_EQ(scores[r].size(), requests[r].options.size());
      for (size_t o = 0; o < scores[r].size(); o++) {
        EXPECT_DOUBLE_EQ(scores[r][o].log_prob, direct(requests[r].context, requests[r].options[o]));
        EXPECT_FALSE(scores[r][o].truncated);
      }
    }
  }
}

TEST(ModelScorer, OptionsOnOneWayShareARow) {
  int64_t rows = 0;
  const LogitsFunction counting = [&rows](const std::vector<int32_t>& ids, int64_t B, int64_t T) {
    rows += B;
    return hashing_logits(ids, B, T, kV);
  };
  ModelScorer scorer(counting, kV, 64);
  const ChoiceRequest request{{3, 9}, {{5}, {1, 2}, {1, 2, 4}, {7, 8}, {1}, {1, 2, 3}, {2, 2, 4}}};
  const auto scores = scorer.score({request});
  EXPECT_EQ(rows, 3);  // context + 1 2, context + 2 2, context + 7
  for (size_t o = 0; o < request.options.size(); o++)
    EXPECT_DOUBLE_EQ(scores[0][o].log_prob, direct(request.context, request.options[o])) << o;
}

TEST(ModelScorer, GreedyAndTruncation) {
  // A model that always predicts id + 1.
  const LogitsFunction successor = [](const std::vector<int32_t>& ids, int64_t B, int64_t T) {
    EXPECT_LE(T, 4);
    std::vector<float> y(size_t(B * T * 10), 0.0f);
    for (int64_t i = 0; i < B * T; i++) y[size_t(i * 10 + (ids[size_t(i)] + 1) % 10)] = 8;
    return y;
  };
  ModelScorer scorer(successor, 10, 4);
  const auto scores = scorer.score(
      {{{0, 1, 2}, {{3, 4}, {3, 5}}}, {{0, 1, 2, 3, 4, 5}, {{6}, {2}}}, {{0}, {{1, 2, 3, 4, 5, 6, 7}, {1}}}});
  EXPECT_TRUE(scores[0][0].greedy);
  EXPECT_FALSE(scores[0][1].greedy);
  EXPECT_FALSE(scores[0][0].truncated);
  EXPECT_TRUE(scores[1][0].greedy);
  EXPECT_TRUE(scores[1][0].truncated);  // 6 tokens of context, 4 positions
  EXPECT_TRUE(scores[2][0].truncated);
  EXPECT_TRUE(scores[2][0].greedy);
  // Only the last 4 tokens of the long option could be scored: ln p = 4 ln(e^8 / (e^8 + 9)).
  EXPECT_NEAR(scores[2][0].log_prob, -4 * std::log1p(9 * std::exp(-8.0)), 1e-12);
}

TEST(ModelScorer, Refuses) {
  ModelScorer scorer(hashing(), kV, 8);
  EXPECT_THROW(scorer.score({{{}, {{1}}}}), UsageError);
  EXPECT_THROW(scorer.score({{{1}, {{}}}}), UsageError);
  EXPECT_THROW(scorer.score({{{1}, {{int32_t(kV)}}}}), UsageError);
  EXPECT_THROW(scorer.score({{{-1}, {{1}}}}), UsageError);
  EXPECT_TRUE(scorer.score({}).empty());
  ModelScorer broken([](const std::vector<int32_t>&, int64_t, int64_t) { return std::vector<float>(3); }, kV,
                     8);
  EXPECT_THROW(broken.score({{{1}, {{1}}}}), Error);
}

TEST(Statistics, ProbabilitiesTiesAndErrors) {
  const std::vector<OptionScore> scores = {{std::log(0.2), false, false}, {std::log(0.6), false, false}};
  EXPECT_NEAR(option_probabilities(scores)[1], 0.75, 1e-12);
  EXPECT_NEAR(option_probabilities({{-INFINITY, false, false}, {-INFINITY, false, false}})[0], 0.5, 1e-12);
  EXPECT_EQ(shared_accuracy({-1, -1, -2}, 0), 0.5);
  EXPECT_EQ(shared_accuracy({-1, -1, -2}, 2), 0.0);
  EXPECT_EQ(shared_accuracy({-3, -1, -2}, 1), 1.0);
  const MeanError e = mean_error({1, 0, 1, 1});
  EXPECT_EQ(e.mean, 0.75);
  EXPECT_NEAR(e.error, std::sqrt(0.75 * 0.25 / 3), 1e-12);  // √(p(1-p)/(n-1)) for zeros and ones
  EXPECT_EQ(mean_error({1}).error, 0);
}

// A tokenizer with merges: "the " and " a" style pieces, longest match first.
TextEncoder toy_encoder() {
  static const std::vector<std::string> pieces = {"Answer:", " yes", "yes", " ", "n", "no",
                                                  "o",       "s",    "e",   "y", ":"};
  TextEncoder encoder;
  encoder.encode = [](const std::string& text) {
    std::vector<int32_t> ids;
    for (size_t i = 0; i < text.size();) {
      int best = -1;
      for (size_t p = 0; p < pieces.size(); p++)
        if (text.compare(i, pieces[p].size(), pieces[p]) == 0 &&
            (best < 0 || pieces[p].size() > pieces[size_t(best)].size()))
          best = int(p);
      if (best < 0) throw Error("toy: no piece");
      ids.push_back(best);
      i += pieces[size_t(best)].size();
    }
    return ids;
  };
  return encoder;
}

TEST(EncodePair, WholeStringRule) {
  TextEncoder encoder = toy_encoder();
  EXPECT_EQ(encode_pair(encoder, "Answer:", " yes").continuation, (std::vector<int32_t>{1}));
  EXPECT_EQ(encode_pair(encoder, "Answer: ", "yes").continuation,
            (std::vector<int32_t>{1}));  // the space moves over
  EXPECT_EQ(encode_pair(encoder, "Answer:", " yes").context, (std::vector<int32_t>{0}));
  // "n" + "o" is one token as a whole: the context gives way, the option must not become empty.
  encoder.empty_context = 99;
  const TokenPair merged = encode_pair(encoder, "n", "o");
  EXPECT_EQ(merged.continuation, (std::vector<int32_t>{5}));
}

TEST(EncodePair, SpecialTokensAndRefusals) {
  TextEncoder encoder = toy_encoder();
  EXPECT_THROW(encode_pair(encoder, "", "yes"), UsageError);
  EXPECT_THROW(encode_pair(encoder, "Answer:", ""), UsageError);
  encoder.empty_context = 99;
  EXPECT_EQ(encode_pair(encoder, "", "yes").context, (std::vector<int32_t>{99}));
  encoder.bos = 98;
  EXPECT_EQ(encode_pair(encoder, "", "yes").context, (std::vector<int32_t>{98}));
  EXPECT_EQ(encode_pair(encoder, "Answer:", " yes").context, (std::vector<int32_t>{98, 0}));
}

TEST(TextEncoder, TakesSpecialTokensFromTheTokenizer) {
  struct Letters : Tokenizer {
    std::vector<int32_t> encode(std::string_view text) const override { return {text.begin(), text.end()}; }
    std::string decode(const std::vector<int32_t>& ids) const override { return {ids.begin(), ids.end()}; }
    int64_t vocab_size() const override { return 128; }
    std::string token(int32_t id) const override { return std::string(1, char(id)); }
    void save(const std::string&) const override {}
  } letters;
  EXPECT_EQ(text_encoder(letters).empty_context, -1);
  letters.eos = 2;  // like GPT-2: nothing in front of a text, end-of-text for an empty one
  EXPECT_FALSE(text_encoder(letters).bos);
  EXPECT_EQ(text_encoder(letters).empty_context, 2);
  letters.bos = 1;
  letters.add_bos = true;
  EXPECT_EQ(encode_pair(text_encoder(letters), "a", "b").context, (std::vector<int32_t>{1, 'a'}));
}

// ---- Perplexity ----

TEST(PlanWindows, EveryTokenAfterTheFirstOnce) {
  const int64_t T = 8;
  for (int64_t stride = 1; stride <= T; stride++) {
    for (int64_t n : {2, 3, 7, 8, 9, 10, 15, 16, 17, 18, 24, 25, 100}) {
      std::vector<int> counted(size_t(n), 0);
      for (const TextWindow& w : plan_windows(n, T, stride)) {
        ASSERT_LE(w.length, T);
        ASSERT_GE(w.length, 1);
        ASSERT_GE(w.begin, 0);
        ASSERT_LT(w.begin + w.length, n);
        ASSERT_GT(w.first_scored, w.begin);
        for (int64_t i = w.first_scored; i <= w.begin + w.length; i++) counted[size_t(i)]++;
        ASSERT_TRUE(w.begin == 0 ||
                    w.first_scored - w.begin >= T - stride + 1);  // tokens of context for the first one
      }
      EXPECT_EQ(counted[0], 0);
      for (int64_t i = 1; i < n; i++)
        EXPECT_EQ(counted[size_t(i)], 1) << "n " << n << " stride " << stride << " i " << i;
    }
  }
}

TEST(PlanWindows, OneWindowIfItFits) {
  EXPECT_EQ(plan_windows(2, 8, 8).size(), 1u);
  EXPECT_EQ(plan_windows(8, 8, 1).size(), 1u);
  EXPECT_EQ(plan_windows(9, 8, 1).size(), 1u);  // 8 inputs predict 8 tokens
  EXPECT_EQ(plan_windows(10, 8, 8).size(), 2u);
  EXPECT_THROW(plan_windows(1, 8, 8), UsageError);
  EXPECT_THROW(plan_windows(0, 8, 8), UsageError);
  EXPECT_THROW(plan_windows(9, 8, 9), UsageError);
  EXPECT_THROW(plan_windows(9, 8, 0), UsageError);
  EXPECT_THROW(plan_windows(9, 0, 1), UsageError);
}

TEST(ScoreText, UniformModelAndChainRule) {
  const std::vector<int32_t> ids = {1, 4, 2, 8, 5, 7, 1, 4, 2, 8, 5, 7, 3};
  const LogitsFunction uniform = [](const std::vector<int32_t>&, int64_t B, int64_t T) {
    return std::vector<float>(size_t(B * T * kV), 2.5f);
  };
  const TextScore flat = score_text(uniform, kV, ids, plan_windows(13, 5, 3));
  EXPECT_EQ(flat.tokens, 12);
  EXPECT_NEAR(flat.perplexity(), double(kV), 1e-12);
  EXPECT_NEAR(flat.bits_per_byte(12), std::log2(double(kV)), 1e-12);

  // One window: the chain rule. Disjoint windows: each stands alone.
  const std::vector<int32_t> rest(ids.begin() + 1, ids.end());
  EXPECT_NEAR(score_text(hashing(), kV, ids, plan_windows(13, 12, 12)).nll, -direct({1}, rest), 1e-12);
  const double halves = direct({1}, {4, 2, 8, 5, 7, 1}) + direct({1}, {4, 2, 8, 5, 7, 3});
  EXPECT_NEAR(score_text(hashing(), kV, ids, plan_windows(13, 6, 6)).nll, -halves, 1e-12);
  int windows = 0;
  score_text(hashing(), kV, ids, plan_windows(13, 6, 6), [&](const TextWindow&, const float*) { windows++; });
  EXPECT_EQ(windows, 2);
  EXPECT_THROW(score_text(hashing(), 5, ids, plan_windows(13, 6, 6)), UsageError);
  EXPECT_THROW(score_text(hashing(), kV, {1, 2}, plan_windows(13, 6, 6)), Error);
}

}  // namespace
}  // namespace chalk
