// Writing tokenizer.json: the save() of every tokenizer, side by side, so that the format can be seen as a
// whole.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/byte_alphabet.h"
#include "models/text/byte_bpe.h"
#include "models/text/char_tokenizer.h"
#include "models/text/llama2c_tokenizer.h"
#include "models/text/sentencepiece.h"
#include "models/text/utf8.h"
#include "models/text/word_tokenizer.h"

namespace chalk {
namespace {

using Json = nlohmann::ordered_json;  // keeps the order in which keys are added

// The steps that differ between tokenizers; null leaves a step out.
struct Steps {
  Json normalizer, pre_tokenizer, decoder, model;
};

// {"token": id, ...} in the order of ids. Trap: adding a key to an ordered_json looks through all keys before
// it, which is quadratic; a tokenizer's tokens are distinct already, so they go straight into the vector
// underneath.
Json vocabulary_json(const std::vector<std::string>& tokens) {
  Json json = Json::object();
  auto& object = json.get_ref<Json::object_t&>();
  for (size_t id = 0; id < tokens.size(); id++)
    object.Json::object_t::Container::emplace_back(tokens[id], id);
  return json;
}

// `special` tokens are dropped when Hugging Face decodes; `normalized` false: looked for in the text as the
// user wrote it.
Json added_tokens_json(const std::vector<SpecialToken>& tokens, bool special) {
  Json list = Json::array();
  for (const auto& [text, id] : tokens) {
    list.push_back({{"id", id},
                    {"content", text},
                    {"single_word", false},
                    {"lstrip", false},
                    {"rstrip", false},
                    {"normalized", false},
                    {"special", special}});
  }
  return list;
}

std::string special_text(const Tokenizer& tokenizer, int32_t id) {
  for (const SpecialToken& special : tokenizer.specials) {
    if (special.id == id) return special.text;
  }
  return tokenizer.token(id);
}

// The step that puts BOS in front, if the tokenizer wants it.
Json post_processor_json(const Tokenizer& tokenizer) {
  if (!tokenizer.add_bos || !tokenizer.bos) return nullptr;
  const std::string text = special_text(tokenizer, *tokenizer.bos);
  const auto sequence = [](const char* id, int type) {
    return Json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  const auto special = [&](int type) { return Json{{"SpecialToken", {{"id", text}, {"type_id", type}}}}; };
  Json post{{"type", "TemplateProcessing"}};
  post["single"] = Json::array({special(0), sequence("A", 0)});
  post["pair"] = Json::array({special(0), sequence("A", 0), special(1), sequence("B", 1)});
  post["special_tokens"][text] = {
      {"id", text}, {"ids", Json::array({*tokenizer.bos})}, {"tokens", Json::array({text})}};
  return post;
}

// tokenizer_config.json: what transformers.AutoTokenizer needs beside tokenizer.json.
Json config_json(const Tokenizer& tokenizer) {
  Json config{{"tokenizer_class", "PreTrainedTokenizerFast"}, {"add_bos_token", tokenizer.add_bos}};
  if (tokenizer.bos) config["bos_token"] = special_text(tokenizer, *tokenizer.bos);
  if (tokenizer.eos) config["eos_token"] = special_text(tokenizer, *tokenizer.eos);
  if (tokenizer.pad) config["pad_token"] = special_text(tokenizer, *tokenizer.pad);
  config["clean_up_tokenization_spaces"] = false;  // otherwise transformers would turn "a ," into "a,"
  return config;
}

void write_files(const Tokenizer& tokenizer, const std::string& folder, Json added_tokens,
                 const Steps& steps) {
  Json file{{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  file["added_tokens"] = std::move(added_tokens);
  file["normalizer"] = steps.normalizer;
  file["pre_tokenizer"] = steps.pre_tokenizer;
  file["post_processor"] = post_processor_json(tokenizer);
  file["decoder"] = steps.decoder;
  file["model"] = steps.model;
  make_folders(folder);
  try {
    write_text(join_path(folder, "tokenizer.json"), file.dump(1) + "\n");
  } catch (const Json::exception& problem) {
    throw Error(folder + ": cannot write tokenizer.json: a token is not UTF-8: " + problem.what());
  }
  write_text(join_path(folder, "tokenizer_config.json"), config_json(tokenizer).dump(1) + "\n");
}

Json word_level_json(const std::vector<std::string>& tokens, std::optional<int32_t> unknown) {
  // Hugging Face wants the name of an unknown-token. One that is not in the vocabulary makes an unknown word
  // an error there too.
  std::string unk_token = "<unk>";
  while (!unknown && std::find(tokens.begin(), tokens.end(), unk_token) != tokens.end())
    unk_token = "<" + unk_token + ">";
  if (unknown) unk_token = tokens[*unknown];
  return {{"type", "WordLevel"}, {"vocab", vocabulary_json(tokens)}, {"unk_token", unk_token}};
}

Json bpe_json(const std::vector<std::string>& tokens, Json merges, bool byte_fallback) {
  Json model{
      {"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr}};
  model["end_of_word_suffix"] = nullptr;
  model["fuse_unk"] = byte_fallback;
  model["byte_fallback"] = byte_fallback;
  model["ignore_merges"] = false;
  model["vocab"] = vocabulary_json(tokens);
  model["merges"] = std::move(merges);
  return model;
}

Json byte_level_json(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

Json split_json(const std::string& pattern) {
  return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
}

}  // namespace

void WordTokenizer::save(const std::string& folder) const {
  Steps steps;
  steps.pre_tokenizer = {{"type", "WhitespaceSplit"}};
  steps.model = word_level_json(words_, unknown_);
  write_files(*this, folder, added_tokens_json(specials, true),
              steps);  // without a decoder, words are joined by spaces
}

void CharTokenizer::save(const std::string& folder) const {
  Steps steps;
  steps.pre_tokenizer = split_json(R"([\s\S])");
  steps.decoder = {{"type", "Fuse"}};  // joins without spaces
  steps.model = word_level_json(characters_, unknown_);
  write_files(*this, folder, added_tokens_json(specials, true), steps);
}

void ByteBpe::save(const std::string& folder) const {
  std::vector<bool> is_added(parts_.tokens.size());
  for (const SpecialToken& special : parts_.specials) is_added[special.id] = true;
  for (const SpecialToken& fixed : parts_.fixed_words) is_added[fixed.id] = true;
  std::vector<std::string> letters;
  for (size_t id = 0; id < parts_.tokens.size(); id++) {
    letters.push_back(is_added[id] ? parts_.tokens[id] : bytes_to_letters(parts_.tokens[id]));
  }
  Json merges = Json::array();
  for (const auto& [left, right] : parts_.merges) merges.push_back(letters[left] + " " + letters[right]);

  Steps steps;
  if (parts_.needs_nfc) steps.normalizer = {{"type", "NFC"}};
  if (parts_.patterns ==
      std::vector<std::string>{kGpt2Pattern}) {  // the pattern that is built into ByteLevel
    steps.pre_tokenizer = byte_level_json(parts_.add_prefix_space, true);
  } else {
    Json sequence = Json::array();
    for (const std::string& pattern : parts_.patterns) sequence.push_back(split_json(pattern));
    sequence.push_back(byte_level_json(parts_.add_prefix_space, false));
    steps.pre_tokenizer = {{"type", "Sequence"}, {"pretokenizers", sequence}};
  }
  steps.decoder = byte_level_json(true, true);  // its settings have no effect on decoding
  steps.model = bpe_json(letters, std::move(merges), false);
  steps.model["ignore_merges"] = parts_.whole_words_first;
  Json added = added_tokens_json(parts_.specials, true);
  for (Json& fixed : added_tokens_json(parts_.fixed_words, false)) added.push_back(fixed);
  write_files(*this, folder, std::move(added), steps);
}

namespace {

// Merges as [["a", "b"], ...]: the form that allows spaces inside tokens.
Json merge_pairs_json(const MergeTable& table, const std::vector<std::string>& tokens) {
  Json merges = Json::array();
  for (const MergeTable::Merge& merge : table.sorted())
    merges.push_back({tokens[merge.left], tokens[merge.right]});
  return merges;
}

// " " in front, then every space as `space`; and back.
void add_sentencepiece_steps(Steps& steps, const std::string& space, bool add_prefix) {
  Json normalizers = Json::array(), decoders = Json::array();
  if (add_prefix) normalizers.push_back({{"type", "Prepend"}, {"prepend", space}});
  if (space != " ") {
    normalizers.push_back({{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", space}});
    decoders.push_back({{"type", "Replace"}, {"pattern", {{"String", space}}}, {"content", " "}});
  }
  steps.normalizer = {{"type", "Sequence"}, {"normalizers", normalizers}};
  decoders.push_back({{"type", "ByteFallback"}});
  decoders.push_back({{"type", "Fuse"}});
  if (add_prefix) decoders.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  steps.decoder = {{"type", "Sequence"}, {"decoders", decoders}};
}

}  // namespace

void SentencePiece::save(const std::string& folder) const {
  const auto refuse = [&](const char* what) {
    throw Error(folder + ": a SentencePiece model with " + what + " cannot be written as tokenizer.json");
  };
  if (parts_.remove_extra_whitespaces) refuse("remove_extra_whitespaces");
  if (has_unused_) refuse("unused pieces");
  if (!extra_characters_.empty()) refuse("characters that are not pieces themselves");
  std::vector<std::string> tokens;
  for (const Piece& piece : parts_.pieces) tokens.push_back(piece.text);
  Steps steps;
  add_sentencepiece_steps(steps, parts_.space, parts_.add_dummy_prefix);
  if (parts_.only_missing_prefix) {
    steps.normalizer = nullptr;
    steps.pre_tokenizer = {
        {"type", "Metaspace"}, {"replacement", parts_.space}, {"prepend_scheme", "always"}, {"split", false}};
  }
  steps.model = bpe_json(tokens, merge_pairs_json(merges_, tokens), parts_.byte_fallback);
  steps.model["fuse_unk"] = parts_.fuse_unk;
  if (parts_.unk >= 0) steps.model["unk_token"] = tokens[parts_.unk];
  Json added = added_tokens_json(specials, true);
  for (Json& token : added_tokens_json(user_defined_, false)) added.push_back(token);
  write_files(*this, folder, std::move(added), steps);
}

void Llama2cTokenizer::save(const std::string& folder) const {
  std::vector<std::string> tokens = pieces_;
  for (const auto& [text, id] : specials)
    tokens[id] = text;  // not "\n<s>\n": the name that everybody else uses
  Steps steps;
  add_sentencepiece_steps(steps, " ", true);
  steps.model = bpe_json(tokens, merge_pairs_json(merges_, tokens), true);
  write_files(*this, folder, added_tokens_json(specials, true), steps);
}

}  // namespace chalk
