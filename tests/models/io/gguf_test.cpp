// The GGUF container and models in it: every metadata type, llama.cpp's own file, round trips, and files that
// lie.
#include "models/io/gguf.h"

#include <cmath>
#include <cstring>

#include "models/io/gguf_model.h"
#include "models/io/gguf_rope.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

GgufMetadata every_type() {
  GgufMetadata metadata;
  metadata.set("u8", {GgufType::U8, {}, uint64_t{255}});
  metadata.set("i8", {GgufType::I8, {}, int64_t{-128}});
  metadata.set("u16", {GgufType::U16, {}, uint64_t{65535}});
  metadata.set("i16", {GgufType::I16, {}, int64_t{-32768}});
  metadata.set("u32", GgufValue::u32(4294967295u));
  metadata.set("i32", {GgufType::I32, {}, int64_t{INT32_MIN}});
  metadata.set("u64", {GgufType::U64, {}, UINT64_MAX});
  metadata.set("i64", {GgufType::I64, {}, INT64_MIN});
  metadata.set("f32", GgufValue::f32(1e-5f));
  metadata.set("f64", {GgufType::F64, {}, 1e-300});
  metadata.set("yes", GgufValue::boolean(true));
  metadata.set("text", GgufValue::text(std::string("caf\u00e9 \0 nul", 11)));
  metadata.set("texts", GgufValue::texts({"a", "", "ccc"}));
  metadata.set("i32s", GgufValue::i32s({-1, 2}));
  metadata.set("f32s", GgufValue::f32s({0.5, -2.0}));
  metadata.set("bools", {GgufType::Array, GgufType::Bool, std::vector<uint64_t>{0, 1}});
  metadata.set("u8s", {GgufType::Array, GgufType::U8, std::vector<uint64_t>{0, 255}});
  metadata.set("none", GgufValue::texts({}));
  return metadata;
}

std::vector<uint8_t> written(const GgufMetadata& metadata, const std::vector<GgufSource>& tensors) {
  const TemporaryFolder folder;
  write_gguf(folder.file("m.gguf"), metadata, tensors);
  return file_bytes(folder.file("m.gguf"));
}

std::string refusal(const std::vector<uint8_t>& bytes) {
  return file_error([&] { parse_gguf(bytes, "m.gguf"); });
}

TEST(Gguf, EveryMetadataTypeRoundTrips) {
  const GgufMetadata metadata = every_type();
  const std::vector<uint8_t> bytes = written(metadata, {});
  const Gguf gguf = parse_gguf(bytes, "m.gguf");
  ASSERT_EQ(gguf.metadata.entries.size(), metadata.entries.size());
  for (size_t i = 0; i < metadata.entries.size(); ++i) {
    const auto& [key, value] = metadata.entries[i];
    EXPECT_EQ(gguf.metadata.entries[i].key, key);
    EXPECT_EQ(gguf.metadata.entries[i].value.type, value.type) << key;
    EXPECT_TRUE(gguf.metadata.entries[i].value.value == value.value) << key;
  }
  EXPECT_EQ(gguf.metadata.get_number("f32", 0, 1), 1e-5);  // the decimal that was meant
  EXPECT_EQ(gguf.metadata.get_int("i8", -200, 0), -128);
  EXPECT_TRUE(gguf.metadata.get_bool("yes", false));
  EXPECT_EQ(gguf.metadata.get_numbers("u8s"), (std::vector<double>{0, 255}));
  EXPECT_TEXT_IN("u64", file_error([&] { gguf.metadata.get_int("u64", 0, INT64_MAX); }));
  EXPECT_TEXT_IN("expected an integer", file_error([&] { gguf.metadata.get_int("f32", 0, 1); }));
  EXPECT_TEXT_IN("missing", file_error([&] { gguf.metadata.get_string("absent"); }));
  GgufMetadata wrong;
  wrong.set("u8", {GgufType::U8, {}, uint64_t{256}});
  EXPECT_THROW(written(wrong, {}), Error);
}

