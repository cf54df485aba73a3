// Checkpoints of real models read from every format, and the row orders and name checks they share.
#include "models/io/weights.h"

#include "models/io/gguf_model.h"
#include "models/io/huggingface.h"
#include "models/io/llama2c.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

TEST(Weights, RotaryPermutationsAreInverses) {
  // 2 heads of 4 rows, 1 column: interleaved rows (a0 b0 a1 b1) become half-split (a0 a1 b0 b1).
  const std::vector<float> interleaved = {0, 1, 2, 3, 10, 11, 12, 13};
  const std::vector<float> half_split = {0, 2, 1, 3, 10, 12, 11, 13};
  EXPECT_EQ(interleaved_to_half_split(interleaved, 2, 4, 1), half_split);
  EXPECT_EQ(half_split_to_interleaved(half_split, 2, 4, 1), interleaved);
  std::vector<float> wide(3 * 6 * 5);
  for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<float>(i);
  EXPECT_EQ(half_split_to_interleaved(interleaved_to_half_split(wide, 3, 6, 5), 3, 6, 5), wide);
}

TEST(Weights, ParameterMismatchNamesWhatIsWrong) {
  const std::vector<ParameterShape> expected = {{"a", {2, 3}}, {"b", {4}}};
  EXPECT_NO_THROW(check_parameters(expected, {{"b", {4}}, {"a", {2, 3}}}, "f"));
  const std::string message = file_error([&] {
    check_parameters(expected, {{"a", {3, 2}}, {"c", {1}}}, "f");
  });
  EXPECT_TEXT_IN("missing: b", message);
  EXPECT_TEXT_IN("unexpected: c (1)", message);
  EXPECT_TEXT_IN("a is (3, 2), expected (2, 3)", message);
}

TEST(Weights, Stories260kBinEqualsItsHuggingFaceFolder) {
  const std::string folder = data_folder() + "/models/stories260K/";
  SKIP_WITHOUT(folder + "stories260K.bin");
  const Checkpoint bin = read_checkpoint(folder + "stories260K.bin");
  const Checkpoint hf = read_checkpoint(folder + "hf");
  EXPECT_EQ(bin.llama.vocab_size, 512);
  EXPECT_EQ(bin.llama.num_key_value_heads, 4);
  EXPECT_TRUE(bin.llama.tie_word_embeddings && hf.llama.tie_word_embeddings);
  EXPECT_EQ(parameter_count(bin.llama), 260032);
  expect_same_weights(bin, hf);
}

TEST(Weights, Stories260kGgufEqualsItsBin) {
  const std::string folder = data_folder() + "/models/stories260K/";
  SKIP_WITHOUT(folder + "stories260K-f32.gguf");
  const Checkpoint gguf = read_checkpoint(folder + "stories260K-f32.gguf");
  const Checkpoint bin = read_checkpoint(folder + "stories260K.bin");
  expect_same_weights(gguf, bin);
  EXPECT_EQ(gguf.llama.rms_norm_eps, 1e-5);
  EXPECT_EQ(gguf.llama.rope_theta, 10000.0);
  EXPECT_EQ(gguf.llama.max_position_embeddings, 512);
  EXPECT_EQ(gguf.gguf_metadata.get_strings("tokenizer.ggml.tokens").size(), 512u);
}

// Encoding the f32 model as Q8_0 gives the weights of the file that llama.cpp's tools wrote.
TEST(Weights, Stories260kQ80GgufEqualsOurOwn) {
  const std::string folder = data_folder() + "/models/stories260K/";
  SKIP_WITHOUT(folder + "stories260K-q8_0.gguf");
  const TemporaryFolder out;
  write_gguf_model(out.file("ours.gguf"), read_checkpoint(folder + "stories260K.bin"), GgmlType::Q8_0);
  expect_same_weights(read_checkpoint(out.file("ours.gguf")),
                      read_checkpoint(folder + "stories260K-q8_0.gguf"));
}

TEST(Weights, Slm4096Reads) {
  const std::string folder = data_folder() + "/models/slm4096";
  SKIP_WITHOUT(folder);
  const Checkpoint checkpoint = read_checkpoint(folder);
  EXPECT_EQ(checkpoint.architecture, "gpt2");
  EXPECT_EQ(checkpoint.gpt2.activation, "gelu");
  EXPECT_EQ(parameter_count(checkpoint.gpt2), 211712);
  EXPECT_EQ(checkpoint.at("h.0.attn.c_attn.weight").shape, (std::vector<int64_t>{192, 64}));
}

TEST(Weights, ReadCheckpointTellsFormatsApart) {
  const TemporaryFolder folder;
  EXPECT_TEXT_IN("cannot open", file_error([&] { read_checkpoint(folder.file("absent")); }));
  EXPECT_TEXT_IN("config.json", file_error([&] { read_checkpoint(folder.path); }));
  std::ofstream(folder.file("notes.txt")) << "hello";
  EXPECT_TEXT_IN("is no model", file_error([&] { read_checkpoint(folder.file("notes.txt")); }));
  std::ofstream(folder.file("model.safetensors")) << "12345678";
  EXPECT_TEXT_IN("give the folder", file_error([&] { read_checkpoint(folder.file("model.safetensors")); }));
}

}  // namespace
}  // namespace chalk
