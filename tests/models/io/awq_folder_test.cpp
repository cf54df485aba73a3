// AWQ folders: what config.json says, round trips for both architectures, models that load, and folders that lie.

#include "models/io/awq_folder.h"

#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/io/huggingface.h"
#include "models/io/json.h"
#include "models/load.h"
#include "models/text/word_tokenizer.h"
#include "nn/group_quant_linear.h"
#include "nn/input_scale.h"
#include "papers/quantization/awq.h"
#include "tests/expect.h"
#include "tests/models/io/paths.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

// Every product of the blocks as codes on the grid that a file holds; all floats as fp16 keeps them.
Checkpoint quantized(Checkpoint checkpoint, int64_t group_size) {
  for (NamedArray& weight : checkpoint.weights) {
    for (float& x : weight.data) x = half_to_float(float_to_half(x));
    const std::string& name = weight.name;
    const bool product =
        name.ends_with("_proj.weight") || name.ends_with("c_attn.weight") || name.ends_with("c_fc.weight");
    if (!product) continue;
    QuantizedMatrix matrix =
        round_to_nearest(weight.data.data(), weight.shape[0], weight.shape[1],
                         {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = group_size});
    round_scales_to_half(matrix, weight.data);
    checkpoint.quantized.push_back({name.substr(0, name.size() - 7), matrix});
  }
  return checkpoint;
}

std::map<std::string, QuantizedMatrix> by_slot(const Checkpoint& checkpoint) {
  std::map<std::string, QuantizedMatrix> layers;
  for (const QuantizedWeight& layer : checkpoint.quantized) layers[layer.slot] = layer.matrix;
  return layers;
}

TEST(AwqFolder, RoundTripKeepsEveryNumber) {
  for (bool gpt2 : {false, true}) {
    TemporaryFolder folder;
    const Checkpoint written = quantized(gpt2 ? tiny_gpt2() : tiny_llama(), 4);
    write_awq_folder(folder.path, written);
    const Checkpoint read = read_checkpoint(folder.path);
    const auto expected = by_slot(written), got = by_slot(read);
    for (const auto& [slot, matrix] : got) {
      EXPECT_EQ(matrix.codes, expected.at(slot).codes) << slot;
      EXPECT_EQ(matrix.zeros, expected.at(slot).zeros) << slot;
      EXPECT_EQ(matrix.scales, expected.at(slot).scales) << slot;
    }
    for (const NamedArray& array : read.weights) {
      if (expected.contains(array.name.substr(0, array.name.rfind('.'))) && array.name.ends_with("weight"))
        continue;
      EXPECT_EQ(array.data, written.at(array.name).data) << array.name;
    }
    // LLaMA's up and gate have 20 outputs: no multiple of 8. They are float in the file, and dequantized.
    EXPECT_EQ(got.size(), gpt2 ? 8u : 10u);
    if (!gpt2) {
      const std::string name = "layers.1.mlp.up_proj";
      std::vector<float> expected_floats = dequantize(expected.at(name));
      for (float& x : expected_floats) x = half_to_float(float_to_half(x));
      EXPECT_EQ(read.at(name + ".weight").data, expected_floats);
    }
  }
}

TEST(AwqFolder, ConfigurationIsAutoAwqs) {
  TemporaryFolder folder;
  write_awq_folder(folder.path, quantized(tiny_gpt2(), 4));
  const nlohmann::json config = read_json(folder.file("config.json"));
  EXPECT_EQ(config.at("quantization_config"),
            nlohmann::json::parse(R"({"quant_method": "awq", "zero_point": true, "group_size": 4, "bits": 4,
                                      "version": "gemm", "modules_to_not_convert": null})"));
  EXPECT_EQ(config.at("torch_dtype"), "float16");
  const Safetensors file = read_safetensors_folder(folder.path);
  const ArrayView& qweight = file.at("transformer.h.1.mlp.c_fc.qweight");
  EXPECT_EQ(qweight.shape, (std::vector<int64_t>{8, 4}));  // (in, out/8), also where GPT-2 has a Conv1D
  EXPECT_EQ(qweight.dtype, DType::I32);
  EXPECT_EQ(file.at("transformer.h.1.mlp.c_fc.scales").dtype, DType::F16);

  TemporaryFolder llama;
  write_awq_folder(llama.path, quantized(tiny_llama(), 4));
  EXPECT_EQ(read_json(llama.file("config.json")).at("quantization_config").at("modules_to_not_convert"),
            nlohmann::json({"model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj",
                            "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj"}));
}