TEST(Gguf, LlamaCppsOwnVocabularyFileParses) {
  const std::string path = data_folder() + "/gguf/ggml-vocab-llama-spm.gguf";
  SKIP_WITHOUT(path);
  const Gguf gguf = read_gguf(path);
  EXPECT_EQ(gguf.metadata.entries.size(), 22u);
  EXPECT_TRUE(gguf.tensors.empty());
  EXPECT_EQ(gguf.metadata.get_string("general.architecture"), "llama");
  EXPECT_EQ(gguf.metadata.get_strings("tokenizer.ggml.tokens").size(), 32000u);
  EXPECT_EQ(gguf.metadata.get_numbers("tokenizer.ggml.scores").size(), 32000u);
  EXPECT_EQ(gguf.metadata.get_ints("tokenizer.ggml.token_type").size(), 32000u);
  // Written again, the metadata are the same bytes.
  const std::vector<uint8_t> original = file_bytes(path), again = written(gguf.metadata, {});
  ASSERT_GE(again.size(), original.size());
  EXPECT_TRUE(std::equal(original.begin() + 8, original.end(), again.begin() + 8));
  EXPECT_TEXT_IN("vocabulary-only", file_error([&] { read_checkpoint(path); }));
}

TEST(Gguf, TensorsRoundTripAndAreAligned) {
  std::vector<float> data(3 * 64);
  for (size_t i = 0; i < data.size(); ++i) data[i] = std::sin(static_cast<float>(i));
  const std::vector<uint8_t> bytes =
      written(every_type(), {{"a", {3, 64}, GgmlType::F32, data},
                             {"b", {3, 64}, GgmlType::Q8_0, data},
                             {"c", {192}, GgmlType::BF16, data},
                             {"d", {2, 3, 32}, GgmlType::Q4_0, data},
                             {"e", {}, GgmlType::F16, std::span(data).first(1)}});
  const Gguf gguf = parse_gguf(bytes, "m.gguf");
  ASSERT_EQ(gguf.tensors.size(), 5u);
  EXPECT_EQ(gguf.find("a")->shape, (std::vector<int64_t>{3, 64}));
  EXPECT_EQ(to_floats(*gguf.find("a")), data);
  EXPECT_EQ(gguf.find("d")->shape, (std::vector<int64_t>{2, 3, 32}));
  for (const GgufTensor& tensor : gguf.tensors)
    EXPECT_EQ((tensor.bytes.data() - bytes.data()) % 32, 0) << tensor.name;
  for (size_t i = 0; i < data.size(); ++i)
    EXPECT_NEAR(to_floats(*gguf.find("b"))[i], data[i], 1.0 / 254 + 1e-3);
  EXPECT_EQ(gguf.find("absent"), nullptr);
  EXPECT_THROW(written({}, {{"a", {6, 32}, GgmlType::Q8_0, std::span(data).first(32)}}), Error);
  EXPECT_THROW(written({}, {{"a", {4, 48}, GgmlType::Q8_0, data}}), Error);
  EXPECT_THROW(written({}, {{std::string(64, 'n'), {192}, GgmlType::F32, data}}), Error);
}

