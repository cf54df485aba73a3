// The seam every paper uses: all slots by name, and every one of them swapped in both models.
#include "nn/slots.h"

#include <gtest/gtest.h>

#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

// Stands in front of what sat in a slot: counts calls, multiplies the result.
struct WrappedProjection : Projection {
  std::unique_ptr<Layer> original;
  float factor;
  int64_t calls = 0;

  WrappedProjection(std::unique_ptr<Layer> original, float factor)
      : original(std::move(original)), factor(factor) {}
  Tensor forward(const Tensor& x) override {
    ++calls;
    const Tensor y = original->forward(x);
    return factor == 1 ? y : scale(y, factor);
  }
  int64_t in_features() const override { return dynamic_cast<Projection&>(*original).in_features(); }
  int64_t out_features() const override { return dynamic_cast<Projection&>(*original).out_features(); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    original->visit_parameters(prefix, visitor);
  }
};

// The same for norms and MLPs. Slots inside stay reachable.
struct WrappedLayer : Layer {
  std::unique_ptr<Layer> original;
  float factor;

  WrappedLayer(std::unique_ptr<Layer> original, float factor)
      : original(std::move(original)), factor(factor) {}
  Tensor forward(const Tensor& x) override { return scale(original->forward(x), factor); }
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    original->visit_parameters(prefix, visitor);
  }
  void visit_slots(const SlotVisitor& visitor) override { original->visit_slots(visitor); }
};

class Slots : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    model = GetParam().make();
    NoGrad no_grad;
    logits = model->forward(ids).to_vector();
  }
  std::vector<float> run() {
    NoGrad no_grad;
    return model->forward(ids).to_vector();
  }
  std::vector<std::vector<float>> gradients() {
    model->zero_grad();
    cross_entropy(model->forward(ids), ids.values).backward();
    std::vector<std::vector<float>> all;
    for (const NamedTensor& p : model->parameters()) all.push_back(p.tensor.grad().to_vector());
    return all;
  }

  std::unique_ptr<LanguageModel> model;
  const IntTensor ids = some_ids(2, 7);
  std::vector<float> logits;
};

std::vector<std::string> names_of(LanguageModel& model) {
  std::vector<std::string> names;
  model.visit_slots([&](Slot& slot) { names.push_back(slot.name); });
  return names;
}

std::vector<std::string> expected_slots(const std::string& architecture) {
  std::vector<std::string> names;
  for (const char* i : {"0", "1"}) {
    const std::string block = (architecture == "gpt2" ? "h." : "layers.") + std::string(i) + ".";
    const std::vector<std::string> slots =
        architecture == "gpt2" ? std::vector<std::string>{"ln_1", "attn.c_attn", "attn.c_proj", "ln_2",
                                                          "mlp",  "mlp.c_fc",    "mlp.c_proj"}
                               : std::vector<std::string>{"input_layernorm",
                                                          "self_attn.q_proj",
                                                          "self_attn.k_proj",
                                                          "self_attn.v_proj",
                                                          "self_attn.o_proj",
                                                          "post_attention_layernorm",
                                                          "mlp",
                                                          "mlp.gate_proj",
                                                          "mlp.up_proj",
                                                          "mlp.down_proj"};
    for (const std::string& slot : slots) names.push_back(block + slot);
  }
  names.push_back(architecture == "gpt2" ? "ln_f" : "norm");
  names.push_back("lm_head");
  return names;
}

TEST_P(Slots, EveryNameInTheOrderOfTheForwardPass) {
  EXPECT_EQ(names_of(*model), expected_slots(GetParam().architecture));
}

// A slot's name is its parameters' prefix (a tied head's are wte's).
TEST_P(Slots, NamesAreParameterPrefixes) {
  std::vector<std::string> parameters;
  model->visit_parameters("", [&](const std::string& name, Tensor&) { parameters.push_back(name); });
  for (const std::string& slot : names_of(*model)) {
    const auto has_prefix = [&](const std::string& name) { return name.starts_with(slot + "."); };
    EXPECT_TRUE(std::any_of(parameters.begin(), parameters.end(), has_prefix)) << slot;
  }
}