TEST(AwqFolder, WholeRowsOfDifferentLengthsAreGroupMinusOne) {
  TemporaryFolder folder;
  write_awq_folder(folder.path, quantized(tiny_llama(), -1));
  EXPECT_EQ(read_json(folder.file("config.json")).at("quantization_config").at("group_size"), -1);
  EXPECT_EQ(by_slot(read_checkpoint(folder.path)).at("layers.0.mlp.down_proj").group_size, 20);
}

// AWQ from end to end: the model that is loaded is the one that was saved, but for fp16 floats; its slots hold codes.
TEST(AwqFolder, LoadedModelIsTheQuantizedOne) {
  for (const ModelCase& c : kModelCases) {
    NoGrad no_grad;
    const auto model = c.make();
    const AwqResult result = quantize_awq(*model, some_ids(3, 9), {.bits = 4, .group_size = 4});
    for (const NamedTensor& p :
         model->parameters()) {  // what fp16 would do to the rest, so that logits can be compared
      const bool codes =
          result.layers.contains(p.name.substr(0, p.name.rfind('.'))) && p.name.ends_with("weight");
      for (int64_t i = 0; i < p.tensor.numel() && !codes && !p.name.ends_with("input_scales"); ++i)
        p.tensor.data()[i] = half_to_float(float_to_half(p.tensor.data()[i]));
    }
    TemporaryFolder folder;
    std::string words;
    for (int i = 0; i < 20; ++i) words += "w" + std::to_string(i) + " ";
    save_awq_model(*model, *build_word_tokenizer(words), result.layers, folder.path);
    const LoadedModel loaded = load_model(folder.path, "", c.device);
    const Tensor logits = model->forward(some_ids(2, 7)), again = loaded.model->forward(some_ids(2, 7));
    // LLaMA's gate and up (20 outputs) come back from fp16: relative 2⁻¹¹ each, and what the rest makes of it.
    EXPECT_TRUE(all_near(again, logits, c.architecture == std::string("gpt2") ? 2e-5 : 2e-2))
        << c.architecture;
    const std::string packed =
        std::string(c.architecture) == "gpt2" ? "h.1.mlp.c_fc" : "layers.1.self_attn.o_proj";
    EXPECT_NE(dynamic_cast<GroupQuantLinear*>(find_slot(*loaded.model, packed).layer.get()), nullptr);
    if (std::string(c.architecture) == "gpt2") {
      const auto* scaled =
          dynamic_cast<InputScaledProjection*>(find_slot(*loaded.model, "h.1.mlp.c_proj").layer.get());
      ASSERT_NE(scaled, nullptr);
      EXPECT_NE(dynamic_cast<GroupQuantLinear*>(scaled->inner.get()), nullptr);
    }
  }
}

// For writers of other formats: codes become floats, and the division goes into the columns.
TEST(AwqFolder, DequantizedCheckpointsComputeTheSame) {
  NoGrad no_grad;
  const auto model = small_gpt2(Device::CPU);
  const AwqResult result = quantize_awq(*model, some_ids(3, 9), {.bits = 4, .group_size = 4});
  Checkpoint checkpoint = to_checkpoint(*model);
  EXPECT_EQ(checkpoint.input_scales.size(), 2u);
  EXPECT_MENTIONS(error_text([&] { write_hf_folder("/tmp/never", checkpoint); }), "divides its input");
  dequantize_weights(checkpoint);
  EXPECT_TRUE(checkpoint.input_scales.empty());
  const auto plain = make_model(std::move(checkpoint), Device::CPU);
  EXPECT_TRUE(all_near(plain->forward(some_ids(2, 7)), model->forward(some_ids(2, 7)), 2e-5));
}

TEST(AwqFolder, WhatAFileCannotSayIsRefused) {
  Checkpoint mixed = quantized(tiny_gpt2(), 4);
  mixed.quantized[0].matrix = round_to_nearest(mixed.at("h.0.attn.c_attn.weight").data.data(), 24, 8,
                                               {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = 8});
  EXPECT_MENTIONS(error_text([&] { write_awq_folder("/tmp/never", mixed); }), "groups of 4, 8 inputs");
  Checkpoint three = quantized(tiny_gpt2(), 4);
  for (QuantizedWeight& layer : three.quantized) layer.matrix.bits = 3;
  EXPECT_MENTIONS(error_text([&] { write_awq_folder("/tmp/never", three); }), "it has 3 bits");
}

// ---- folders that lie ----

// Writes a good folder, changes its quantization_config, and returns what reading says.
std::string with_config(const std::string& key, const nlohmann::json& value) {
  TemporaryFolder folder;
  write_awq_folder(folder.path, quantized(tiny_gpt2(), 4));
  nlohmann::json config = read_json(folder.file("config.json"));
  config["quantization_config"][key] = value;
  write_text(folder.file("config.json"), config.dump());
  return file_error([&] { read_checkpoint(folder.path); });
}