// A file put together by hand, so that single fields can lie.
struct Forged {
  std::string bytes;
  template <class T>
  Forged& put(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Forged& text(const std::string& s) {
    put<uint64_t>(s.size());
    bytes += s;
    return *this;
  }
  Forged& pad() {
    bytes.resize((bytes.size() + 31) / 32 * 32);
    return *this;
  }
  std::vector<uint8_t> done() const { return {bytes.begin(), bytes.end()}; }
};

Forged start(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
  Forged forged;
  forged.bytes = "GGUF";
  return forged.put(version).put(tensors).put(pairs);
}

Forged tensor(const std::vector<uint64_t>& dims, uint32_t type, uint64_t offset, const char* name = "t") {
  Forged forged = start(1, 0).text(name).put<uint32_t>(dims.size());
  for (const uint64_t dim : dims) forged.put(dim);
  return forged.put(type).put(offset);
}

TEST(Gguf, LyingFilesAreRefused) {
  EXPECT_TEXT_IN("not GGUF", refusal({'G', 'G', 'U', 'f', 3, 0, 0, 0}));
  EXPECT_TEXT_IN("version: is 1", refusal(start(0, 0, 1).done()));
  EXPECT_NO_THROW(parse_gguf(start(0, 0, 2).done(), "m"));
  EXPECT_TEXT_IN("metadata key 0", refusal(start(0, UINT64_MAX).done()));
  EXPECT_TEXT_IN("tensor 0", refusal(start(UINT64_MAX, 0).done()));
  EXPECT_TEXT_IN("needs 18446744073709551615 bytes", refusal(start(0, 1).put<uint64_t>(UINT64_MAX).done()));
  EXPECT_TEXT_IN("is empty", refusal(start(0, 1).text("").put<uint32_t>(4).put<uint32_t>(1).done()));
  EXPECT_TEXT_IN("value type 13", refusal(start(0, 1).text("k").put<uint32_t>(13).done()));
  EXPECT_TEXT_IN("bool of value 2", refusal(start(0, 1).text("k").put<uint32_t>(7).put<uint8_t>(2).done()));
  EXPECT_TEXT_IN("array of arrays",
                 refusal(start(0, 1).text("k").put<uint32_t>(9).put<uint32_t>(9).put<uint64_t>(1).done()));
  EXPECT_TEXT_IN("only 3 bytes remain", refusal(start(0, 1)
                                                    .text("k")
                                                    .put<uint32_t>(9)
                                                    .put<uint32_t>(0)
                                                    .put<uint64_t>(UINT64_MAX)
                                                    .put<uint16_t>(0)
                                                    .put<uint8_t>(0)
                                                    .done()));
  const auto pair = [](Forged f) { return f.text("k").put<uint32_t>(4).put<uint32_t>(1); };
  EXPECT_TEXT_IN("k: appears twice", refusal(pair(pair(start(0, 2))).done()));
  for (const uint32_t alignment : {0u, 24u, 1u << 31})
    EXPECT_TEXT_IN("general.alignment",
                   refusal(start(0, 1).text("general.alignment").put<uint32_t>(4).put(alignment).done()));

  EXPECT_NO_THROW(parse_gguf(
      tensor({8}, 0, 0).pad().put<uint64_t>(0).put<uint64_t>(0).put<uint64_t>(0).put<uint64_t>(0).done(),
      "m"));
  EXPECT_TEXT_IN("needs 32 bytes", refusal(tensor({8}, 0, 0).pad().put<uint64_t>(0).done()));
  EXPECT_TEXT_IN("needs 32 bytes", refusal(tensor({8}, 0, 0).done()));
  EXPECT_TEXT_IN("begins at 32", refusal(tensor({8}, 0, 32).pad().pad().done()));
  EXPECT_TEXT_IN("5 dimensions", refusal(tensor({1, 1, 1, 1, 1}, 0, 0).done()));
  EXPECT_TEXT_IN("ggml type 4,", refusal(tensor({8}, 4, 0).done()));
  EXPECT_TEXT_IN("blocks of 32", refusal(tensor({8}, 8, 0).done()));
  EXPECT_TEXT_IN("overflows", refusal(tensor({1ull << 40, 1ull << 40}, 0, 0).done()));
  EXPECT_TEXT_IN("overflows", refusal(tensor({1ull << 62}, 0, 0).done()));
  EXPECT_TEXT_IN("overflows", refusal(tensor({UINT64_MAX}, 0, 0).done()));
  std::vector<uint8_t> trailing = tensor({}, 24, 0).pad().put<uint8_t>(0).done();
  EXPECT_NO_THROW(parse_gguf(trailing, "m"));
  trailing.resize(trailing.size() + 32);
  EXPECT_TEXT_IN("after the last tensor", refusal(trailing));
}

TEST(Gguf, TruncatedAndFlippedFilesNeverCrash) {
  std::vector<float> data(64, 1.0f);
  const std::vector<uint8_t> valid =
      written(every_type(), {{"a", {2, 32}, GgmlType::Q4_0, data}, {"b", {64}, GgmlType::F32, data}});
  for (size_t length = 0; length < valid.size(); ++length) refusal({valid.begin(), valid.begin() + length});
  for (size_t i = 0; i < valid.size(); ++i) {
    for (const uint8_t flip : {0x01, 0x80, 0xff, 0x10}) {
      std::vector<uint8_t> changed = valid;
      changed[i] ^= flip;
      try {
        for (const GgufTensor& t : parse_gguf(changed, "m").tensors)
          if (t.type < GgmlType::I8 || t.type == GgmlType::BF16) to_floats(t);
      } catch (const FileError&) {
      }
    }
  }
}

GgufMetadata small_tokenizer() {
  GgufMetadata metadata;
  metadata.set("general.name", GgufValue::text("not copied"));
  metadata.set("tokenizer.ggml.model", GgufValue::text("llama"));
  metadata.set("tokenizer.ggml.tokens", GgufValue::texts({"<unk>", "<s>"}));
  return metadata;
}

TEST(GgufModel, RoundTripIsBitExactInF32) {
  for (Checkpoint checkpoint : {tiny_gpt2(true), tiny_gpt2(false), tiny_llama(true), tiny_llama(false),
                                tiny_llama(true, "mistral"), tiny_llama(false, "qwen2")}) {
    const TemporaryFolder folder;
    checkpoint.llama.bos_token_id = 1;
    if (checkpoint.llama.model_type == "mistral") checkpoint.llama.sliding_window = 5;
    write_gguf_model(folder.file("m.gguf"), checkpoint, GgmlType::F32, small_tokenizer());
    const Checkpoint read = read_checkpoint(folder.file("m.gguf"));
    EXPECT_EQ(read.architecture, checkpoint.architecture);
    expect_same_weights(read, checkpoint);
    EXPECT_EQ(read.gguf_metadata.get_strings("tokenizer.ggml.tokens").size(), 2u);
    EXPECT_EQ(read.gguf_metadata.find("general.name"), nullptr);
    if (checkpoint.architecture == "gpt2") {
      EXPECT_EQ(read.gpt2.tie_word_embeddings, checkpoint.gpt2.tie_word_embeddings);
      EXPECT_EQ(read.gpt2.n_positions, 8);
      EXPECT_EQ(read.gpt2.layer_norm_epsilon, 1e-5);
      continue;
    }
    EXPECT_EQ(read.llama.model_type, checkpoint.llama.model_type);
    EXPECT_EQ(read.llama.sliding_window, checkpoint.llama.sliding_window);
    EXPECT_EQ(read.llama.bos_token_id, 1);
  }
}

TEST(GgufModel, QueryRowsAreInterleavedInTheFileOnlyForLlama) {
  const TemporaryFolder folder;
  for (const char* type : {"llama", "qwen2"}) {
    const Checkpoint checkpoint = tiny_llama(false, type);
    write_gguf_model(folder.file("m.gguf"), checkpoint);
    const std::vector<float> stored =
        to_floats(*read_gguf(folder.file("m.gguf")).find("blk.1.attn_k.weight"));
    const std::vector<float>& rows = checkpoint.at("layers.1.self_attn.k_proj.weight").data;
    EXPECT_EQ(stored[32], rows[std::string(type) == "llama" ? 4 * 32 : 32]);
  }
}

TEST(GgufModel, MatricesAreQuantisedAndTheRestIsNot) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = tiny_llama();
  write_gguf_model(folder.file("m.gguf"), checkpoint, GgmlType::Q4_0);
  const Gguf gguf = read_gguf(folder.file("m.gguf"));
  EXPECT_EQ(gguf.find("blk.0.attn_q.weight")->type, GgmlType::Q4_0);
  EXPECT_EQ(gguf.find("blk.0.ffn_down.weight")->type, GgmlType::F16);  // rows of 20
  EXPECT_EQ(gguf.find("blk.0.attn_norm.weight")->type, GgmlType::F32);
  EXPECT_EQ(gguf.metadata.get_int("general.quantization_version", 0, 9), 2);
  EXPECT_EQ(gguf.metadata.get_int("general.file_type", 0, 99), 2);
  const Checkpoint read = read_checkpoint(folder.file("m.gguf"));
  EXPECT_EQ(read.at("norm.weight").data, checkpoint.at("norm.weight").data);
  EXPECT_NE(read.at("layers.0.self_attn.q_proj.weight").data,
            checkpoint.at("layers.0.self_attn.q_proj.weight").data);
  Checkpoint infinite = checkpoint;
  infinite.weights[0].data[0] = INFINITY;
  EXPECT_THROW(write_gguf_model(folder.file("m.gguf"), infinite, GgmlType::Q4_0), Error);
  EXPECT_THROW(write_gguf_model(folder.file("m.gguf"), checkpoint, GgmlType::Q4_K), Error);
}

