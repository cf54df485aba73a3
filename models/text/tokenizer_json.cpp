// Reading tokenizer.json.
#include "models/text/tokenizer_json.h"

#include <nlohmann/json.hpp>
#include <unordered_map>

#include "autograd/check.h"
#include "models/io/json.h"
#include "models/text/byte_bpe.h"
#include "models/text/char_tokenizer.h"
#include "models/text/sentencepiece.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"
#include "models/text/vocabulary.h"
#include "models/text/word_tokenizer.h"

namespace chalk {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(const std::string& path, const std::string& field, const std::string& what) {
  throw FileError(path, field, what + " is not supported");
}

// object[key], or null if it is absent.
const json& child(const json& object, const std::string& key) {
  static const json null;
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

// The "type" of a step; "none" for a step that is left out.
std::string type_of(const json& step, const std::string& path, const std::string& field) {
  if (step.is_null()) return "none";
  check_object(step, path, field);
  return get_string(step, path, "type");
}

// The steps of a Sequence, or the one step that stands alone; none for null.
std::vector<const json*> steps_of(const json& step, const std::string& list, const std::string& path,
                                  const std::string& field) {
  std::vector<const json*> steps;
  const std::string type = type_of(step, path, field);
  if (type == "none") return steps;
  if (type != "Sequence") return {&step};
  const json& inner = child(step, list);
  if (!inner.is_array())
    throw FileError(path, field,
                    fmt::format("Sequence has {} of type {}, expected an array", list, inner.type_name()));
  for (const json& one : inner) {
    check_object(one, path, field);
    steps.push_back(&one);
  }
  return steps;
}

// What every kind of model needs from the file.
struct Contents {
  const std::string& path;
  const json& file;
  const json& model;
  std::vector<std::string> tokens;                  // by id, as written in the file
  std::unordered_map<std::string, int32_t> id_of;   // the inverse
  std::vector<SpecialToken> specials, fixed_words;  // added tokens, special or not
};

// model.vocab together with the added tokens, which may repeat it or go on behind it.
void read_vocabulary(Contents& contents) {
  const std::string& path = contents.path;
  json vocabulary = child(contents.model, "vocab");
  check_object(vocabulary, path, "model.vocab");
  const json& added = child(contents.file, "added_tokens");
  if (!added.is_null() && !added.is_array()) throw FileError(path, "added_tokens", "is not an array");
  for (const json& token : added) {
    check_object(token, path, "added_tokens");
    const std::string text = get_string(token, path, "content");
    const int64_t id = get_int(token, path, "id", 0, INT32_MAX);
    if (text.empty()) throw FileError(path, "added_tokens", "holds an empty token");
    const auto [known, is_new] = vocabulary.emplace(text, id);
    if (!is_new && *known != id) {
      throw FileError(
          path, "added_tokens",
          fmt::format("{} has id {} here and {} in the vocabulary", in_quotes(text), id, known->dump()));
    }
    const bool special = get_bool(token, path, "special", false);
    (special ? contents.specials : contents.fixed_words).push_back({text, int32_t(id)});
  }
  contents.tokens = parse_vocabulary(vocabulary, path, "vocabulary with added tokens");
  if (contents.tokens.empty()) throw FileError(path, "model.vocab", "is empty");
  for (size_t id = 0; id < contents.tokens.size(); id++) contents.id_of[contents.tokens[id]] = int32_t(id);
}

std::vector<std::pair<int32_t, int32_t>> read_merges(const Contents& contents) {
  const json& list = child(contents.model, "merges");
  if (!list.is_array())
    throw FileError(contents.path, "model.merges",
                    fmt::format("is of type {}, expected an array", list.type_name()));
  std::vector<std::pair<int32_t, int32_t>> merges;
  for (const json& merge : list) {
    const std::string field = fmt::format("model.merges[{}]", merges.size());
    if (merge.is_string()) {
      merges.push_back(
          parse_merge(merge.get_ref<const std::string&>(), contents.id_of, contents.path, field));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      const auto left = contents.id_of.find(merge[0]), right = contents.id_of.find(merge[1]);
      if (left == contents.id_of.end() || right == contents.id_of.end()) {
        throw FileError(contents.path, field, "holds a token that is not in the vocabulary");
      }
      merges.push_back({left->second, right->second});
    } else {
      throw FileError(contents.path, field, "is neither \"A B\" nor [\"A\", \"B\"]");
    }
  }
  return merges;
}

// The pattern of a Split: a regular expression, or a string to be taken literally.
std::string split_pattern(const json& split, const std::string& path) {
  const json& pattern = child(split, "pattern");
  check_object(pattern, path, "pre_tokenizer.pattern");
  if (pattern.contains("Regex")) return get_string(pattern, path, "Regex");
  std::string literal;
  for (const char c : get_string(pattern, path, "String")) {
    if (std::string_view("\\^$.[]|()?*+{}#-").find(c) != std::string_view::npos) literal += '\\';
    literal += c;
  }
  return literal;
}

// ---- byte-level BPE ----

bool is_byte_level(const Contents& contents) {
  for (const json* step :
       steps_of(child(contents.file, "pre_tokenizer"), "pretokenizers", contents.path, "pre_tokenizer")) {
    if (type_of(*step, contents.path, "pre_tokenizer") == "ByteLevel") return true;
  }
  return false;
}

void read_byte_level_steps(const Contents& contents, ByteBpeParts& parts) {
  const std::string& path = contents.path;
  const std::string normalizer = type_of(child(contents.file, "normalizer"), path, "normalizer");
  if (normalizer != "none" && normalizer != "NFC")
    refuse(path, "normalizer", normalizer + " with a byte-level model");
  parts.needs_nfc = normalizer == "NFC";
  const auto steps = steps_of(child(contents.file, "pre_tokenizer"), "pretokenizers", path, "pre_tokenizer");
  for (const json* step : steps) {
    const std::string type = type_of(*step, path, "pre_tokenizer");
    if (type == "Split") {
      if (get_string(*step, path, "behavior") != "Isolated" || get_bool(*step, path, "invert", false)) {
        refuse(path, "pre_tokenizer", "Split other than with behavior Isolated, not inverted,");
      }
      parts.patterns.push_back(split_pattern(*step, path));
    } else if (type == "Digits") {
      parts.patterns.push_back(get_bool(*step, path, "individual_digits", false) ? R"(\p{N})" : R"(\p{N}+)");
    } else if (type == "ByteLevel") {
      if (get_bool(*step, path, "use_regex", true)) parts.patterns.push_back(kGpt2Pattern);
      parts.add_prefix_space = get_bool(*step, path, "add_prefix_space", true);
    } else {
      refuse(path, "pre_tokenizer", type + " with a byte-level model");
    }
  }
  if (parts.add_prefix_space && steps.size() > 1)
    refuse(path, "pre_tokenizer", "add_prefix_space after another step");
}

std::unique_ptr<Tokenizer> make_byte_bpe(const Contents& contents) {
  ByteBpeParts parts;
  parts.specials = contents.specials;
  parts.fixed_words = contents.fixed_words;
  for (const std::string& letters : contents.tokens)
    parts.tokens.push_back(letters_to_token(letters, contents.path));
  for (const auto* list : {&contents.specials, &contents.fixed_words}) {
    for (const SpecialToken& added : *list) parts.tokens[added.id] = added.text;  // not in the byte alphabet
  }
  parts.merges = read_merges(contents);
  parts.whole_words_first = get_bool(contents.model, contents.path, "ignore_merges", false);
  read_byte_level_steps(contents, parts);
  return std::make_unique<ByteBpe>(std::move(parts), contents.path);
}

// ---- SentencePiece-like BPE ----

// Prepend and Replace, as the LLaMA family has them.
void read_space_normalizer(const Contents& contents, SentencePieceParts& parts) {
  const std::string& path = contents.path;
  parts.space = " ";
  for (const json* step : steps_of(child(contents.file, "normalizer"), "normalizers", path, "normalizer")) {
    const std::string type = type_of(*step, path, "normalizer");
    if (type == "Prepend") {
      parts.add_dummy_prefix = true;
      if (get_string(*step, path, "prepend") != "\u2581" && get_string(*step, path, "prepend") != " ") {
        refuse(path, "normalizer", "Prepend of anything but a space");
      }
    } else if (type == "Replace" && child(*step, "pattern") == json{{"String", " "}} &&
               get_string(*step, path, "content") == "\u2581") {
      parts.space = "\u2581";
    } else {
      refuse(path, "normalizer", type + " (other than of a space by \"\u2581\")");
    }
  }
}

void read_metaspace(const Contents& contents, const json& step, SentencePieceParts& parts) {
  const std::string& path = contents.path;
  if (get_bool(step, path, "split", true)) refuse(path, "pre_tokenizer", "Metaspace with split");
  parts.space = get_string(step, path, "replacement");
  if (parts.space != "\u2581")
    refuse(path, "pre_tokenizer", "Metaspace with a replacement other than \"\u2581\"");
  const std::string scheme = get_string(step, path, "prepend_scheme",
                                        get_bool(step, path, "add_prefix_space", true) ? "always" : "never");
  parts.add_dummy_prefix = parts.only_missing_prefix = scheme != "never";
}

std::unique_ptr<Tokenizer> make_sentencepiece(const Contents& contents) {
  const std::string& path = contents.path;
  SentencePieceParts parts;
  parts.has_merges = true;
  parts.add_dummy_prefix = false;
  parts.byte_fallback = get_bool(contents.model, path, "byte_fallback", false);
  parts.fuse_unk = get_bool(contents.model, path, "fuse_unk", false);
  read_space_normalizer(contents, parts);
  const json& pre_tokenizer = child(contents.file, "pre_tokenizer");
  const std::string type = type_of(pre_tokenizer, path, "pre_tokenizer");
  if (type == "Metaspace") {
    read_metaspace(contents, pre_tokenizer, parts);
  } else if (type != "none") {
    refuse(path, "pre_tokenizer", type + " with a BPE model that is not byte-level");
  }

  for (const std::string& token : contents.tokens) parts.pieces.push_back({token, 0, PieceType::Normal});
  if (parts.byte_fallback) {
    for (int byte = 0; byte < 256; byte++) {
      const auto piece = contents.id_of.find(fmt::format("<0x{:02X}>", byte));
      if (piece != contents.id_of.end()) parts.pieces[piece->second].type = PieceType::Byte;
    }
  }
  for (const SpecialToken& fixed : contents.fixed_words) parts.pieces[fixed.id].type = PieceType::UserDefined;
  for (const SpecialToken& special : contents.specials) parts.pieces[special.id].type = PieceType::Control;
  const json& unk_token = child(contents.model, "unk_token");
  if (!unk_token.is_null()) {
    const auto unk = contents.id_of.find(get_string(contents.model, path, "unk_token"));
    if (unk == contents.id_of.end()) throw FileError(path, "model.unk_token", "is not in the vocabulary");
    parts.unk = unk->second;
    parts.pieces[parts.unk].type = PieceType::Unknown;
  }
  parts.merges = read_merges(contents);
  return std::make_unique<SentencePiece>(std::move(parts), path);
}

std::unique_ptr<Tokenizer> make_bpe(const Contents& contents) {
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!get_string(contents.model, contents.path, key, "").empty()) refuse(contents.path, "model", key);
  }
  if (get_number(contents.model, contents.path, "dropout", 0, 1, 0) > 0)
    refuse(contents.path, "model", "dropout");
  return is_byte_level(contents) ? make_byte_bpe(contents) : make_sentencepiece(contents);
}

