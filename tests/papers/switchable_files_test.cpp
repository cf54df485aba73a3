// Switchable precision: plans read from a file, and folders saved, exported and damaged.

#include <filesystem>

#include "models/io/file.h"
#include "models/load.h"
#include "models/text/word_tokenizer.h"
#include "tests/expect.h"
#include "tests/papers/switchable_fixture.h"

namespace chalk {
namespace {

// ---- configuration ----

struct PlanFile : testing::Test {
  std::string path = testing::TempDir() + "/precision_plan.json";
  PrecisionPlan read(const std::string& text) {
    write_text(path, text);
    return read_precision_plan(path, 3, {2, 4, 8});
  }
  std::string complaint(const std::string& text) {
    return error_text([&] { read(text); });
  }
};

TEST_F(PlanFile, GivesEachLayerItsBits) {
  EXPECT_EQ(read("{}"), uniform_plan(3, 16));
  const PrecisionPlan plan = read(R"({"default": {"attn_bits": 8, "mlp_bits": 4}, "layers": )"
                                  R"({"1": {"mlp_bits": 2}, "2": {"attn_bits": 16}}})");
  EXPECT_EQ(plan, (PrecisionPlan{{8, 4}, {8, 2}, {16, 4}}));
}

TEST_F(PlanFile, BadFilesAreRefusedByField) {
  EXPECT_MENTIONS(complaint("{"), path);
  EXPECT_MENTIONS(complaint("[]"), "object");
  EXPECT_MENTIONS(complaint(R"({"layer": {}})"), "known are default, layers");
  EXPECT_MENTIONS(complaint(R"({"default": {"attn": 4}})"), "default.attn");
  EXPECT_MENTIONS(complaint(R"({"default": {"attn_bits": 5}})"),
                  "default.attn_bits: is 5, but must be one of 2, 4, 8 or 16");
  EXPECT_MENTIONS(complaint(R"({"default": {"attn_bits": "4"}})"), "default.attn_bits");
  EXPECT_MENTIONS(complaint(R"({"default": {"attn_bits": 4.0}})"), "default.attn_bits");
  EXPECT_MENTIONS(complaint(R"({"default": {"mlp_bits": 1e99}})"), "default.mlp_bits");
  EXPECT_MENTIONS(complaint(R"({"default": {"mlp_bits": -4}})"), "default.mlp_bits");
  EXPECT_MENTIONS(complaint(R"({"default": 4})"), "default");
  EXPECT_MENTIONS(complaint(R"({"layers": []})"), "layers");
  EXPECT_MENTIONS(complaint(R"({"layers": {"3": {}}})"), "layers.3: is no layer of this model: 0 to 2");
  EXPECT_MENTIONS(complaint(R"({"layers": {"-1": {}}})"), "layers.-1");
  EXPECT_MENTIONS(complaint(R"({"layers": {"one": {}}})"), "layers.one");
  EXPECT_MENTIONS(complaint(R"({"layers": {"99999999999999999999": {}}})"), "is no layer");
  EXPECT_MENTIONS(complaint(R"({"layers": {"0": {"mlp_bits": 3}}})"), "layers.0.mlp_bits");
  EXPECT_MENTIONS(error_text([&] { read_precision_plan("/nowhere/plan.json", 3, {2}); }),
                  "/nowhere/plan.json");
}

TEST_F(SwitchablePrecision, RefusesWidthsThatWereNotMade) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {4, 8}});
  EXPECT_MENTIONS(error_text([&] { switchable.set_precision(2); }), "layer 0 cannot run at 2 bits");
  EXPECT_MENTIONS(error_text([&] { switchable.set_layer_precision(2, {}); }), "layer 2 of 2");
  EXPECT_MENTIONS(error_text([&] { switchable.set_plan({}); }), "a plan for 0 layers");
  EXPECT_MENTIONS(error_text([&] { make_switchable(*model); }), "no Linear left");
}

// ---- files ----

struct SwitchableFiles : SwitchablePrecision {
  std::string folder = testing::TempDir() + "/switchable";
  std::unique_ptr<Tokenizer> tokenizer;
  void SetUp() override {
    std::filesystem::remove_all(folder);
    std::string text;
    for (int i = 0; i < 20; ++i) text += "word" + std::to_string(i) + " ";
    tokenizer = build_word_tokenizer(text);
  }
};

TEST_F(SwitchableFiles, LoadedModelGivesTheSameLogitsAtEveryWidth) {
  for (bool nested : {false, true}) {
    const auto fresh = small_gpt2(Device::CPU);
    SwitchableModel switchable = make_switchable(*fresh, {.widths = {2, 4, 16}, .nested_grid = nested});
    SwitchableTrainer trainer(switchable, {.lr = 1e-2, .step_lr = 1e-2});
    for (int i = 0; i < 3; ++i) trainer.train_step(batch);
    save_switchable(switchable, *tokenizer, folder);
    LoadedSwitchable loaded = load_switchable(folder, Device::CPU);
    for (int bits : {2, 4, 16}) {
      EXPECT_EQ(logits_at(*loaded.switchable, bits, batch), logits_at(switchable, bits, batch))
          << bits << nested;
    }
    // The folder is also an ordinary checkpoint of the float model.
    const LoadedModel plain = load_model(folder, "", Device::CPU);
    EXPECT_EQ(plain.model->forward({{batch.B, batch.T}, batch.ids}).to_vector(),
              logits_at(switchable, 16, batch));
  }
}

// The exported weights are the trained ones, rounded; without rounded activations both models compute the
// same numbers.
TEST_F(SwitchableFiles, ExportIsTheNetworkAtThatWidth) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {4}, .activation_bits = 16});
  SwitchableTrainer trainer(switchable, {.lr = 1e-2});
  for (int i = 0; i < 3; ++i) trainer.train_step(batch);
  const std::vector<float> at_four = logits_at(switchable, 4, batch);
  export_at_current_precision(switchable, *tokenizer, folder);
  const LoadedModel plain = load_model(folder, "", Device::CPU);
  EXPECT_EQ(plain.model->forward({{batch.B, batch.T}, batch.ids}).to_vector(), at_four);
}

TEST_F(SwitchableFiles, DamagedFilesAreRefused) {
  SwitchableModel switchable = make_switchable(*model, {.widths = {4}});
  save_switchable(switchable, *tokenizer, folder);
  const std::string options = folder + "/switchable.json", good = read_text(options);
  const auto complaint = [&](const std::string& text) {
    write_text(options, text);
    return error_text([&] { load_switchable(folder, Device::CPU); });
  };
  EXPECT_MENTIONS(complaint("{}"), "widths");
  EXPECT_MENTIONS(complaint(R"({"widths": [1]})"), "1 is not a width");
  EXPECT_MENTIONS(complaint(R"({"widths": [4], "activation_bits": 99})"), "activation_bits");
  EXPECT_MENTIONS(complaint(R"({"widths": [2, 4]})"), "bits_2.weight: is missing");
  EXPECT_MENTIONS(complaint(R"({"widths": [4], "group_size": 4})"), "has shape");
  write_text(options, good);
  std::filesystem::remove(folder + "/switchable.safetensors");
  EXPECT_MENTIONS(error_text([&] { load_switchable(folder, Device::CPU); }), "switchable.safetensors");
}

}  // namespace
}  // namespace chalk
