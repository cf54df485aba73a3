// GPTQ folders: the packing of AutoGPTQ bit for bit, round trips, both versions of the zeros, and folders that lie.
#include "models/io/gptq_format.h"

#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/load.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

const int all_bits[] = {2, 3, 4, 8};

// Codes, zeros and half-precision scales without any pattern. `shuffled`: groups as act-order leaves them.
QuantizedMatrix random_matrix(int64_t rows, int64_t columns, int bits, int64_t group_size,
                              bool shuffled = false) {
  std::mt19937 random(uint32_t(rows + 7 * columns + bits));
  QuantizedMatrix q = make_quantized_matrix(rows, columns, {.bits = bits, .group_size = group_size});
  for (uint8_t& code : q.codes) code = uint8_t(random() % (1u << bits));
  for (uint8_t& zero : q.zeros) zero = uint8_t(1 + random() % ((1u << bits) - 1));
  for (float& scale : q.scales) scale = float(1 + random() % 1000) / 1024;  // exact in half precision
  if (!shuffled) return q;
  for (int64_t i = 0; i < columns; ++i) q.group_of.push_back(int32_t(i / q.group_size));
  std::shuffle(q.group_of.begin(), q.group_of.end(), random);
  return q;
}

void expect_same(const QuantizedMatrix& got, const QuantizedMatrix& expected) {
  EXPECT_EQ(got.bits, expected.bits);
  EXPECT_EQ(got.group_size, expected.group_size);
  EXPECT_EQ(got.codes, expected.codes);
  EXPECT_EQ(got.scales, expected.scales);
  EXPECT_EQ(got.zeros, expected.zeros);
  EXPECT_EQ(got.group_of, expected.group_of);
}

// All matrices of the blocks of a tiny LLaMA as codes. 32 and 20: only some can be packed.
Checkpoint quantized_llama(int bits, int64_t group_size, bool shuffled = false) {
  Checkpoint checkpoint = tiny_llama();
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    if (!parameter.name.ends_with("_proj.weight")) continue;
    checkpoint.quantized.push_back(
        {parameter.name.substr(0, parameter.name.size() - 7),
         random_matrix(parameter.shape[0], parameter.shape[1], bits, group_size, shuffled)});
  }
  std::erase_if(checkpoint.weights, [](const NamedArray& w) { return w.name.ends_with("_proj.weight"); });
  return checkpoint;
}

std::string fixture(const std::string& name) {
  return "tests/fixtures/gptq/" + name + ".safetensors";
}

// ---- packing ----

TEST(GptqPacking, WordsAreAutoGptqs) {
  for (int bits : all_bits) {
    const Safetensors file = read_safetensors(fixture(fmt::format("packed_{}", bits)));
    const auto words = [&](const std::string& name) { return to_int64s(file.at(name)); };
    const auto same = [](const std::vector<int64_t>& stored, const auto& ours) {
      return std::equal(stored.begin(), stored.end(), ours.begin(), ours.end(),
                        [](int64_t a, auto b) { return int32_t(a) == int32_t(b); });
    };
    GptqTensors packed;
    for (int64_t word : words("qweight")) packed.qweight.push_back(uint32_t(word));
    for (int64_t word : words("qzeros")) packed.qzeros.push_back(uint32_t(word));
    for (int64_t group : words("g_idx")) packed.g_idx.push_back(int32_t(group));
    packed.scales = to_floats(file.at("scales"));
    const QuantizedMatrix q = unpack_gptq(packed, 32, 64, {.bits = bits, .group_size = 32});
    EXPECT_TRUE(same(words("codes"), q.codes)) << bits;
    EXPECT_TRUE(same(words("zeros"), q.zeros)) << bits;
    EXPECT_EQ(q.group_of.empty(), bits != 4);  // the script shuffles the groups of the 4-bit layer
    // What AutoGPTQ's own layer multiplies with: scale · (code − zero), one product, in the same precision.
    EXPECT_EQ(dequantize(q), to_floats(file.at("weight"))) << bits;

    const GptqTensors again = pack_gptq(q, 1);
    EXPECT_TRUE(same(words("qweight"), again.qweight)) << bits;
    EXPECT_TRUE(same(words("qzeros"), again.qzeros)) << bits;
    EXPECT_TRUE(same(words("g_idx"), again.g_idx)) << bits;
  }
}