// ---- words and characters ----

std::unique_ptr<Tokenizer> make_word_level(const Contents& contents) {
  const std::string& path = contents.path;
  if (!child(contents.file, "normalizer").is_null())
    refuse(path, "normalizer", "a normalizer with a WordLevel model");
  if (!contents.fixed_words.empty())
    refuse(path, "added_tokens", "a token that is not special, with a WordLevel model,");
  std::optional<int32_t> unknown;
  const auto unk = contents.id_of.find(get_string(contents.model, path, "unk_token", "<unk>"));
  if (unk != contents.id_of.end()) unknown = unk->second;
  const json& pre_tokenizer = child(contents.file, "pre_tokenizer");
  const std::string type = type_of(pre_tokenizer, path, "pre_tokenizer");
  if (type == "WhitespaceSplit")
    return std::make_unique<WordTokenizer>(contents.tokens, contents.specials, unknown, path);
  if (type != "Split")
    refuse(path, "pre_tokenizer",
           type + " with a WordLevel model (expected WhitespaceSplit, or Split into characters)");
  const std::string pattern = split_pattern(pre_tokenizer, path);
  if (pattern != R"([\s\S])" && pattern != "(?s)." && pattern != "(?s:.)" && !pattern.empty()) {
    refuse(path, "pre_tokenizer", "Split with a WordLevel model, other than into single characters,");
  }
  std::vector<SpecialToken> specials = contents.specials;
  if (unknown && contents.tokens[*unknown].size() > 1)
    specials.push_back({contents.tokens[*unknown], *unknown});
  return std::make_unique<CharTokenizer>(contents.tokens, specials, unknown, path);
}

