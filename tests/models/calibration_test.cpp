// What the observer reports is what the slots are given; the walk is the forward pass.
#include "models/calibration.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

// Remembers what it was given.
struct Spy : Projection {
  explicit Spy(std::unique_ptr<Layer> inner) : inner(std::move(inner)) {}
  Tensor forward(const Tensor& x) override {
    const std::vector<float> values = x.to_vector();
    seen.insert(seen.end(), values.begin(), values.end());
    return inner->forward(x);
  }
  int64_t in_features() const override { return static_cast<Projection&>(*inner).in_features(); }
  int64_t out_features() const override { return static_cast<Projection&>(*inner).out_features(); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    inner->visit_parameters(prefix, visitor);
  }
  std::unique_ptr<Layer> inner;
  std::vector<float> seen;
};

class CalibrationTest : public testing::TestWithParam<ModelCase> {
 protected:
  std::unique_ptr<LanguageModel> model = GetParam().make();
  const std::vector<IntTensor> batches = {some_ids(2, 6, 1), some_ids(1, 9, 2), some_ids(3, 4, 3)};
  std::vector<std::string> all_slots() {
    std::vector<std::string> names;
    for (const auto& set : slots_by_input(*model)) names.insert(names.end(), set.begin(), set.end());
    return names;
  }
};

TEST_P(CalibrationTest, ObservesExactlyWhatTheSlotsAreGiven) {
  std::map<std::string, Spy*> spies;
  for (const std::string& name : all_slots()) {
    Slot& slot = find_slot(*model, name);
    auto spy = std::make_unique<Spy>(std::move(slot.layer));
    spies[name] = spy.get();
    slot.layer = std::move(spy);
  }
  std::map<std::string, SlotInputs> observed;
  {
    NoGrad no_grad;
    InputObserver observer(model->hooks, all_slots(),
                           [&](const std::string& slot, const float* x, int64_t tokens, int64_t in) {
                             observed[slot].append(x, tokens, in);
                           });
    for (const IntTensor& ids : batches) model->forward(ids);
  }
  ASSERT_EQ(observed.size(), spies.size());
  for (const auto& [name, spy] : spies) {
    EXPECT_EQ(observed.at(name).x, spy->seen) << name;
    EXPECT_EQ(observed.at(name).in, spy->in_features()) << name;
    EXPECT_EQ(observed.at(name).tokens, 2 * 6 + 9 + 3 * 4) << name;
  }
  const size_t before = spies.begin()->second->seen.size();
  model->forward(batches[0]);
  EXPECT_GT(spies.begin()->second->seen.size(), before);
  EXPECT_EQ(observed.begin()->second.x.size(), before);  // the observer is gone
}

// Block by block is the forward pass, bit for bit, and collect() sees what a whole pass would show.
TEST_P(CalibrationTest, TheWalkIsTheForwardPass) {
  NoGrad no_grad;
  BlockWalk walk(*model, batches);
  for (; !walk.done(); walk.advance()) {
    for (const auto& set : slots_by_input(walk.block())) {
      const auto kept = walk.collect({set[0]});
      ASSERT_EQ(kept.size(), 1u);
      Recorder recorder(model->hooks, {input_hook(set[0])});
      model->forward(batches[2]);
      const std::vector<float> last = recorder.last.at(input_hook(set[0])).to_vector();
      const std::vector<float>& x = kept.at(set[0]).x;
      EXPECT_EQ(std::vector<float>(x.end() - int64_t(last.size()), x.end()), last);
    }
  }
  for (size_t i = 0; i < batches.size(); ++i) {
    EXPECT_EQ(model->head(walk.inputs[i]).to_vector(), model->forward(batches[i]).to_vector());
  }
}

// A block that is changed during the walk passes on what it has become, unless the caller kept the old outputs.
TEST_P(CalibrationTest, ChangedBlocksAreCarriedForward) {
  NoGrad no_grad;
  BlockWalk walk(*model, batches);
  const std::vector<Tensor> original = walk.outputs();
  find_slot(*model, slots_by_input(walk.block()).back().back()).layer->parameters()[0].tensor.fill(0.01f);
  const std::vector<Tensor> changed = walk.outputs();
  EXPECT_NE(changed[0].to_vector(), original[0].to_vector());
  BlockWalk other(*model, batches);
  walk.advance();
  EXPECT_EQ(walk.inputs[0].to_vector(), changed[0].to_vector());
  other.advance(original);
  EXPECT_EQ(other.inputs[0].to_vector(), original[0].to_vector());
}

TEST_P(CalibrationTest, SlotsComeInOrderOfExecution) {
  const auto sets = slots_by_input(model->block(1));
  ASSERT_EQ(sets.size(), 4u);
  if (GetParam().architecture == std::string("gpt2")) {
    EXPECT_EQ(sets[0], std::vector<std::string>{"h.1.attn.c_attn"});
    EXPECT_EQ(sets[3], std::vector<std::string>{"h.1.mlp.c_proj"});
  } else {
    EXPECT_EQ(sets[0], (std::vector<std::string>{"layers.1.self_attn.q_proj", "layers.1.self_attn.k_proj",
                                                 "layers.1.self_attn.v_proj"}));
    EXPECT_EQ(sets[2], (std::vector<std::string>{"layers.1.mlp.gate_proj", "layers.1.mlp.up_proj"}));
  }
  EXPECT_EQ(slots_by_input(*model).size(), 8u);  // the head is left out
}

TEST_P(CalibrationTest, RefusesWhatItCannotDo) {
  EXPECT_MENTIONS(error_text([&] { BlockWalk(*model, {}); }), "no text");
  EXPECT_MENTIONS(error_text([&] { BlockWalk(*model, {some_ids(1, 13)}); }), "context of 12");
  EXPECT_MENTIONS(error_text([&] { input_hook("lm_head"); }), "lm_head");
  model->training = true;
  EXPECT_MENTIONS(error_text([&] { BlockWalk(*model, batches); }), "training mode");
}

INSTANTIATE_TEST_SUITE_P(Models, CalibrationTest, testing::ValuesIn(kModelCases), model_test_name);

TEST(RandomWindowsTest, AreWindowsOfTheText) {
  std::vector<int32_t> text(50);
  for (int32_t i = 0; i < 50; ++i) text[size_t(i)] = i;
  const std::vector<IntTensor> batches = random_windows(text, 10, 20, 3, 4);
  ASSERT_EQ(batches.size(), 3u);
  EXPECT_EQ(batches[0].shape, (Shape{4, 20}));
  EXPECT_EQ(batches[2].shape, (Shape{2, 20}));
  std::set<int32_t> starts;
  for (const IntTensor& batch : batches) {
    for (int64_t b = 0; b < batch.shape[0]; ++b) {
      const int32_t first = batch.values[size_t(b * 20)];
      starts.insert(first);
      for (int32_t t = 0; t < 20; ++t) EXPECT_EQ(batch.values[size_t(b * 20 + t)], first + t);
    }
  }
  EXPECT_GT(starts.size(), 5u);
  EXPECT_LE(*starts.rbegin(), 30);
  EXPECT_EQ(random_windows(text, 10, 20, 3, 4)[1].values, batches[1].values);
  EXPECT_NE(random_windows(text, 10, 20, 4, 4)[1].values, batches[1].values);
  EXPECT_EQ(random_windows(text, 1, 50, 0)[0].values, text);
  EXPECT_THROW(random_windows(text, 1, 51, 0), std::runtime_error);
}

}  // namespace
}  // namespace chalk
