// Hugging Face folders: names, transposes, ties, shards, and folders that lie.
#include "models/io/huggingface.h"

#include <functional>
#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/io/json.h"
#include "models/io/safetensors.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(HfFolder, RoundTripIsBitExact) {
  for (const Checkpoint& checkpoint : {tiny_gpt2(true), tiny_gpt2(false), tiny_llama(true), tiny_llama(false),
                                       tiny_llama(true, "mistral"), tiny_llama(false, "qwen2")}) {
    const TemporaryFolder folder;
    write_hf_folder(folder.file("deep/er"), checkpoint);
    const Checkpoint read = read_checkpoint(folder.file("deep/er"));
    EXPECT_EQ(read.architecture, checkpoint.architecture);
    EXPECT_EQ(read.llama.model_type, checkpoint.llama.model_type);
    expect_same_weights(read, checkpoint);
  }
}

TEST(HfFolder, NamesAndShapesAreThoseOfTransformers) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = tiny_gpt2();
  write_hf_folder(folder.path, checkpoint);
  const Safetensors file = read_safetensors(folder.file("model.safetensors"));
  EXPECT_EQ(file.metadata.at("format"), "pt");
  EXPECT_FALSE(file.tensors.contains("lm_head.weight"));
  const ArrayView& stored = file.at("transformer.h.1.attn.c_attn.weight");  // Conv1D: (in, out)
  EXPECT_EQ(stored.shape, (std::vector<int64_t>{8, 24}));
  const NamedArray& weight = checkpoint.at("h.1.attn.c_attn.weight");  // (out, in)
  EXPECT_EQ(to_floats(stored)[3 * 24 + 17], weight.data[17 * 8 + 3]);
  // attn.c_proj is square: only its numbers show whether it was transposed.
  EXPECT_EQ(to_floats(file.at("transformer.h.0.attn.c_proj.weight"))[1],
            checkpoint.at("h.0.attn.c_proj.weight").data[8]);
  EXPECT_EQ(read_json(folder.file("config.json"))["architectures"][0], "GPT2LMHeadModel");
}

TEST(HfFolder, GoldenGpt2IsTransposed) {
  const std::string source = golden_folder() + "/torch/setA/gpt2_model.safetensors";
  SKIP_WITHOUT(source);
  const TemporaryFolder folder;
  std::filesystem::copy_file(source, folder.file("model.safetensors"));
  std::filesystem::copy_file(golden_folder() + "/torch/setA/gpt2_config.json", folder.file("config.json"));
  const Checkpoint checkpoint = read_checkpoint(folder.path);
  const Safetensors file = read_safetensors(source);
  for (const auto& [name, array] : file.tensors) {
    const std::string in_memory = name.starts_with("transformer.") ? name.substr(12) : name;
    const std::vector<float> stored = to_floats(array);
    const std::vector<float>& got = checkpoint.at(in_memory).data;
    if (array.shape.size() == 2 && in_memory.starts_with("h."))
      EXPECT_EQ(got, transposed(stored, array.shape[0], array.shape[1])) << name;
    else
      EXPECT_EQ(got, stored) << name;
  }
}

TEST(HfFolder, ShardsBothWays) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = tiny_llama();
  write_hf_folder(folder.path, checkpoint);  // one file first: the shards must replace it
  write_hf_folder(folder.path, checkpoint, {.max_shard_bytes = 10000});
  const nlohmann::json index = read_json(folder.file("model.safetensors.index.json"));
  EXPECT_EQ(index["metadata"]["total_size"].get<int64_t>(), 4 * parameter_count(checkpoint.llama));
  const std::vector<std::string> sharded = names_in(folder.path);
  EXPECT_GT(sharded.size(), 4u);
  EXPECT_EQ(sharded[1].substr(0, 15), "model-00001-of-");
  EXPECT_FALSE(file_exists(folder.file("model.safetensors")));
  expect_same_weights(read_checkpoint(folder.path), checkpoint);
  for (const std::string& name : sharded) {
    if (name.starts_with("model-")) {
      EXPECT_LE(std::filesystem::file_size(folder.file(name)), 12000u) << name;
    }
  }
  write_hf_folder(folder.path, checkpoint);  // and back
  EXPECT_EQ(names_in(folder.path), (std::vector<std::string>{"config.json", "model.safetensors"}));
}

TEST(HfFolder, LyingIndexIsRefused) {
  const TemporaryFolder folder;
  write_hf_folder(folder.path, tiny_llama(), {.max_shard_bytes = 10000});
  const std::string path = folder.file("model.safetensors.index.json");
  const nlohmann::json good = read_json(path);
  const auto with = [&](const std::string& tensor, const nlohmann::json& file) {
    nlohmann::json index = good;
    index["weight_map"][tensor] = file;
    write_text(path, index.dump());
    return file_error([&] { read_checkpoint(folder.path); });
  };
  for (const char* name : {"../model.safetensors", "/etc/passwd", "..", ".", "", "a\\b"})
    EXPECT_TEXT_IN("not the name of a file", with("model.norm.weight", name));
  EXPECT_TEXT_IN("not a string", with("model.norm.weight", 7));
  EXPECT_TEXT_IN("model-00099-of-00099.safetensors: is missing",
                 with("model.norm.weight", "model-00099-of-00099.safetensors"));
  EXPECT_TEXT_IN("model.ghost.weight: is missing",
                 with("model.ghost.weight", "model-00001-of-" + names_in(folder.path)[1].substr(15)));
  nlohmann::json shorter = good;
  shorter["weight_map"].erase("model.norm.weight");
  write_text(path, shorter.dump());
  EXPECT_TEXT_IN("lists 20 tensors, but the shards hold 21",
                 file_error([&] { read_checkpoint(folder.path); }));
  write_text(path, "{}");
  EXPECT_TEXT_IN("\"weight_map\" is missing", file_error([&] { read_checkpoint(folder.path); }));
}