TEST(GgufModel, RopeScalingSurvives) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = tiny_llama();
  checkpoint.llama.rope_theta = 500000.0;
  for (const RopeScaling& scaling :
       {RopeScaling{"linear", 2.0}, RopeScaling{"llama3", 8.0, 1.0, 4.0, 8192}}) {
    checkpoint.llama.rope_scaling = scaling;
    write_gguf_model(folder.file("m.gguf"), checkpoint);
    const Checkpoint read = read_checkpoint(folder.file("m.gguf"));
    EXPECT_EQ(read.llama.rope_scaling.type, scaling.type);
    EXPECT_EQ(read.llama.rope_scaling.factor, scaling.factor);
    EXPECT_EQ(read.llama.rope_theta, 500000.0);
  }
}

TEST(GgufModel, RefusesRopeScalingItCannotStore) {
  const TemporaryFolder folder;
  Checkpoint checkpoint = tiny_llama();
  checkpoint.llama.rope_scaling = {"llama3", 8.0, 1.0, 4.0, 4096};
  EXPECT_THROW(write_gguf_model(folder.file("m.gguf"), checkpoint), Error);
  // A head of one number has no rotary pair and so no divisor.
  Gguf gguf;
  gguf.tensors.push_back({"rope_freqs.weight", {0}, GgmlType::F32, {}});
  checkpoint.llama.head_dim = 1;
  EXPECT_TEXT_IN("list of 0",
                 file_error([&] { llama3_scaling(gguf.tensors[0], checkpoint.llama, "m.gguf"); }));
}

