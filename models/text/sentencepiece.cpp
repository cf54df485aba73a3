// SentencePiece's BPE encoder and decoder.
#include "models/text/sentencepiece.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/check.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"

namespace chalk {
namespace {

const std::string kReplacement = "\uFFFD";  // what a byte that makes no character decodes to
constexpr size_t kLongestPiece = 512;       // bytes; keeps the time to index a hostile file within reason
constexpr int32_t kUnknownCharacter = 0x7FFFFFFF;  // symbol of a character that no piece contains

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != std::string_view::npos; at = hit + from.size()) {
    out += text.substr(at, hit - at);
    out += to;
  }
  return out += text.substr(at);
}

// "<0x0A>" -> 10; -1 for anything else.
int byte_of_piece(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  const std::string_view digits = "0123456789ABCDEF";
  const size_t high = digits.find(text[3]), low = digits.find(text[4]);
  return high == std::string_view::npos || low == std::string_view::npos ? -1 : int(16 * high + low);
}

// Whether a space stands elsewhere than in the run at the beginning of the piece. If no piece is like that,
// no merge crosses from the end of one word into the space before the next, and words can be merged one by
// one.
bool has_inner_space(const std::string& piece, const std::string& space) {
  size_t i = 0;
  while (piece.compare(i, space.size(), space) == 0) i += space.size();
  return piece.find(space, i) != std::string::npos;
}

}  // namespace

MergeTable merges_from_scores(const std::vector<std::string>& texts, const std::vector<float>& scores,
                              const std::vector<bool>& target,
                              const std::unordered_map<std::string, int32_t>& symbol_of) {
  std::map<float, int32_t, std::greater<float>> rank_of;
  for (const float score : scores) rank_of[score] = 0;
  int32_t rank = 0;
  for (auto& entry : rank_of) entry.second = rank++;

  MergeTable merges;
  for (size_t id = 0; id < texts.size(); id++) {
    if (!target[id]) continue;
    const std::string& text = texts[id];
    for (size_t cut = next_code_point(text).length; cut < text.size();
         cut += next_code_point(std::string_view(text).substr(cut)).length) {
      const auto left = symbol_of.find(text.substr(0, cut));
      if (left == symbol_of.end()) continue;
      const auto right = symbol_of.find(text.substr(cut));
      if (right == symbol_of.end()) continue;
      merges.insert({left->second, right->second, rank_of[scores[id]], int32_t(id)});
    }
  }
  return merges;
}

// ---- construction ----

SentencePiece::SentencePiece(SentencePieceParts parts, const std::string& path) : parts_(std::move(parts)) {
  index_pieces(path);
  parts_.has_merges ? index_given_merges(path) : index_score_merges();
  const auto role = [&](int32_t id, const char* name) -> std::optional<int32_t> {
    if (id >= vocab_size()) {
      throw FileError(path, name, fmt::format("is piece {}, expected less than {}", id, vocab_size()));
    }
    return id < 0 ? std::nullopt : std::optional(id);
  };
  role(parts_.unk, "unk_id");
  bos = role(parts_.bos, "bos_id");
  eos = role(parts_.eos, "eos_id");
  pad = role(parts_.pad, "pad_id");
  add_bos = bos.has_value();
}