TEST(GptqPacking, RoundTripsForAllBitsAndBothVersions) {
  for (int bits : all_bits) {
    for (int version : {1, 2}) {
      for (bool shuffled : {false, true}) {
        const QuantizedMatrix q = random_matrix(64, 96, bits, 40, shuffled);  // the last group is shorter
        const GptqConfig config{.bits = bits, .group_size = 40, .version = version};
        expect_same(unpack_gptq(pack_gptq(q, version), 64, 96, config), q);
      }
    }
  }
}

TEST(GptqPacking, SymmetricFourBitZerosAreSevens) {
  QuantizedMatrix q = random_matrix(32, 32, 4, -1);
  std::fill(q.zeros.begin(), q.zeros.end(), uint8_t(8));
  for (uint32_t word : pack_gptq(q, 1).qzeros) EXPECT_EQ(word, 0x77777777u);
  for (uint32_t word : pack_gptq(q, 2).qzeros) EXPECT_EQ(word, 0x88888888u);
}

// 32 codes c0 … c31 of 3 bits in three words: c10 and c21 straddle.
TEST(GptqPacking, ThreeBitCodesStraddleWords) {
  QuantizedMatrix q = random_matrix(32, 32, 3, -1);
  std::fill(q.codes.begin(), q.codes.end(), uint8_t(0));
  q.codes[10] = 0b110, q.codes[21] = 0b101;  // of output 0
  const GptqTensors packed = pack_gptq(q, 1);
  EXPECT_EQ(packed.qweight[0], 0b10u << 30);
  EXPECT_EQ(packed.qweight[32], 0b1u | 0b1u << 31);
  EXPECT_EQ(packed.qweight[64], 0b10u);
}

// The documented behaviour of a zero of 0: version 1 wraps inside its own field and comes back as 0; version 2 stores 0.
TEST(GptqPacking, ZeroOf0) {
  for (int bits : all_bits) {
    QuantizedMatrix q = random_matrix(32, 64, bits, 32);
    EXPECT_FALSE(has_zero_of_0(q));
    q.zeros[3] = q.zeros[40] = 0;
    EXPECT_TRUE(has_zero_of_0(q));
    for (int version : {1, 2}) {
      const GptqConfig config{.bits = bits, .group_size = 32, .version = version};
      expect_same(unpack_gptq(pack_gptq(q, version), 32, 64, config), q);
    }
  }
}

TEST(GptqPacking, SizesThatDoNotFillWords) {
  EXPECT_TRUE(fits_gptq(344, 128, 4));
  EXPECT_FALSE(fits_gptq(344, 128, 3));
  EXPECT_FALSE(fits_gptq(32, 20, 4));
  EXPECT_FALSE(fits_gptq(32, 32, 5));
  EXPECT_THROW(pack_gptq(random_matrix(12, 32, 4, -1), 1), Error);
}

// ---- folders ----

TEST(GptqFolder, RoundTrip) {
  for (int bits : {4, 8}) {
    for (int version : {1, 2}) {
      const TemporaryFolder folder;
      Checkpoint checkpoint = quantized_llama(bits, 16, true);
      const GptqConfig config{
          .bits = bits, .group_size = 16, .desc_act = true, .sym = false, .version = version};
      write_gptq_folder(folder.path, checkpoint, config, DType::F32);
      const nlohmann::json json = read_json(folder.file("config.json"))["quantization_config"];
      EXPECT_EQ(json["quant_method"], "gptq");
      EXPECT_EQ(json["checkpoint_format"], version == 1 ? "gptq" : "gptq_v2");
      EXPECT_EQ(read_json(folder.file("quantize_config.json")), json);

      const Checkpoint read = read_checkpoint(folder.path);
      std::map<std::string, const QuantizedMatrix*> layers;
      for (const QuantizedWeight& layer : read.quantized) layers[layer.slot] = &layer.matrix;
      for (const QuantizedWeight& layer : checkpoint.quantized) {
        if (!fits_gptq(layer.matrix.rows, layer.matrix.columns, bits)) {
          EXPECT_EQ(read.at(layer.slot + ".weight").data, dequantize(layer.matrix)) << layer.slot;
        } else {
          ASSERT_TRUE(layers.contains(layer.slot)) << layer.slot;
          expect_same(*layers[layer.slot], layer.matrix);
        }
      }
      for (const NamedArray& weight : checkpoint.weights) EXPECT_EQ(read.at(weight.name).data, weight.data);
    }
  }
}