TEST(GgufModel, RefusesWhatItWouldMisread) {
  const TemporaryFolder folder;
  const Checkpoint checkpoint = tiny_llama();
  write_gguf_model(folder.file("m.gguf"), checkpoint);
  const auto with = [&](const std::string& key, GgufValue value) {
    const Gguf original = read_gguf(folder.file("m.gguf"));
    Gguf changed = original;
    changed.metadata.set(key, std::move(value));
    return file_error([&] { gguf_to_checkpoint(changed); });
  };
  EXPECT_TEXT_IN("\"bert\"", with("general.architecture", GgufValue::text("bert")));
  EXPECT_TEXT_IN("missing: blk.2", with("llama.block_count", GgufValue::u32(3)));
  EXPECT_TEXT_IN("unexpected: blk.1", with("llama.block_count", GgufValue::u32(1)));
  EXPECT_TEXT_IN("block_count: is 16384", with("llama.block_count", GgufValue::u32(16384)));
  EXPECT_TEXT_IN("expected (", with("llama.feed_forward_length", GgufValue::u32(21)));
  EXPECT_TEXT_IN("whole head", with("llama.rope.dimension_count", GgufValue::u32(4)));
  EXPECT_TEXT_IN("yarn", with("llama.rope.scaling.type", GgufValue::text("yarn")));
  EXPECT_TEXT_IN("whole head of 10", with("llama.attention.head_count", GgufValue::u32(3)));
  EXPECT_TEXT_IN("head_count", with("llama.attention.head_count", GgufValue::u32(0)));
  EXPECT_TEXT_IN("wrong type", with("llama.attention.head_count", GgufValue::text("4")));
}

}  // namespace
}  // namespace chalk
