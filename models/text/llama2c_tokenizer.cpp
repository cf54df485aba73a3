// llama2.c's tokenizer.bin.
#include "models/text/llama2c_tokenizer.h"

#include <bit>
#include <cmath>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/sentencepiece.h"
#include "models/text/utf8.h"

namespace chalk {
namespace {

constexpr int32_t kBos = 1, kEos = 2, kFirstByte = 3, kFirstPiece = 259;
constexpr size_t kLongestPiece = 512;  // bytes; keeps the time to index a hostile file within reason
constexpr int32_t kNoPiece = 0x7FFFFFFF;

uint32_t read_u32(std::string_view& rest, const std::string& path, const std::string& field) {
  if (rest.size() < 4)
    throw FileError(path, field, fmt::format("is truncated: 4 bytes wanted, {} left", rest.size()));
  uint32_t value = 0;
  for (int i = 3; i >= 0; i--) value = value << 8 | uint8_t(rest[i]);  // little-endian
  rest.remove_prefix(4);
  return value;
}

}  // namespace

Llama2cTokenizer::Llama2cTokenizer(std::vector<std::string> pieces, std::vector<float> scores,
                                   const std::string& path)
    : pieces_(std::move(pieces)), scores_(std::move(scores)) {
  if (vocab_size() < kFirstPiece) {
    throw FileError(path, "",
                    fmt::format("holds {} pieces, expected at least {}", vocab_size(), kFirstPiece));
  }
  for (int32_t id = 0; id < vocab_size(); id++) {
    const std::string field = fmt::format("piece {}", id);
    const std::string& piece = pieces_[id];
    if (piece.empty() || piece.size() > kLongestPiece) {
      throw FileError(path, field,
                      fmt::format("has {} bytes, expected 1 to {}", piece.size(), kLongestPiece));
    }
    if (find_invalid_utf8(piece) < piece.size())
      throw FileError(path, field, in_quotes(piece) + " is not UTF-8");
    if (!std::isfinite(scores_[id]))
      throw FileError(path, field, fmt::format("has score {}, expected a finite number", scores_[id]));
    if (id >= kFirstByte && id < kFirstPiece && piece != fmt::format("<0x{:02X}>", id - kFirstByte)) {
      throw FileError(path, field,
                      fmt::format("is {}, expected <0x{:02X}>", in_quotes(piece), id - kFirstByte));
    }
    const auto [same, is_new] = id_of_.emplace(piece, id);
    if (!is_new)
      throw FileError(path, field, fmt::format("{} is also piece {}", in_quotes(piece), same->second));
  }
  merges_ = merges_from_scores(pieces_, scores_, std::vector<bool>(pieces_.size(), true), id_of_);
  bos = kBos, eos = kEos, add_bos = true;
  specials = {{"<s>", kBos}, {"</s>", kEos}};
}

std::vector<int32_t> Llama2cTokenizer::encode(std::string_view text) const {
  check_utf8(text);
  if (text.empty()) return {};
  const std::string spaced = " " + std::string(text);  // the dummy prefix
  std::vector<int32_t> ids;
  for (const std::string_view character : split_characters(spaced)) {
    const auto piece = id_of_.find(std::string(character));
    if (piece != id_of_.end()) {
      ids.push_back(piece->second);
    } else {
      for (const char byte : character) ids.push_back(kFirstByte + uint8_t(byte));
    }
  }
  merge_fast(ids, merges_);
  return ids;
}

std::string Llama2cTokenizer::token(int32_t id) const {
  check_id(*this, id);
  return id >= kFirstByte && id < kFirstPiece ? std::string(1, char(id - kFirstByte)) : pieces_[id];
}

std::string Llama2cTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  bool at_start = true;
  for (const int32_t id : ids) {
    const std::string piece = token(id);
    if (id == kBos || id == kEos) {
      at_start = id == kBos;
      continue;
    }
    text += at_start && piece[0] == ' ' && id >= kFirstPiece ? piece.substr(1) : piece;
    at_start = false;
  }
  return text;
}

std::unique_ptr<Llama2cTokenizer> parse_llama2c_tokenizer(std::string_view bytes, const std::string& path) {
  const uint32_t longest = read_u32(bytes, path, "header");
  std::vector<std::string> pieces;
  std::vector<float> scores;
  while (!bytes.empty()) {
    const std::string field = fmt::format("piece {}", pieces.size());
    scores.push_back(std::bit_cast<float>(read_u32(bytes, path, field)));
    const uint32_t length = read_u32(bytes, path, field);
    if (length > longest)
      throw FileError(path, field,
                      fmt::format("has {} bytes, but the header says at most {}", length, longest));
    if (length > bytes.size())
      throw FileError(path, field,
                      fmt::format("is truncated: {} bytes wanted, {} left", length, bytes.size()));
    pieces.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return std::make_unique<Llama2cTokenizer>(std::move(pieces), std::move(scores), path);
}

std::unique_ptr<Llama2cTokenizer> load_llama2c_tokenizer(const std::string& path) {
  const MappedFile file(path);
  return parse_llama2c_tokenizer({reinterpret_cast<const char*>(file.data), file.size}, path);
}

}  // namespace chalk
