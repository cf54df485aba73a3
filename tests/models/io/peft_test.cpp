// Adapters that PEFT wrote, adapters that PEFT reads, files that lie; and bitsandbytes' NF4 codes, bit for bit.
#include "models/io/peft.h"

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/io/json.h"
#include "models/io/npy.h"
#include "models/io/safetensors.h"
#include "models/load.h"
#include "models/lora_adapter.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

const std::string kFolder = "tests/fixtures/peft/";  // tests/reference/make_peft_fixtures.py
const IntTensor kIds = {{2, 7}, {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7}};

std::unique_ptr<LanguageModel> base_of(const std::string& name, Device device = Device::CPU) {
  return make_model(read_checkpoint(kFolder + name), device);
}

// Both sides compute in float32 with another order of sums: logits of order 3 through two blocks.
constexpr double kTolerance = 2e-5;

std::vector<float> stored_logits(const std::string& name, const std::string& file) {
  return to_floats(read_npy(kFolder + name + "/" + file).view());
}

class PeftTest : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Fixtures, PeftTest, testing::Values("llama", "gpt2", "llama_qv"));

TEST_P(PeftTest, AdapterOfPeftGivesItsLogits) {
  SKIP_WITHOUT(kFolder);
  const std::string name = GetParam();
  for (Device device : {Device::Plain, Device::CPU}) {
    auto model = base_of(name, device);
    NoGrad no_grad;
    ASSERT_TRUE(
        all_near(model->forward(kIds).to_vector(), stored_logits(name, "base_logits.npy"), kTolerance));
    load_adapter(*model, kFolder + name);
    const std::vector<float> expected = stored_logits(name, "adapted_logits.npy");
    EXPECT_TRUE(all_near(model->forward(kIds).to_vector(), expected, kTolerance));
    EXPECT_FALSE(
        all_near(stored_logits(name, "base_logits.npy"), expected, 0.05));  // the adapter does something
    merge_lora(*model);
    EXPECT_TRUE(all_near(model->forward(kIds).to_vector(), expected, kTolerance));
  }
}

TEST_P(PeftTest, WrittenAgainItIsTheSameAdapter) {
  SKIP_WITHOUT(kFolder);
  const std::string name = GetParam();
  const TemporaryFolder folder;
  auto model = base_of(name);
  load_adapter(*model, kFolder + name);
  save_adapter(*model, folder.file("out"), "a base");
  // The same tensors under the same names: the file is the same, byte for byte.
  EXPECT_EQ(file_bytes(folder.file("out/adapter_model.safetensors")),
            file_bytes(kFolder + name + "/adapter_model.safetensors"));
  const PeftAdapter ours = read_peft(folder.file("out")), theirs = read_peft(kFolder + name);
  EXPECT_EQ(ours.base_model, "a base");
  EXPECT_EQ(ours.options.rank, theirs.options.rank);
  EXPECT_EQ(ours.options.scaling(), theirs.options.scaling());
  EXPECT_EQ(ours.options.dropout, theirs.options.dropout);
  const nlohmann::json a = read_json(folder.file("out/adapter_config.json"));
  const nlohmann::json b = read_json(kFolder + name + "/adapter_config.json");
  for (const char* key : {"peft_type", "task_type", "r", "lora_alpha", "lora_dropout", "use_rslora",
                          "use_dora", "bias", "fan_in_fan_out", "modules_to_save"}) {
    EXPECT_EQ(a.at(key), b.at(key)) << key;
  }
}

// Adapters trained here, for make_peft_fixtures.py --check: skipped unless asked for.
TEST_P(PeftTest, DumpForTheReferenceScript) {
  SKIP_WITHOUT(kFolder);
  const char* dump = std::getenv("CHALK_PEFT_DUMP");
  if (!dump) GTEST_SKIP() << "set CHALK_PEFT_DUMP to a folder";
  const auto write = [&](const std::string& name, const std::vector<std::string>& targets,
                         const std::string& folder) {
    auto model = base_of(name);
    for (LoraLinear* layer : attach_lora(*model, {.rank = 5, .alpha = 3}, targets, 1, nullptr)) {
      init_normal(layer->B, 0.2f, 4, "B");
    }
    save_adapter(*model, folder);
    NoGrad no_grad;
    const std::vector<float> logits = model->forward(kIds).to_vector();
    write_npy(folder + "/logits.npy", {2, 7, model->vocab_size()}, logits);
  };
  const std::string name = GetParam(), folder = std::string(dump) + "/" + name;
  write(name, name == "llama_qv" ? std::vector<std::string>{"q_proj", "v_proj"} : std::vector<std::string>{},
        folder);
  if (name == "gpt2") write(name, {"c_attn.q", "c_attn.v"}, folder + "_parts");
}