// ---- who is BOS ----

// A TemplateProcessing that begins with a special token puts it in front of every text: that is BOS.
void read_template(const Contents& contents, Tokenizer& tokenizer) {
  const std::string& path = contents.path;
  tokenizer.add_bos = false;
  for (const json* step :
       steps_of(child(contents.file, "post_processor"), "processors", path, "post_processor")) {
    if (type_of(*step, path, "post_processor") != "TemplateProcessing") continue;
    const json& single = child(*step, "single");
    if (!single.is_array() || single.empty())
      throw FileError(path, "post_processor.single", "is not an array with something in it");
    const json& special = single[0].is_object() ? child(single[0], "SpecialToken") : single[0];
    if (!special.is_object()) continue;
    const auto id = contents.id_of.find(get_string(special, path, "id"));
    if (id == contents.id_of.end())
      throw FileError(path, "post_processor.single", "names a token that is not in the vocabulary");
    tokenizer.bos = id->second;
    tokenizer.add_bos = true;
  }
}

}  // namespace

std::unique_ptr<Tokenizer> parse_tokenizer_json(std::string_view text, const std::string& path) {
  const json file = parse_json(text, path);
  check_object(file, path, "");
  const json& model = child(file, "model");
  check_object(model, path, "model");
  Contents contents{path, file, model, {}, {}, {}, {}};
  const std::string type = get_string(model, path, "type");
  if (type != "BPE" && type != "WordLevel")
    refuse(path, "model", "type " + in_quotes(type) + " (expected BPE or WordLevel)");
  read_vocabulary(contents);
  auto tokenizer = type == "BPE" ? make_bpe(contents) : make_word_level(contents);
  name_special_roles(*tokenizer);
  read_template(contents, *tokenizer);
  return tokenizer;
}

}  // namespace chalk
