// Byte-level BPE: encoding, decoding, GPT-2's pair of files.
#include "models/text/byte_bpe.h"

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/json.h"
#include "models/text/byte_alphabet.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"
#include "models/text/vocabulary.h"

namespace chalk {
namespace {

constexpr size_t kLongestCachedWord = 64;  // bytes; longer words hardly ever come twice
constexpr size_t kMostCachedWords = 1 << 16;

// Characters that Unicode's composition (NFC) may change, or join with the one before: combining marks,
// Hangul vowels and final consonants, and the characters that have a canonical form different from
// themselves.
const char* const kNotSafelyComposed =
    R"([\p{M}\x{1160}-\x{11FF}\x{374}\x{37E}\x{387}\x{958}-\x{95F}\x{9DC}-\x{9DF})"
    R"(\x{A33}\x{A36}\x{A59}-\x{A5E})"
    R"(\x{B5C}\x{B5D}\x{F43}-\x{F69}\x{1F71}-\x{1FFD}\x{2000}\x{2001})"
    R"(\x{2126}\x{212A}\x{212B}\x{2329}\x{232A}\x{2ADC})"
    R"(\x{F900}-\x{FAFF}\x{FB1D}-\x{FB4E}\x{1D15E}-\x{1D1C0}\x{2F800}-\x{2FA1F}])";

void check_composed(std::string_view text) {
  static const Pretokenizer pattern(kNotSafelyComposed);
  if (pattern.occurs_in(text)) {
    throw UsageError(
        "this tokenizer wants text in Unicode's composed form (NFC), and the text holds a combining mark or "
        "another character that composition may change; Chalk does not compose: use plain characters");
  }
}

}  // namespace

// Words that were encoded before: text is mostly the same few thousand words again.
struct ByteBpe::WordCache {
  std::mutex mutex;
  std::unordered_map<std::string_view, std::pair<const int32_t*, size_t>> ids_of;  // word -> its ids
  std::vector<std::unique_ptr<char[]>> words;                                      // what the keys point to
  std::vector<std::unique_ptr<int32_t[]>> ids;                                     // what the values point to

