// tokenizer.json: what Chalk writes it reads back with the same ids; forms of other writers; hostile files;
// load_tokenizer.
#include "models/text/tokenizer_json.h"

#include <gtest/gtest.h>

#include "models/io/sha256.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/llama2c_tokenizer.h"
#include "models/text/sentencepiece.h"
#include "models/text/word_tokenizer.h"
#include "tests/models/text/golden.h"

namespace chalk {
namespace {

using nlohmann::json;

// Saves, loads the folder, and expects the same tokenizer.
std::unique_ptr<Tokenizer> expect_round_trip(const Tokenizer& tokenizer,
                                             const std::vector<std::string>& texts) {
  const TemporaryFolder folder;
  tokenizer.save(folder.path);
  auto again = load_tokenizer(folder.path);
  EXPECT_EQ(again->vocab_size(), tokenizer.vocab_size());
  EXPECT_EQ(again->bos, tokenizer.bos);
  EXPECT_EQ(again->eos, tokenizer.eos);
  EXPECT_EQ(again->pad, tokenizer.pad);
  EXPECT_EQ(again->add_bos, tokenizer.add_bos);
  for (const std::string& text : texts) {
    const std::vector<int32_t> ids = tokenizer.encode(text);
    EXPECT_EQ(again->encode(text), ids) << text;
    EXPECT_EQ(again->decode(ids), tokenizer.decode(ids)) << text;
    EXPECT_EQ(encode_with_specials(*again, text), encode_with_specials(tokenizer, text)) << text;
  }
  return again;
}

std::vector<std::string> golden_texts(const std::string& name) {
  std::vector<std::string> texts = {"<s>a</s>", "<|endoftext|> x"};
  const auto golden = golden_tokenizer_cases(name);
  for (const auto& test : golden["cases"]) texts.push_back(test["text"]);
  return texts;
}

TEST(TokenizerJson, RoundTripOfGpt2) {
  const std::string folder = data_folder() + "/tokenizers/gpt2";
  SKIP_WITHOUT(folder);
  SKIP_WITHOUT(golden_folder() + "/tokenizers/gpt2.json");
  expect_round_trip(*load_tokenizer(folder), golden_texts("gpt2.json"));
}

TEST(TokenizerJson, RoundTripOfLlama2) {
  const std::string folder = data_folder() + "/tokenizers/llama2";
  SKIP_WITHOUT(folder);
  SKIP_WITHOUT(golden_folder() + "/tokenizers/llama2.json");
  expect_round_trip(*load_tokenizer(folder), golden_texts("llama2.json"));
  expect_round_trip(*load_tokenizer(folder + "/tokenizer.bin"), golden_texts("llama2.json"));
}

TEST(TokenizerJson, RoundTripOfTok512) {
  const std::string path = data_folder() + "/models/stories260K/tok512.bin";
  SKIP_WITHOUT(path);
  SKIP_WITHOUT(golden_folder() + "/tokenizers/stories260K_tok512.json");
  expect_round_trip(*load_tokenizer(path), golden_texts("stories260K_tok512.json"));
}

TEST(TokenizerJson, RoundTripOfTrainedBpe) {
  const std::string text = "the cat sat on the mat, the bat sat on the rat\n<bos> 12345 1234 ";
  expect_round_trip(*train_bpe(text + text, {.vocab_size = 290, .specials = {"<pad>", "<bos>", "<eos>"}}),
                    {text, "ünseen 😀"});
  expect_round_trip(*train_bpe(text + text, {.vocab_size = 290, .pattern = kLlama3Pattern}),
                    {text, "12345\n\n x"});
}

TEST(TokenizerJson, RoundTripOfWordsAndCharacters) {
  expect_round_trip(*build_word_tokenizer("the cat é <unk>", {"<pad>", "<bos>", "<eos>"}),
                    {"<bos> the cat é <unk> <eos>", ""});
  expect_round_trip(*build_word_tokenizer("the cat"), {"the cat"});
  const auto again = expect_round_trip(WordTokenizer({"a", "<unk>"}, {}, 1), {"a b <unk>"});
  EXPECT_EQ(again->encode("zzz"), (std::vector<int32_t>{1}));
  expect_round_trip(*build_char_tokenizer("a é\n\r😀\u2581", {"<pad>"}), {"é a\n\n😀\r\u2581", ""});
  EXPECT_THROW(expect_round_trip(*build_word_tokenizer("the cat <unk>"), {})->encode("dog"), UsageError);
}

TEST(TokenizerJson, SaveFailsCleanly) {
  const auto words = build_word_tokenizer("the cat");
  EXPECT_THROW(words->save("/proc/no/such/folder"), Error);
  const TemporaryFolder folder;
  words->save(folder.path);
  const std::string before = read_text(folder.file("tokenizer.json"));
  ByteBpeParts parts;
  parts.tokens = {"a", "\xFF special"};  // bytes that JSON cannot hold
  parts.specials = {{"\xFF special", 1}};
  EXPECT_THROW(ByteBpe(parts).save(folder.path), Error);
  EXPECT_EQ(read_text(folder.file("tokenizer.json")), before);
}

// SHA-256 of ids as little-endian uint32.
std::string fingerprint(const std::vector<int32_t>& ids) {
  return sha256(
      {reinterpret_cast<const char*>(ids.data()), 4 * ids.size()});  // this machine is little-endian
}

TEST(TokenizerGolden, WholeTexts) {
  SKIP_WITHOUT(golden_folder() + "/tokenizers/whole_text.json");
  SKIP_WITHOUT(data_folder() + "/tokenizers");
  const auto gpt2 = load_tokenizer(data_folder() + "/tokenizers/gpt2"),
             llama2 = load_tokenizer(data_folder() + "/tokenizers/llama2");
  const auto golden = golden_tokenizer_cases("whole_text.json");
  for (const auto& test : golden["cases"]) {
    const std::string name = test["text"];
    const std::string text =
        read_text(data_folder() + "/" + name.substr(0, name.find(','))).substr(0, test["utf8_bytes"]);
    const std::vector<int32_t> gpt2_ids = gpt2->encode(text), llama2_ids = llama2->encode(text);
    EXPECT_EQ(gpt2_ids.size(), test["gpt2_tokens"].get<size_t>());
    EXPECT_EQ(fingerprint(gpt2_ids), test["gpt2_sha256_of_ids_as_little_endian_u32"].get<std::string>());
    EXPECT_EQ(llama2_ids.size(), test["llama2_tokens"].get<size_t>());
    EXPECT_EQ(fingerprint(llama2_ids), test["llama2_sha256_of_ids_as_little_endian_u32"].get<std::string>());
  }
}

// ---- forms that other writers use ----

json small_bpe() {
  return json::parse(R"({"added_tokens": [{"id": 4, "content": "<s>", "special": true}], "normalizer": null,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
    "post_processor": {"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing",
      "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}]},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "Ġ": 3}, "merges": [["a", "b"]]}})");
}

TEST(TokenizerJson, AddedTokensBehindTheVocabulary) {
  const auto tokenizer = parse_tokenizer_json(small_bpe().dump(), "");
  EXPECT_EQ(tokenizer->vocab_size(), 5);
  EXPECT_EQ(tokenizer->bos, 4);
  EXPECT_TRUE(tokenizer->add_bos);
  EXPECT_EQ(encode_with_specials(*tokenizer, "<s>ab a"), (std::vector<int32_t>{4, 2, 3, 0}));
  json no_bos = small_bpe();
  no_bos["post_processor"] = nullptr;
  EXPECT_FALSE(parse_tokenizer_json(no_bos.dump(), "")->add_bos);
}

TEST(TokenizerJson, ByteLevelVariants) {
  json file = small_bpe();
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode("ab"), (std::vector<int32_t>{3, 2}));
  file["added_tokens"][0]["special"] = false;
  file["pre_tokenizer"]["add_prefix_space"] = false;
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode("ab<s>"), (std::vector<int32_t>{2, 4}));
  file["pre_tokenizer"] =
      json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"String": "b"},
    "behavior": "Isolated", "invert": false}, {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})");
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode("ab"), (std::vector<int32_t>{0, 1}));
}

