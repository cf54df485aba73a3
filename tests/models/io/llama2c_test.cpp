// llama2.c files: layout, round trips, and headers that lie about the rest of the file.
#include "models/io/llama2c.h"

#include <cstring>
#include <functional>

#include "models/io/file.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

std::vector<uint8_t> written(const Checkpoint& checkpoint) {
  const TemporaryFolder folder;
  write_llama2c(folder.file("m.bin"), checkpoint);
  return file_bytes(folder.file("m.bin"));
}

TEST(Llama2c, RoundTripIsBitExact) {
  for (const bool tied : {true, false}) {
    const Checkpoint checkpoint = tiny_llama(tied);
    const Checkpoint read = parse_llama2c(written(checkpoint), "m.bin");
    EXPECT_EQ(read.llama.tie_word_embeddings, tied);
    expect_same_weights(read, checkpoint);
  }
}

TEST(Llama2c, LayoutIsGroupedByKindWithInterleavedQueryRows) {
  const Checkpoint checkpoint = tiny_llama(true);  // C 32, F 20, L 2, D 8, V 13, T 16
  const std::vector<uint8_t> bytes = written(checkpoint);
  const auto number = [&](int64_t index) {
    float value;
    std::memcpy(&value, bytes.data() + 28 + 4 * index, 4);
    return value;
  };
  const int64_t norms = 13 * 32, queries = norms + 2 * 32;
  EXPECT_EQ(number(0), checkpoint.at("embed_tokens.weight").data[0]);
  EXPECT_EQ(number(norms + 32), checkpoint.at("layers.1.input_layernorm.weight").data[0]);
  // Layer 1, interleaved row 1 is half-split row D/2.
  EXPECT_EQ(number(queries + 32 * 32 + 32), checkpoint.at("layers.1.self_attn.q_proj.weight").data[4 * 32]);
  EXPECT_EQ(bytes.size(), 28 + 4 * (parameter_count(checkpoint.llama) + 16 * 8));
}

TEST(Llama2c, StoriesFileIsRewrittenExactlyUpToItsRotaryTables) {
  const std::string path = data_folder() + "/models/stories260K/stories260K.bin";
  SKIP_WITHOUT(path);
  const std::vector<uint8_t> original = file_bytes(path);
  ASSERT_EQ(original.size(), 1056540u);
  const std::vector<uint8_t> again = written(read_llama2c(path));
  ASSERT_EQ(again.size(), original.size());
  const size_t tables = 28 + 4 * 260032;
  EXPECT_TRUE(std::equal(original.begin(), original.begin() + tables, again.begin()));
  for (size_t i = tables; i < original.size(); i += 4) {
    float ours, theirs;
    std::memcpy(&ours, again.data() + i, 4);
    std::memcpy(&theirs, original.data() + i, 4);
    ASSERT_NEAR(ours, theirs, 1e-4);  // their angles are float: 512 positions · 2⁻²⁴ · a few roundings
  }
}

TEST(Llama2c, LyingHeadersAreRefused) {
  const std::vector<uint8_t> valid = written(tiny_llama());
  const auto with = [&](int field, int32_t value) {
    std::vector<uint8_t> bytes = valid;
    std::memcpy(bytes.data() + 4 * field, &value, 4);
    return file_error([&] { parse_llama2c(bytes, "m.bin"); });
  };
  const char* names[] = {"dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
  for (int field = 0; field < 7; ++field) {
    EXPECT_TEXT_IN(std::string(names[field]) + ": is 0", with(field, 0));
    EXPECT_FALSE(with(field, INT32_MIN).empty());
    EXPECT_FALSE(with(field, INT32_MAX).empty());
    EXPECT_FALSE(with(field, 1 << 14).empty());
    if (field != 5) {
      EXPECT_TEXT_IN("is -1", with(field, -1));
    }
  }
  EXPECT_TEXT_IN("does not divide", with(3, 5));
  EXPECT_TEXT_IN("a llama2.c file with this header has", with(2, 3));
  EXPECT_TEXT_IN("version 1 or 2", with(0, 0x616b3432));
  for (size_t length = 0; length < valid.size(); length += length < 64 ? 1 : 997)
    file_error([&] { parse_llama2c(std::span(valid).first(length), "m.bin"); });
  std::vector<uint8_t> longer = valid;
  longer.push_back(0);
  EXPECT_TEXT_IN("bytes", file_error([&] { parse_llama2c(longer, "m.bin"); }));
}

TEST(Llama2c, RefusesModelsTheFormatCannotHold) {
  const TemporaryFolder folder;
  const auto refuses = [&](const std::function<void(Checkpoint&)>& change) {
    Checkpoint checkpoint = tiny_llama();
    change(checkpoint);
    EXPECT_THROW(write_llama2c(folder.file("m.bin"), checkpoint), Error);
    EXPECT_FALSE(file_exists(folder.file("m.bin")));
  };
  refuses([](Checkpoint& c) { c.llama.rope_theta = 5e5; });
  refuses([](Checkpoint& c) { c.llama.rms_norm_eps = 1e-6; });
  refuses([](Checkpoint& c) { c.llama.sliding_window = 4; });
  refuses([](Checkpoint& c) { c.llama.rope_scaling.type = "linear"; });
  refuses([](Checkpoint& c) { c.llama.head_dim = 16, fill_weights(c); });
  refuses([](Checkpoint& c) { c = tiny_llama(true, "qwen2"); });
  refuses([](Checkpoint& c) { c = tiny_gpt2(); });
}

}  // namespace
}  // namespace chalk