TEST(GptqFolder, NamesTheModulesThatArePacked) {
  const TemporaryFolder folder;
  write_gptq_folder(folder.path, quantized_llama(4, 16), {.group_size = 16, .version = 2});
  const nlohmann::json json = read_json(folder.file("config.json"))["quantization_config"];
  // (20, 32) and (32, 20) do not fill words of 4-bit codes; the attention does.
  const nlohmann::json expected = {
      {"self_attn.q_proj"}, {"self_attn.k_proj"}, {"self_attn.v_proj"}, {"self_attn.o_proj"}};
  EXPECT_EQ(json["modules_in_block_to_quantize"], expected);

  const TemporaryFolder all;
  write_gptq_folder(all.path, quantized_llama(8, 16), {.bits = 8, .group_size = 16, .version = 2});
  EXPECT_FALSE(
      read_json(all.file("config.json"))["quantization_config"].contains("modules_in_block_to_quantize"));

  Checkpoint mixed = quantized_llama(8, 16);
  mixed.weights.push_back(
      {mixed.quantized[0].slot + ".weight", {32, 32}, dequantize(mixed.quantized[0].matrix)});
  mixed.quantized.erase(mixed.quantized.begin());  // q_proj of block 0 only
  EXPECT_THROW(write_gptq_folder(all.path, mixed, {.bits = 8, .group_size = 16, .version = 2}), UsageError);
}

TEST(GptqFolder, DequantizesToTheModelThatWasWritten) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = quantized_llama(8, 16);
  write_gptq_folder(folder.path, checkpoint, {.bits = 8, .group_size = 16, .version = 2}, DType::F32);
  Checkpoint read = read_checkpoint(folder.path);
  dequantize_weights(read);
  dequantize_weights(checkpoint);
  expect_same_weights(read, checkpoint);
}

TEST(GptqFolder, ReadsGpt2AndAutoGptqsFileName) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = tiny_gpt2();
  checkpoint.gpt2.n_embd = 32;
  fill_weights(checkpoint);
  checkpoint.quantized.push_back({"h.1.attn.c_attn", random_matrix(96, 32, 4, -1)});
  checkpoint.quantized.push_back({"h.0.attn.c_attn", random_matrix(96, 32, 4, -1)});
  write_gptq_folder(folder.path, checkpoint, {.version = 2}, DType::F32);
  std::filesystem::rename(folder.file("model.safetensors"), folder.file("gptq_model-4bit-128g.safetensors"));
  // AutoGPTQ's folders say how they are quantized in quantize_config.json alone.
  nlohmann::json config = read_json(folder.file("config.json"));
  config.erase("quantization_config");
  write_text(folder.file("config.json"), config.dump());
  const Checkpoint read = read_checkpoint(folder.path);
  ASSERT_EQ(read.quantized.size(), 2u);
  expect_same(read.quantized[1].matrix, checkpoint.quantized[0].matrix);  // sorted by name
  EXPECT_EQ(read.at("h.1.attn.c_attn.bias").data, checkpoint.at("h.1.attn.c_attn.bias").data);
  EXPECT_EQ(read.at("h.0.mlp.c_fc.weight").data, checkpoint.at("h.0.mlp.c_fc.weight").data);
}

TEST(GptqFolder, Version1RefusesAZeroOf0) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = quantized_llama(8, 16);
  checkpoint.quantized[2].matrix.zeros[5] = 0;
  EXPECT_THROW(write_gptq_folder(folder.path, checkpoint, {.bits = 8, .group_size = 16}), UsageError);
  EXPECT_FALSE(file_exists(folder.file("config.json")));
  write_gptq_folder(folder.path, checkpoint, {.bits = 8, .group_size = 16, .version = 2});
  EXPECT_EQ(read_checkpoint(folder.path).quantized.size(), 14u);
}