TEST_P(Slots, EveryProjectionWrappedChangesNothing) {
  const auto gradients_before = gradients();
  std::vector<std::string> names_before;
  for (const NamedTensor& p : model->parameters()) names_before.push_back(p.name);

  std::vector<WrappedProjection*> wrapped;
  model->visit_slots([&](Slot& slot) {
    if (slot.kind != Slot::Kind::Projection) return;
    auto wrapper = std::make_unique<WrappedProjection>(std::move(slot.layer), 1.0f);
    wrapped.push_back(wrapper.get());
    slot.layer = std::move(wrapper);
  });
  EXPECT_EQ(wrapped.size(), GetParam().architecture == std::string("gpt2") ? 2 * 4 + 1 : 2 * 7 + 1);

  EXPECT_EQ(run(), logits);
  for (WrappedProjection* p : wrapped) EXPECT_EQ(p->calls, 1);
  EXPECT_EQ(gradients(), gradients_before);
  std::vector<std::string> names_after;
  for (const NamedTensor& p : model->parameters()) names_after.push_back(p.name);
  EXPECT_EQ(names_after, names_before);  // a checkpoint of the wrapped model has the same names
}

TEST_P(Slots, EveryProjectionIsReallyUsed) {
  for (const std::string& name : expected_slots(GetParam().architecture)) {
    Slot& slot = find_slot(*model, name);
    if (slot.kind != Slot::Kind::Projection) continue;
    std::unique_ptr<Layer> original = std::move(slot.layer);
    slot.layer = std::make_unique<WrappedProjection>(std::move(original), 1.5f);
    EXPECT_NE(run(), logits) << name;
    slot.layer = std::move(dynamic_cast<WrappedProjection&>(*slot.layer).original);
    EXPECT_EQ(run(), logits) << name << " put back";
  }
}

TEST_P(Slots, NormsAndWholeMLPsToo) {
  int64_t swapped = 0;
  for (Slot::Kind kind : {Slot::Kind::Norm, Slot::Kind::MLP}) {
    for (Slot* slot : slots_of(*model, kind)) {
      std::unique_ptr<Layer> original = std::move(slot->layer);
      slot->layer = std::make_unique<WrappedLayer>(std::move(original), 1.5f);
      EXPECT_NE(run(), logits) << slot->name;
      EXPECT_EQ(names_of(*model),
                expected_slots(GetParam().architecture));  // the slots inside are still found
      slot->layer = std::move(dynamic_cast<WrappedLayer&>(*slot->layer).original);
      EXPECT_EQ(run(), logits) << slot->name;
      ++swapped;
    }
  }
  EXPECT_EQ(swapped, 2 * 2 + 1 + 2);
}

TEST_P(Slots, InsideACachedGeneration) {
  auto decode = [&] {
    NoGrad no_grad;
    KVCache cache = model->make_cache();
    model->forward(some_ids(1, 4), &cache);
    return model->forward({{1, 1}, {3}}, &cache).to_vector();
  };
  const std::vector<float> before = decode();
  Slot& slot = find_slot(
      *model, model->block_prefix(1) +
                  (GetParam().architecture == std::string("gpt2") ? "attn.c_attn" : "self_attn.v_proj"));
  slot.layer = std::make_unique<WrappedProjection>(std::move(slot.layer), 1.5f);
  EXPECT_NE(decode(), before);
}

TEST_P(Slots, SizesAndErrors) {
  const bool gpt2 = GetParam().architecture == std::string("gpt2");
  Projection& fc =
      find_slot(*model, model->block_prefix(0) + (gpt2 ? "mlp.c_fc" : "mlp.up_proj")).projection();
  EXPECT_EQ(fc.in_features(), 8);
  EXPECT_EQ(fc.out_features(), gpt2 ? 32 : 20);
  const std::string text = error_text([&] { find_slot(*model, "h.7.attn.c_attn"); });
  EXPECT_MENTIONS(text, "no slot h.7.attn.c_attn");
  EXPECT_MENTIONS(text, model->block_prefix(0));
  EXPECT_MENTIONS(error_text([&] { find_slot(*model, model->block_prefix(0) + "mlp").projection(); }),
                  "does not hold a projection");
}

INSTANTIATE_TEST_SUITE_P(Models, Slots, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