TEST(TokenizerJson, MetaspaceInPlaceOfNormalizer) {
  json file = json::parse(R"({"added_tokens": [{"id": 0, "content": "<unk>", "special": true}],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": false},
    "model": {"type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": {"<unk>": 0, "▁": 1, "a": 2, "▁a": 3}, "merges": ["▁ a"]}})");
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode("a aé"), (std::vector<int32_t>{3, 3, 0}));
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode(" a"), (std::vector<int32_t>{3}));
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->decode({3, 3}), "a a");
  file["pre_tokenizer"]["prepend_scheme"] = "never";
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "")->encode("a a"), (std::vector<int32_t>{2, 3}));
}

TEST(TokenizerJson, ConfigBesideIt) {
  const auto tokenizer = parse_tokenizer_json(small_bpe().dump(), "");
  apply_tokenizer_config(*tokenizer, R"({"eos_token": {"content": "<s>"}, "add_bos_token": false})", "c");
  EXPECT_EQ(tokenizer->eos, 4);
  EXPECT_FALSE(tokenizer->add_bos);
  EXPECT_TEXT_IN("bos_token",
                 file_error([&] { apply_tokenizer_config(*tokenizer, R"({"bos_token": "<x>"})", "c"); }));
  EXPECT_TEXT_IN("bos_token",
                 file_error([&] { apply_tokenizer_config(*tokenizer, R"({"bos_token": 7})", "c"); }));
}

// ---- hostile files ----