TEST(GptqFolder, PlainFolderReplacesIt) {
  const TemporaryFolder folder;
  write_gptq_folder(folder.path, quantized_llama(8, 16), {.bits = 8, .group_size = 16, .version = 2});
  const Checkpoint plain = tiny_llama();
  write_hf_folder(folder.path, plain);
  expect_same_weights(read_checkpoint(folder.path), plain);
}

// ---- folders that lie ----

struct Lie {
  const char* what;
  std::function<void(nlohmann::json&)> change;  // of the quantization_config
  const char* part;                             // of the message
};

TEST(GptqFolder, RefusesConfigurationsThatLie) {
  const Lie lies[] = {
      {"bits", [](auto& q) { q["bits"] = 5; }, "2, 3, 4 or 8"},
      {"bits of another file", [](auto& q) { q["bits"] = 4; }, "qweight"},
      {"bits missing", [](auto& q) { q.erase("bits"); }, "bits"},
      {"group size 0", [](auto& q) { q["group_size"] = 0; }, "group_size"},
      {"group size", [](auto& q) { q["group_size"] = 7; }, "qzeros"},
      {"enormous group", [](auto& q) { q["group_size"] = int64_t{1} << 40; }, "group_size"},
      {"format", [](auto& q) { q["checkpoint_format"] = "marlin"; }, "marlin"},
      {"words", [](auto& q) { q["pack_dtype"] = "int8"; }, "pack_dtype"},
      {"no object", [](auto& q) { q = 3; }, "quantization_config"},
  };
  const TemporaryFolder folder;
  write_gptq_folder(folder.path, quantized_llama(8, 16), {.bits = 8, .group_size = 16, .version = 2});
  const nlohmann::json honest = read_json(folder.file("config.json"));
  for (const Lie& lie : lies) {
    nlohmann::json config = honest;
    lie.change(config["quantization_config"]);
    write_text(folder.file("config.json"), config.dump());
    EXPECT_TEXT_IN(lie.part, file_error([&] { read_checkpoint(folder.path); })) << " (" << lie.what << ")";
  }
}

// Every tensor of the first layer missing, of another shape or of another type; groups out of range; scales not finite.
TEST(GptqFolder, RefusesTensorsThatLie) {
  const TemporaryFolder folder;
  write_gptq_folder(folder.path, quantized_llama(8, 16, true), {.bits = 8, .group_size = 16, .version = 2},
                    DType::F32);
  const std::string path = folder.file("model.safetensors");
  const Safetensors honest = read_safetensors(path);
  const std::string layer = "model.layers.0.self_attn.q_proj";
  const auto rewritten = [&](const std::string& name, const std::function<bool(ArrayView&)>& change) {
    std::vector<ArrayView> arrays;
    for (auto [key, array] : honest.tensors) {
      if (key != layer + name || change(array)) arrays.push_back(array);
    }
    write_safetensors(path, arrays);
    return file_error([&] { read_checkpoint(folder.path); });
  };
  for (const char* name : {".qweight", ".qzeros", ".scales"}) {
    EXPECT_TEXT_IN("q_proj", rewritten(name, [](ArrayView&) { return false; }));
    EXPECT_TEXT_IN("shape", rewritten(name, [](ArrayView& a) {
                     std::swap(a.shape[0], a.shape[1]);
                     a.shape.push_back(1);
                     return true;
                   }));
  }
  EXPECT_TEXT_IN("I32", rewritten(".qweight", [](ArrayView& a) { return a.dtype = DType::F32, true; }));
  EXPECT_TEXT_IN("float", rewritten(".scales", [](ArrayView& a) { return a.dtype = DType::I16, true; }));
  const std::vector<uint8_t> ones(4096, 0xff);  // −1 as a group, NaN as a half
  EXPECT_TEXT_IN("group", rewritten(".g_idx", [&](ArrayView& a) {
                   return a.bytes = std::span(ones).first(a.bytes.size()), true;
                 }));
  EXPECT_TEXT_IN("scale", rewritten(".scales", [&](ArrayView& a) {
                   return a.bytes = std::span(ones).first(a.bytes.size()), true;
                 }));
  EXPECT_TEXT_IN("belongs to no projection", rewritten(".qweight", [](ArrayView& a) {
                   a.name = "model.layers.7.self_attn.q_proj.qweight";
                   return true;
                 }));
}

}  // namespace
}  // namespace chalk