// The base may be 4-bit: the adapter's matrices are the same, the logits are those of the widened base.
TEST_P(PeftTest, AdapterGoesOnAnNF4Base) {
  SKIP_WITHOUT(kFolder);
  const std::string name = GetParam();
  auto packed = base_of(name), widened = base_of(name);
  quantize_projections(*packed, {});
  for (Slot* slot : slots_of(*widened, Slot::Kind::Projection)) {
    const auto& source = find_slot(*packed, slot->name).projection();
    auto& linear = static_cast<Linear&>(slot->projection());
    linear.weight.copy_from(Tensor::from(linear.weight.shape, dense_weight(source)));
  }
  load_adapter(*packed, kFolder + name);
  load_adapter(*widened, kFolder + name);
  NoGrad no_grad;
  EXPECT_TRUE(all_near(packed->forward(kIds), widened->forward(kIds), kTolerance));
}

// ---- files that lie ----

// The fixture's configuration with one key changed, beside its weights.
std::string error_with(const std::string& key, const nlohmann::json& value) {
  const TemporaryFolder folder;
  nlohmann::json config = read_json(kFolder + "llama_qv/adapter_config.json");
  config[key] = value;
  write_text(folder.file("adapter_config.json"), config.dump());
  std::filesystem::copy_file(kFolder + "llama_qv/adapter_model.safetensors",
                             folder.file("adapter_model.safetensors"));
  return file_error([&] { read_peft(folder.path); });
}

TEST(Peft, RefusesWhatIsNotPlainLora) {
  SKIP_WITHOUT(kFolder);
  EXPECT_TEXT_IN("peft_type", error_with("peft_type", "IA3"));
  EXPECT_TEXT_IN("use_dora", error_with("use_dora", true));
  EXPECT_TEXT_IN("rank_pattern", error_with("rank_pattern", {{"q_proj", 2}}));
  EXPECT_TEXT_IN("modules_to_save", error_with("modules_to_save", {"lm_head"}));
  EXPECT_TEXT_IN("bias", error_with("bias", "all"));
  EXPECT_TEXT_IN("lora_alpha", error_with("lora_alpha", "four"));
  EXPECT_TEXT_IN("r", error_with("r", 0));
  EXPECT_TEXT_IN("expected (5, in)", error_with("r", 5));  // the tensors have rank 4
}

std::string error_of_tensors(const std::vector<std::pair<std::string, Shape>>& tensors) {
  const TemporaryFolder folder;
  write_text(folder.file("adapter_config.json"), R"({"peft_type": "LORA", "r": 2, "lora_alpha": 1})");
  std::vector<ArrayView> arrays;
  const std::vector<float> zeros(64);
  for (const auto& [name, shape] : tensors) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(zeros.data());
    arrays.push_back({name, DType::F32, shape, {bytes, size_t(numel(shape)) * 4}});
  }
  write_safetensors(folder.file("adapter_model.safetensors"), arrays);
  return file_error([&] { read_peft(folder.path); });
}

TEST(Peft, RefusesTensorsThatDoNotFit) {
  const std::string a = "base_model.model.model.l.q.lora_A.weight",
                    b = "base_model.model.model.l.q.lora_B.weight";
  EXPECT_TEXT_IN("no adapter", error_of_tensors({}));
  EXPECT_TEXT_IN("only one of", error_of_tensors({{a, {2, 3}}}));
  EXPECT_TEXT_IN("expected (2, in)", error_of_tensors({{a, {3, 3}}, {b, {4, 2}}}));
  EXPECT_TEXT_IN("expected (out, 2)", error_of_tensors({{a, {2, 3}}, {b, {4, 3}}}));
  EXPECT_TEXT_IN("single number", error_of_tensors({{a, {}}, {b, {4, 2}}}));
  EXPECT_TEXT_IN("expected base_model.model.", error_of_tensors({{"model.l.q.lora_A.weight", {2, 3}}}));
  EXPECT_TEXT_IN("two prefixes",
                 error_of_tensors({{a, {2, 3}}, {"base_model.model.l.q.lora_A.weight", {2, 3}}}));
}