void SentencePiece::index_pieces(const std::string& path) {
  std::unordered_map<std::string_view, int32_t> seen;
  std::fill_n(byte_ids_, 256, -1);
  for (int32_t id = 0; id < vocab_size(); id++) {
    const auto& [text, score, type] = parts_.pieces[id];
    const std::string field = fmt::format("piece {}", id);
    if (text.empty() || text.size() > kLongestPiece) {
      throw FileError(path, field, fmt::format("has {} bytes, expected 1 to {}", text.size(), kLongestPiece));
    }
    if (find_invalid_utf8(text) < text.size())
      throw FileError(path, field, in_quotes(text) + " is not UTF-8");
    if (!std::isfinite(score))
      throw FileError(path, field, fmt::format("has score {}, expected a finite number", score));
    const auto [same, is_new] = seen.emplace(text, id);
    if (!is_new)
      throw FileError(path, field, fmt::format("{} is also piece {}", in_quotes(text), same->second));
    if (type == PieceType::Byte) {
      const int byte = byte_of_piece(text);
      if (byte < 0)
        throw FileError(path, field, "a byte piece is written <0x00> to <0xFF>, got " + in_quotes(text));
      byte_ids_[byte] = id;
    }
    if (type == PieceType::Control) specials.push_back({text, id});
    if (type == PieceType::UserDefined) user_defined_.push_back({text, id});
    if (type == PieceType::Unused) has_unused_ = true;
    if (type == PieceType::Normal || type == PieceType::Unused || type == PieceType::UserDefined)
      symbol_of_[text] = id;
    if (has_inner_space(text, parts_.space)) merges_cross_words_ = true;
  }
  if (parts_.byte_fallback) {
    const auto missing = std::find(byte_ids_, byte_ids_ + 256, -1);
    if (missing != byte_ids_ + 256) {
      throw FileError(path, "byte fallback", fmt::format("piece <0x{:02X}> is missing", missing - byte_ids_));
    }
  }
}

void SentencePiece::index_score_merges() {
  std::vector<std::string> texts;
  std::vector<float> scores;
  std::vector<bool> target;
  for (const Piece& piece : parts_.pieces) {
    texts.push_back(piece.text);
    scores.push_back(piece.score);
    target.push_back(piece.type == PieceType::Normal || piece.type == PieceType::Unused ||
                     piece.type == PieceType::UserDefined);
  }
  for (int32_t id = 0; id < vocab_size(); id++) {
    if (!target[id]) continue;
    for (const std::string_view character : split_characters(parts_.pieces[id].text)) {
      const auto [symbol, is_new] =
          symbol_of_.emplace(character, int32_t(vocab_size() + extra_characters_.size()));
      if (is_new) extra_characters_.emplace_back(character);
    }
  }
  merges_ = merges_from_scores(texts, scores, target, symbol_of_);
}

void SentencePiece::index_given_merges(const std::string& path) {
  for (size_t rank = 0; rank < parts_.merges.size(); rank++) {
    const auto [left, right] = parts_.merges[rank];
    const std::string field = fmt::format("merge {}", rank);
    if (left < 0 || right < 0 || left >= vocab_size() || right >= vocab_size()) {
      throw FileError(path, field,
                      fmt::format("pieces {} {}, expected 0 to {}", left, right, vocab_size() - 1));
    }
    const std::string text = parts_.pieces[left].text + parts_.pieces[right].text;
    const auto merged = symbol_of_.find(text);
    if (merged == symbol_of_.end())
      throw FileError(path, field, "gives " + in_quotes(text) + ", which is not a piece");
    if (!merges_.insert({left, right, int32_t(rank), merged->second}))
      throw FileError(path, field, "is there twice");
  }
}

// ---- encoding ----

std::string SentencePiece::normalize(std::string_view text) const {
  std::string spaced(text);
  if (parts_.remove_extra_whitespaces) {
    const auto both_spaces = [](char a, char b) { return a == ' ' && b == ' '; };
    spaced.erase(std::unique(spaced.begin(), spaced.end(), both_spaces), spaced.end());
    if (spaced.starts_with(' ')) spaced.erase(0, 1);
    if (spaced.ends_with(' ')) spaced.pop_back();
  }
  spaced = replace_all(spaced, " ", parts_.space);
  const bool has_prefix = parts_.only_missing_prefix && spaced.starts_with(parts_.space);
  return spaced.empty() || !parts_.add_dummy_prefix || has_prefix ? spaced : parts_.space + spaced;
}

std::vector<std::string_view> SentencePiece::words(std::string_view stretch) const {
  if (merges_cross_words_) return {stretch};
  std::vector<std::string_view> words;
  while (!stretch.empty()) {
    size_t end = 0;
    while (stretch.substr(end).starts_with(parts_.space)) end += parts_.space.size();
    end = std::min(stretch.find(parts_.space, end), stretch.size());
    words.push_back(stretch.substr(0, end));
    stretch.remove_prefix(end);
  }
  return words;
}