// Rewrites model.safetensors with changed names, types or extra tensors.
void rewrite(const std::string& folder, const std::function<void(std::vector<ArrayView>&)>& change) {
  const Safetensors file = read_safetensors(join_path(folder, "model.safetensors"));
  std::vector<ArrayView> arrays;
  for (const auto& [name, array] : file.tensors) arrays.push_back(array);
  change(arrays);
  write_safetensors(join_path(folder, "model.safetensors"), arrays, file.metadata);
}

TEST(HfFolder, PrefixBuffersAndRedundantHeadAreOptional) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = tiny_gpt2();
  write_hf_folder(folder.path, checkpoint);
  const std::vector<uint8_t> zeros(11 * 8 * 4);
  rewrite(folder.path, [&](std::vector<ArrayView>& arrays) {
    for (ArrayView& array : arrays) array.name = array.name.substr(std::string("transformer.").size());
    arrays.push_back({"h.0.attn.bias", DType::BOOL, {1, 1, 8, 8}, std::span(zeros).first(64)});
    arrays.push_back({"h.0.attn.masked_bias", DType::F32, {}, std::span(zeros).first(4)});
    arrays.push_back({"lm_head.weight", DType::F32, {11, 8}, zeros});
  });
  expect_same_weights(read_checkpoint(folder.path), checkpoint);
}

TEST(HfFolder, WrongTensorsAreNamed) {
  const TemporaryFolder folder;
  write_hf_folder(folder.path, tiny_gpt2());
  const std::vector<uint8_t> original = file_bytes(folder.file("model.safetensors"));
  const auto after = [&](const std::function<void(std::vector<ArrayView>&)>& change) {
    std::ofstream(folder.file("model.safetensors"), std::ios::binary)
        .write(reinterpret_cast<const char*>(original.data()), original.size());
    rewrite(folder.path, change);
    return file_error([&] { read_checkpoint(folder.path); });
  };
  EXPECT_TEXT_IN("missing: h.0.attn.c_attn.bias", after([](auto& arrays) { arrays.erase(arrays.begin()); }));
  EXPECT_TEXT_IN("unexpected: h.0.extra (24)",
                 after([](auto& arrays) { arrays[0].name = "transformer.h.0.extra"; }));
  EXPECT_TEXT_IN("is (4, 6), expected (24)", after([](auto& arrays) { arrays[0].shape = {4, 6}; }));
  EXPECT_TEXT_IN("has dtype I32", after([](auto& arrays) { arrays[0].dtype = DType::I32; }));
  EXPECT_TEXT_IN("with and without", after([](auto& arrays) {
                   arrays.push_back(arrays[0]);
                   arrays.back().name = "h.0.attn.c_attn.bias";
                 }));
}

TEST(HfFolder, HalfPrecisionRoundsOnce) {
  for (const DType dtype : {DType::F16, DType::BF16}) {
    const TemporaryFolder folder;
    const Checkpoint checkpoint = tiny_llama(true);
    write_hf_folder(folder.path, checkpoint, {.dtype = dtype});
    const Checkpoint read = read_checkpoint(folder.path);
    for (size_t i = 0; i < read.weights.size(); ++i) {
      for (size_t j = 0; j < read.weights[i].data.size(); ++j) {
        const float x = checkpoint.weights[i].data[j];
        ASSERT_EQ(read.weights[i].data[j],
                  dtype == DType::F16 ? half_to_float(float_to_half(x)) : bf16_to_float(float_to_bf16(x)));
      }
    }
    EXPECT_EQ(read_json(folder.file("config.json"))["torch_dtype"],
              dtype == DType::F16 ? "float16" : "bfloat16");
  }
}

TEST(HfFolder, WriterRefusesIncompleteWeightsAndKeepsTheOldFolder) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = tiny_gpt2();
  write_hf_folder(folder.path, checkpoint);
  const std::vector<uint8_t> before = file_bytes(folder.file("model.safetensors"));
  checkpoint.weights.back().data.pop_back();
  EXPECT_THROW(write_hf_folder(folder.path, checkpoint), Error);
  checkpoint.weights.pop_back();
  EXPECT_THROW(write_hf_folder(folder.path, checkpoint), Error);
  EXPECT_THROW(write_hf_folder(folder.path, tiny_gpt2(), {.dtype = DType::I8}), Error);
  EXPECT_EQ(file_bytes(folder.file("model.safetensors")), before);
  EXPECT_EQ(names_in(folder.path).size(), 2u);
}

}  // namespace
}  // namespace chalk