TEST(Peft, RefusesAnotherModelsAdapter) {
  SKIP_WITHOUT(kFolder);
  auto gpt2 = base_of("gpt2");
  EXPECT_TEXT_IN("no such projection", file_error([&] { load_adapter(*gpt2, kFolder + "llama"); }));
  LlamaConfig config = small_llama_config();
  config.hidden_size = 12;
  auto wider = small_llama(Device::CPU, config);
  EXPECT_TEXT_IN("do not fit", file_error([&] { load_adapter(*wider, kFolder + "llama"); }));
  EXPECT_TRUE(lora_layers(*wider).empty());  // nothing was attached
}

// ---- NF4 as bitsandbytes stores it ----

std::vector<uint8_t> bytes_of(const ArrayView& array) {
  return {array.bytes.begin(), array.bytes.end()};
}

TEST(Bitsandbytes, SameCodesSameScales) {
  SKIP_WITHOUT(kFolder);
  const Safetensors file = read_safetensors(kFolder + "nf4.safetensors");
  const std::vector<float> weight = to_floats(file.at("weight"));
  for (FourBit type : {FourBit::NF4, FourBit::FP4}) {
    const std::string name = four_bit_name(type);
    const NF4Matrix q =
        quantize_nf4(weight.data(), 40, 72, {.type = type, .double_quantize = false}, Device::CPU);
    const uint8_t* codes = q.view().codes;
    const std::vector<uint8_t> theirs = bytes_of(file.at(name + ".codes"));
    ASSERT_EQ(theirs.size(), size_t(40 * 72 / 2));
    for (int64_t i = 0; i < 40 * 72; ++i) {
      const int ours = nf4_code(codes, i), code = nf4_code(theirs.data(), i);
      // FP4 has two zeros, codes 0 and 8; this version of the library picks the other one.
      const bool both_zero = type == FourBit::FP4 && ours % 8 == 0 && code % 8 == 0;
      ASSERT_TRUE(ours == code || both_zero)
          << name << " number " << i << ": " << ours << ", theirs " << code;
    }
    EXPECT_EQ(std::vector<float>(q.absmax->data, q.absmax->data + 45), to_floats(file.at(name + ".absmax")));
    // One product of two floats; the library may multiply by another rounding of the book: 2 roundings of numbers below 8.
    EXPECT_TRUE(all_near(dequantize(q), to_floats(file.at(name + ".dequantized")), 8 * 0x1p-23));
  }
}

TEST(Bitsandbytes, SameDoubleQuantization) {
  SKIP_WITHOUT(kFolder);
  const Safetensors file = read_safetensors(kFolder + "nf4.safetensors");
  const std::vector<float> weight = to_floats(file.at("weight")), map = to_floats(file.at("double.map"));
  // The library makes its map in float steps: a few roundings of numbers below 1.
  EXPECT_TRUE(all_near(std::vector<float>(dynamic_map().begin(), dynamic_map().end()), map, 4 * 0x1p-24));
  const NF4Matrix q = quantize_nf4(weight.data(), 40, 72, {}, Device::CPU);
  const uint8_t* codes = q.view().absmax_codes;
  EXPECT_EQ(std::vector<uint8_t>(codes, codes + 45), bytes_of(file.at("double.absmax_codes")));
  // The mean of 45 floats below 8, added in another order.
  EXPECT_NEAR(q.absmax_mean, to_floats(file.at("double.mean"))[0], 1e-6);
  EXPECT_NEAR(q.absmax_scales->data[0], to_floats(file.at("double.absmax_scales"))[0], 2e-6);
  EXPECT_TRUE(all_near(dequantize(q), to_floats(file.at("double.dequantized")), 5e-6));
}

}  // namespace
}  // namespace chalk