TEST(TokenizerJson, HostileFiles) {
  const auto error = [](const std::string& text) {
    return file_error([&] { parse_tokenizer_json(text, "tokenizer.json"); });
  };
  const auto with = [&](const std::string& pointer, const json& value) {
    json file = small_bpe();
    file[json::json_pointer(pointer)] = value;
    return error(file.dump());
  };
  EXPECT_TEXT_IN("tokenizer.json", error(""));
  EXPECT_TEXT_IN("object", error("[]"));
  EXPECT_TEXT_IN("model", error("{}"));
  EXPECT_TEXT_IN("JSON", error("{\"model\": \"\xFF\"}"));
  EXPECT_TEXT_IN("nested", error(std::string(100000, '[')));
  EXPECT_TEXT_IN("Unigram", with("/model/type", "Unigram"));
  EXPECT_TEXT_IN("type", with("/model/type", 3));
  EXPECT_TEXT_IN("model.vocab", with("/model/vocab", json::array()));
  EXPECT_TEXT_IN("integer", with("/model/vocab/a", "0"));
  EXPECT_TEXT_IN("expected 0 to 4", with("/model/vocab/a", 2147483647));
  EXPECT_TEXT_IN("expected 0 to 4", with("/model/vocab/a", -1));
  EXPECT_TEXT_IN("given to", with("/model/vocab/a", 1));
  EXPECT_TEXT_IN("model.merges", with("/model/merges", json::object()));
  EXPECT_TEXT_IN("model.merges[0]", with("/model/merges/0", 5));
  EXPECT_TEXT_IN("model.merges[0]", with("/model/merges/0", json::array({"a"})));
  EXPECT_TEXT_IN("not in the vocabulary", with("/model/merges/0", json::array({"a", "x"})));
  EXPECT_TEXT_IN("not in the vocabulary", with("/model/merges/0", "b a"));
  EXPECT_TEXT_IN("end_of_word_suffix", with("/model/end_of_word_suffix", "</w>"));
  EXPECT_TEXT_IN("dropout", with("/model/dropout", 0.1));
  EXPECT_TEXT_IN("added_tokens", with("/added_tokens", 7));
  EXPECT_TEXT_IN("added_tokens", with("/added_tokens/0", 7));
  EXPECT_TEXT_IN("content", with("/added_tokens/0/content", 7));
  EXPECT_TEXT_IN("empty", with("/added_tokens/0/content", ""));
  EXPECT_TEXT_IN("id", with("/added_tokens/0/id", 4294967296));
  EXPECT_TEXT_IN("expected 0 to 4", with("/added_tokens/0/id", 9));
  EXPECT_TEXT_IN("in the vocabulary", with("/added_tokens/0/content", "a"));
  EXPECT_TEXT_IN("normalizer", with("/normalizer", {{"type", "Lowercase"}}));
  EXPECT_TEXT_IN("pre_tokenizer", with("/pre_tokenizer", 3));
  EXPECT_TEXT_IN("Whitespace", with("/pre_tokenizer", {{"type", "Whitespace"}}));
  EXPECT_TEXT_IN("pretokenizers", with("/pre_tokenizer", {{"type", "Sequence"}}));
  EXPECT_TEXT_IN("post_processor",
                 with("/post_processor", {{"type", "TemplateProcessing"}, {"single", json::array()}}));
  EXPECT_TEXT_IN("post_processor", with("/post_processor/processors/1/single/0/SpecialToken/id", "<x>"));
  json words = {{"model", {{"type", "WordLevel"}, {"vocab", {{"a", 0}}}, {"unk_token", "<unk>"}}}};
  EXPECT_TEXT_IN("pre_tokenizer", error(words.dump()));
  const std::string good = small_bpe().dump();
  for (size_t length = 0; length < good.size(); length++)
    EXPECT_THROW(parse_tokenizer_json(good.substr(0, length), ""), FileError);
}

TEST(LoadTokenizer, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_TEXT_IN("no such file", file_error([&] { load_tokenizer(folder.file("tokenizer.json")); }));
  EXPECT_TEXT_IN("holds no tokenizer", file_error([&] { load_tokenizer(folder.path); }));
  write_text(folder.file("tokenizer.txt"), "a");
  EXPECT_TEXT_IN("by its name", file_error([&] { load_tokenizer(folder.file("tokenizer.txt")); }));
  write_text(folder.file("vocab.json"), R"({"ab": 0})");
  EXPECT_TEXT_IN("merges.txt", file_error([&] { load_tokenizer(folder.file("vocab.json")); }));
  write_text(folder.file("merges.txt"), "");
  EXPECT_EQ(load_tokenizer(folder.file("merges.txt"))->vocab_size(), 1);
  write_text(folder.file("vocab.bpe"), "");
  EXPECT_TEXT_IN("encoder.json", file_error([&] { load_tokenizer(folder.file("vocab.bpe")); }));
}

TEST(MakeTokenizer, LearnsOrLoads) {
  EXPECT_EQ(make_tokenizer("char", "abca")->vocab_size(), 3);
  EXPECT_EQ(make_tokenizer("word", "a b a", {"<eos>"})->eos, 0);
  EXPECT_EQ(make_tokenizer("bpe:257", "abab")->vocab_size(), 257);
  for (const char* name : {"bpe:", "bpe:x", "bpe:300x", "bpe:-1", "bpe:99999999999999999999"}) {
    EXPECT_THROW(make_tokenizer(name, "abab"), UsageError) << name;
  }
  EXPECT_THROW(make_tokenizer("char", ""), UsageError);
  EXPECT_THROW(make_tokenizer("no/such/file.json", "abab"), FileError);
}

}  // namespace
}  // namespace chalk