  void remember(std::string_view word, const std::vector<int32_t>& word_ids) {
    if (word.size() > kLongestCachedWord) return;
    if (words.size() >= kMostCachedWords) {
      ids_of.clear();
      words.clear();
      ids.clear();
    }
    words.push_back(std::make_unique<char[]>(word.size()));
    ids.push_back(std::make_unique<int32_t[]>(word_ids.size()));
    std::copy(word.begin(), word.end(), words.back().get());
    std::copy(word_ids.begin(), word_ids.end(), ids.back().get());
    ids_of[{words.back().get(), word.size()}] = {ids.back().get(), word_ids.size()};
  }
};

ByteBpe::ByteBpe(ByteBpeParts parts, const std::string& path)
    : parts_(std::move(parts)), cache_(std::make_shared<WordCache>()) {
  specials = parts_.specials;
  index_tokens(path);
  index_merges(path);
  for (const std::string& pattern : parts_.patterns)
    pretokenizers_.emplace_back(pattern, path, "pre_tokenizer");
}

void ByteBpe::check_special(const SpecialToken& special, const std::string& path) const {
  const std::string field = "special token " + in_quotes(special.text);
  if (special.text.empty()) throw FileError(path, field, "is empty");
  if (special.id < 0 || special.id >= vocab_size()) {
    throw FileError(path, field, fmt::format("id {}, expected 0 to {}", special.id, vocab_size() - 1));
  }
}

void ByteBpe::index_tokens(const std::string& path) {
  std::vector<bool> is_special(parts_.tokens.size());
  for (const std::vector<SpecialToken>* list : {&parts_.specials, &parts_.fixed_words}) {
    for (const SpecialToken& special : *list) {
      check_special(special, path);
      is_special[special.id] = true;
    }
  }
  byte_ids_.fill(-1);
  for (int32_t id = 0; id < vocab_size(); id++) {
    const std::string& bytes = parts_.tokens[id];
    if (is_special[id]) continue;
    const auto [same, is_new] = id_of_.emplace(bytes, id);
    if (!is_new)
      throw FileError(path, "vocabulary",
                      fmt::format("tokens {} and {} are both {}", same->second, id, in_quotes(bytes)));
    if (bytes.size() == 1) byte_ids_[uint8_t(bytes[0])] = id;
  }
}

void ByteBpe::index_merges(const std::string& path) {
  for (size_t rank = 0; rank < parts_.merges.size(); rank++) {
    const auto [left, right] = parts_.merges[rank];
    const std::string field = fmt::format("merge {}", rank);
    if (left < 0 || right < 0 || left >= vocab_size() || right >= vocab_size()) {
      throw FileError(path, field, fmt::format("ids {} {}, expected 0 to {}", left, right, vocab_size() - 1));
    }
    const std::string bytes = parts_.tokens[left] + parts_.tokens[right];
    const auto merged = id_of_.find(bytes);
    if (merged == id_of_.end())
      throw FileError(path, field, "gives " + in_quotes(bytes) + ", which is not in the vocabulary");
    if (!merges_.insert({left, right, int32_t(rank), merged->second}))
      throw FileError(path, field, "is there twice");
  }
}

std::vector<std::string_view> ByteBpe::words(std::string_view text) const {
  std::vector<std::string_view> pieces;
  if (!text.empty()) pieces.push_back(text);
  for (const Pretokenizer& pretokenizer : pretokenizers_) {
    if (pieces.size() == 1) {  // the first pattern sees the whole text: no copy
      pieces = pretokenizer.split(pieces[0]);
      continue;
    }
    std::vector<std::string_view> finer;
    for (const std::string_view piece : pieces) {
      for (const std::string_view part : pretokenizer.split(piece)) finer.push_back(part);
    }
    pieces = std::move(finer);
  }
  return pieces;
}

std::vector<int32_t> ByteBpe::bytes_to_ids(std::string_view word) const {
  std::vector<int32_t> ids(word.size());
  for (size_t i = 0; i < word.size(); i++) {
    ids[i] = byte_ids_[uint8_t(word[i])];
    if (ids[i] < 0) {
      throw UsageError(fmt::format("cannot encode {}: byte 0x{:02x} is not in the vocabulary",
                                   in_quotes(word), uint8_t(word[i])));
    }
  }
  return ids;
}

std::vector<int32_t> ByteBpe::encode_word_naive(std::string_view word) const {
  std::vector<int32_t> ids = bytes_to_ids(word);
  merge_naive(ids, merges_);
  return ids;
}

std::vector<int32_t> ByteBpe::encode_word(std::string_view word) const {
  if (parts_.whole_words_first) {
    const auto whole = id_of_.find(word);
    if (whole != id_of_.end()) return {whole->second};
  }
  std::vector<int32_t> ids = bytes_to_ids(word);
  merge_fast(ids, merges_);
  return ids;
}

std::vector<int32_t> ByteBpe::encode(std::string_view text) const {
  check_utf8(text);
  if (parts_.needs_nfc) check_composed(text);
  std::string with_space;
  if (parts_.add_prefix_space && !text.empty() && text[0] != ' ') {
    with_space = " " + std::string(text);
    text = with_space;
  }
  std::vector<int32_t> ids;
  ids.reserve(text.size() / 3);
  const std::lock_guard lock(cache_->mutex);
  for (const TextStretch& stretch : split_at_specials(text, parts_.fixed_words)) {
    stretch.id >= 0 ? ids.push_back(stretch.id) : encode_stretch(stretch.text, ids);
  }
  return ids;
}

void ByteBpe::encode_stretch(std::string_view text, std::vector<int32_t>& ids) const {
  for (const std::string_view word : words(text)) {
    const auto known = cache_->ids_of.find(word);
    if (known != cache_->ids_of.end()) {
      const auto [first, count] = known->second;
      ids.insert(ids.end(), first, first + count);
    } else {
      const std::vector<int32_t> word_ids = encode_word(word);
      ids.insert(ids.end(), word_ids.begin(), word_ids.end());
      cache_->remember(word, word_ids);
    }
  }
}

std::string ByteBpe::token(int32_t id) const {
  check_id(*this, id);
  return parts_.tokens[id];
}

std::string ByteBpe::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) {
    check_id(*this, id);
    text += parts_.tokens[id];
  }
  return text;
}

// ---- GPT-2's pair of files ----

namespace {

// The lines "A B" of merges.txt, after an optional "#version" line; ids by way of the letters.
std::vector<std::pair<int32_t, int32_t>> parse_merge_lines(
    std::string_view text, const std::string& path, const std::unordered_map<std::string, int32_t>& id_of) {
  std::vector<std::pair<int32_t, int32_t>> merges;
  int64_t number = 0;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    number++;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || (number == 1 && line.starts_with("#version"))) continue;
    merges.push_back(parse_merge(line, id_of, path, fmt::format("line {}", number)));
  }
  return merges;
}

}  // namespace

std::unique_ptr<ByteBpe> parse_gpt2_bpe(std::string_view vocab_json, const std::string& vocab_path,
                                        std::string_view merges, const std::string& merges_path) {
  const std::vector<std::string> letters =
      parse_vocabulary(parse_json(vocab_json, vocab_path), vocab_path, "");
  ByteBpeParts parts;
  std::unordered_map<std::string, int32_t> id_of;
  for (int32_t id = 0; id < int32_t(letters.size()); id++) {
    if (letters[id] == "<|endoftext|>") parts.specials.push_back({letters[id], id});
    parts.tokens.push_back(letters_to_token(letters[id], vocab_path));
    id_of[letters[id]] = id;
  }
  parts.merges = parse_merge_lines(merges, merges_path, id_of);
  parts.patterns = {kGpt2Pattern};
  auto tokenizer = std::make_unique<ByteBpe>(std::move(parts), merges_path);
  name_special_roles(*tokenizer);
  return tokenizer;
}

std::unique_ptr<ByteBpe> load_gpt2_bpe(const std::string& vocab_path, const std::string& merges_path) {
  return parse_gpt2_bpe(read_text(vocab_path), vocab_path, read_text(merges_path), merges_path);
}

}  // namespace chalk