void SentencePiece::encode_word(std::string_view word, std::vector<int32_t>& ids) const {
  std::vector<int32_t> symbols;
  for (const std::string_view character : split_characters(word)) {
    const auto known = symbol_of_.find(std::string(character));
    symbols.push_back(known == symbol_of_.end() ? kUnknownCharacter : known->second);
  }
  Splits splits;
  has_unused_ ? merge_with_heap(symbols, merges_, &splits) : merge_fast(symbols, merges_);
  for (const int32_t symbol : symbols) {
    size_t length;
    if (symbol < vocab_size()) {
      length = parts_.pieces[symbol].text.size();
      append_symbol(symbol, splits, ids);
    } else {
      length = next_code_point(word).length;
      append_fallback(word.substr(0, length), ids);
    }
    word.remove_prefix(length);
  }
}

// An unused piece may be a step on the way to a longer one, but not a result: it is taken apart again.
void SentencePiece::append_symbol(int32_t symbol, const Splits& splits, std::vector<int32_t>& ids) const {
  if (symbol >= vocab_size()) return append_fallback(extra_characters_[symbol - vocab_size()], ids);
  const auto split = splits.find(symbol);
  if (parts_.pieces[symbol].type != PieceType::Unused || split == splits.end()) {
    ids.push_back(symbol);
  } else {
    append_symbol(split->second.first, splits, ids);
    append_symbol(split->second.second, splits, ids);
  }
}

void SentencePiece::append_fallback(std::string_view character, std::vector<int32_t>& ids) const {
  if (parts_.byte_fallback) {
    for (const char byte : character) ids.push_back(byte_ids_[uint8_t(byte)]);
  } else if (parts_.unk < 0) {
    throw UsageError(fmt::format("character {} is not in the vocabulary, which has no <unk> either",
                                 in_quotes(character)));
  } else if (!parts_.fuse_unk || ids.empty() || ids.back() != parts_.unk) {
    ids.push_back(parts_.unk);
  }
}

std::vector<int32_t> SentencePiece::encode(std::string_view text) const {
  check_utf8(text);
  std::vector<int32_t> ids;
  const auto encode_stretches = [&](std::string_view part, bool normalize_each) {
    for (const TextStretch& stretch : split_at_specials(part, user_defined_)) {
      if (stretch.id >= 0) {
        ids.push_back(stretch.id);
        continue;
      }
      const std::string normalized = normalize_each ? normalize(stretch.text) : std::string(stretch.text);
      for (const std::string_view word : words(normalized)) encode_word(word, ids);
    }
  };
  parts_.has_merges ? encode_stretches(text, true) : encode_stretches(normalize(text), false);
  return ids;
}

// ---- decoding ----

std::string SentencePiece::token(int32_t id) const {
  check_id(*this, id);
  const Piece& piece = parts_.pieces[id];
  if (piece.type == PieceType::Byte) return std::string(1, char(byte_of_piece(piece.text)));
  return replace_all(piece.text, parts_.space, " ");
}

// Bytes that stand side by side are decoded together; those that do not form a character become U+FFFD, one
// for each byte.
static void append_bytes(std::string& text, std::string& bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = next_code_point(std::string_view(bytes).substr(i));
    text += c.value < 0 ? kReplacement : bytes.substr(i, c.length);
    i += c.length;
  }
  bytes.clear();
}

std::string SentencePiece::decode(const std::vector<int32_t>& ids) const {
  std::string text, bytes;
  // The dummy prefix may still come: nothing but control pieces so far.
  bool at_start = parts_.add_dummy_prefix || parts_.remove_extra_whitespaces;
  for (const int32_t id : ids) {
    const std::string piece = token(id);
    const PieceType type = parts_.pieces[id].type;
    if (type == PieceType::Byte) {
      bytes += piece;
      continue;
    }
    append_bytes(text, bytes);
    if (type == PieceType::Control) continue;
    at_start = at_start && text.empty();
    if (type == PieceType::Unknown) {
      text += parts_.unk_surface;
    } else if (at_start && piece.starts_with(' ')) {
      text += std::string_view(piece).substr(1);
      at_start = parts_.remove_extra_whitespaces;  // then all leading spaces go
    } else {
      text += piece;
    }
  }
  append_bytes(text, bytes);
  return text;
}

}  // namespace chalk