TEST(AwqFolder, ConfigurationsOfOtherKindsAreRefused) {
  EXPECT_TEXT_IN("bits: AWQ files have 4", with_config("bits", 3));
  EXPECT_TEXT_IN("gemv: only AutoAWQ's gemm", with_config("version", "gemv"));
  EXPECT_TEXT_IN("zero_point", with_config("zero_point", false));
  EXPECT_TEXT_IN("group_size: is 0", with_config("group_size", 0));
  EXPECT_TEXT_IN("groups of 3 do not divide 8", with_config("group_size", 3));
  EXPECT_TEXT_IN("expected (1, ", with_config("group_size", 8));
  EXPECT_TEXT_IN("group_size", with_config("group_size", "four"));
  TemporaryFolder folder;
  write_awq_folder(folder.path, quantized(tiny_gpt2(), 4));
  nlohmann::json config = read_json(folder.file("config.json"));
  config["quantization_config"]["version"] = "GEMM";  // as old versions wrote it
  write_text(folder.file("config.json"), config.dump());
  EXPECT_EQ(read_checkpoint(folder.path).quantized.size(), 8u);
}

// The same with one tensor of the file changed.
std::string with_tensor(const std::string& name, const ArrayView& changed, const std::string& drop = "") {
  TemporaryFolder folder;
  Checkpoint checkpoint = quantized(tiny_gpt2(), 4);
  checkpoint.input_scales["h.0.mlp.c_proj"] = std::vector<float>(32, 2);
  write_awq_folder(folder.path, checkpoint);
  std::vector<std::vector<uint8_t>> bytes;
  std::vector<ArrayView> arrays;
  const std::string path = folder.file("model.safetensors");
  {
    const Safetensors file = read_safetensors(path);
    bytes.reserve(file.tensors.size());
    for (const auto& [stored, array] : file.tensors) {
      if (stored == name || stored == drop) continue;
      bytes.emplace_back(array.bytes.begin(), array.bytes.end());
      arrays.push_back({stored, array.dtype, array.shape, bytes.back()});
    }
  }
  arrays.push_back(changed);
  arrays.back().name = name;
  write_safetensors(path, arrays, {{"format", "pt"}});
  return file_error([&] { read_checkpoint(folder.path); });
}

TEST(AwqFolder, TensorsThatLieAreRefused) {
  static const std::vector<uint8_t> zeros(4096, 0), ones(4096, 255);
  const std::string layer = "transformer.h.0.mlp.c_fc";  // (32, 8): qweight (8, 4), scales (2, 32)
  const auto view = [](DType type, std::vector<int64_t> shape, const std::vector<uint8_t>& bytes,
                       size_t count) {
    return ArrayView{"", type, std::move(shape), std::span(bytes).first(count)};
  };
  EXPECT_TEXT_IN("has shape (4, 8), expected (8, 4)",
                 with_tensor(layer + ".qweight", view(DType::I32, {4, 8}, zeros, 128)));
  EXPECT_TEXT_IN("has dtype F32, expected I32",
                 with_tensor(layer + ".qweight", view(DType::F32, {8, 4}, zeros, 128)));
  EXPECT_TEXT_IN("expected (2, 4)", with_tensor(layer + ".qzeros", view(DType::I32, {1, 4}, zeros, 16)));
  EXPECT_TEXT_IN("scales holds",
                 with_tensor(layer + ".scales", view(DType::F16, {2, 32}, ones, 128)));  // NaN
  EXPECT_TEXT_IN("not of a float type",
                 with_tensor(layer + ".scales", view(DType::I16, {2, 32}, zeros, 128)));
  EXPECT_TEXT_IN("c_fc.scales: is missing", with_tensor("transformer.h.0.mlp.other",
                                                        view(DType::F16, {1}, zeros, 2), layer + ".scales"));
  EXPECT_TEXT_IN("belongs to no projection",
                 with_tensor("transformer.h.7.mlp.c_fc.qweight", view(DType::I32, {8, 4}, zeros, 128)));
  EXPECT_TEXT_IN("h.0.mlp.c_fc.qzeros: is missing",
                 with_tensor("h.0.mlp.c_fc.qweight", view(DType::I32, {8, 4}, zeros, 128)));
  EXPECT_TEXT_IN("nothing can be divided by",
                 with_tensor("transformer.h.0.mlp.act.scales", view(DType::F32, {32}, zeros, 128)));
}

}  // namespace
}  // namespace chalk
