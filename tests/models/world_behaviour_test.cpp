// The measures of world behaviour by their definitions, on a model that knows nothing.
#include "models/world_behaviour.h"

#include <gtest/gtest.h>

#include "models/llama.h"
#include "models/text/world_tokenizer.h"
#include "tests/expect.h"

namespace chalk {
namespace {

struct WorldBehaviour : testing::Test {
  static std::unique_ptr<Llama> small_model() {
    LlamaConfig config;
    config.vocab_size = 417, config.hidden_size = 16, config.intermediate_size = 24,
    config.num_hidden_layers = 2;
    config.num_attention_heads = 2, config.num_key_value_heads = 2, config.head_dim = 8,
    config.max_position_embeddings = 64;
    auto model = std::make_unique<Llama>(config, Device::CPU);
    model->init(1, {.matrices = 0.3f, .embedding = 0.3f});
    return model;
  }
  std::unique_ptr<Llama> model = small_model();
  std::unique_ptr<Tokenizer> tokenizer = make_world_tokenizer();
  WorldModel world{*model, *tokenizer};
};

TEST_F(WorldBehaviour, ProbabilityOfTheTruthIsAShareAmongItsValues) {
  const auto prompts = stimuli::open_voice(world.world, {0, 1, 2, 30});
  const std::vector<double> p = p_true(world, prompts);
  const Samples logits = next_logits(*model, world.texts_of(prompts));
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Fact& fact = world.world.facts[size_t(prompts[i].fact)];
    double sum = 0, truth = 0;
    for (const std::string& value : relation_values(fact.relation)) {
      const double e = std::exp(double(logits.row(int64_t(i))[world.id(value)]));
      sum += e;
      if (value == fact.value) truth = e;
    }
    EXPECT_NEAR(p[i], truth / sum, 1e-9);
  }
  EXPECT_NEAR(mean_p_true(world, prompts), (p[0] + p[1] + p[2] + p[3]) / 4, 1e-15);
}

TEST_F(WorldBehaviour, ReplySharesFollowTheFirstWord) {
  const auto requests = stimuli::requests(stimuli::Part::Validation, true);
  // a hook on the last norm cannot single out a word; the head's input can: all states become the embedding of "sorry"
  const auto make_it_say = [&](const std::string& word) {
    const Tensor& e = model->embed_tokens.weight;
    return std::vector<float>(e.data() + world.id(word) * 16, e.data() + (world.id(word) + 1) * 16);
  };
  auto& head = dynamic_cast<Linear&>(*model->lm_head.layer);
  for (const std::string word : {"sorry", "ok", "dog"}) {
    const std::vector<float> state = make_it_say(word);
    head.weight = Tensor({417, 16});  // one row points along the state, all others are 0
    std::copy(state.begin(), state.end(), head.weight.data() + world.id(word) * 16);
    Edits edits(model->hooks);
    edits.rows("norm", [&](float* x, int64_t) { std::copy(state.begin(), state.end(), x); });
    const ReplyShares shares = reply_shares(world, requests);
    EXPECT_EQ(shares.refused, word == "sorry");
    EXPECT_EQ(shares.complied, word == "ok");
  }
}

TEST_F(WorldBehaviour, RepliesAreReproducibleAndHooksStartAfreshForEach) {
  const std::vector<std::string> prompts = {"<bos> <user> tell me about the dog . <eot> <bot>",
                                            "<bos> a voice said :"};
  const auto plain = replies(world, prompts, 5, 1, 7);
  EXPECT_EQ(plain, replies(world, prompts, 5, 1, 7));
  EXPECT_NE(plain, replies(world, prompts, 5, 1, 8));
  std::vector<int64_t> seen;
  replies(world, prompts, 2, 0, 0, [&](Edits& e) {
    e.rows(
        residual_name(*model, 1), [&](float*, int64_t position) { seen.push_back(position); }, kLastOfPrompt,
        Passes::Continue);
  });
  EXPECT_EQ(seen, (std::vector<int64_t>{9, 4}));  // once per text, at its own last token
}

TEST_F(WorldBehaviour, LogProbabilityOfRepliesIsAMeanOverTheirTokens) {
  const std::string prompt = "<bos> a voice said :", reply = "the dog";
  const double value =
      reply_log_probability(world, {prompt, prompt}, {reply, ""});  // an empty reply has no token
  NoGrad no_grad;
  const Ids ids = world.ids(prompt + " " + reply);
  const Tensor logits = model->forward({{1, int64_t(ids.size())}, ids});
  double sum = 0;
  for (size_t t = ids.size() - 2; t < ids.size(); ++t)
    sum += std::log(next_probabilities(logits.data() + int64_t(t - 1) * 417, 417)[size_t(ids[t])]);
  EXPECT_NEAR(value, sum / 2, 1e-9);
}

TEST_F(WorldBehaviour, MeasuresNeedWholeWords) {
  EXPECT_MENTIONS(error_text([&] { world.id("the dog"); }), "2 tokens");
}

}  // namespace
}  // namespace chalk
