// One character, one token.
#include "models/text/char_tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "autograd/check.h"
#include "models/io/json.h"
#include "models/text/special_tokens.h"
#include "models/text/utf8.h"
#include "models/text/vocabulary.h"

namespace chalk {

CharTokenizer::CharTokenizer(std::vector<std::string> characters, std::vector<SpecialToken> special_tokens,
                             std::optional<int32_t> unknown, const std::string& path)
    : characters_(std::move(characters)), unknown_(unknown) {
  specials = std::move(special_tokens);
  for (int32_t id = 0; id < vocab_size(); id++) {
    const std::string& token = characters_[id];
    const bool is_special = std::any_of(specials.begin(), specials.end(),
                                        [&](const SpecialToken& special) { return special.id == id; });
    if (is_special) continue;
    const CodePoint c = token.empty() ? CodePoint{-1, 1} : next_code_point(token);
    if (c.value < 0 || size_t(c.length) != token.size()) {
      throw FileError(path, fmt::format("token {}", id), in_quotes(token) + " is not one character");
    }
    const auto [same, is_new] = id_of_.emplace(c.value, id);
    if (!is_new)
      throw FileError(path, fmt::format("token {}", id),
                      fmt::format("{} is also token {}", in_quotes(token), same->second));
  }
  name_special_roles(*this);
}

std::vector<int32_t> CharTokenizer::encode(std::string_view text) const {
  check_utf8(text);
  std::vector<int32_t> ids;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = next_code_point(text.substr(i, 4));
    const auto found = id_of_.find(c.value);
    if (found == id_of_.end() && !unknown_) {
      throw UsageError(fmt::format("character {} (U+{:04X}) is not among the {} characters of the vocabulary",
                                   in_quotes(text.substr(i, c.length)), c.value, vocab_size()));
    }
    ids.push_back(found == id_of_.end() ? *unknown_ : found->second);
    i += c.length;
  }
  return ids;
}

std::string CharTokenizer::token(int32_t id) const {
  check_id(*this, id);
  return characters_[id];
}

std::string CharTokenizer::decode(const std::vector<int32_t>& ids) const {
  std::string text;
  for (const int32_t id : ids) text += token(id);
  return text;
}

std::unique_ptr<CharTokenizer> build_char_tokenizer(std::string_view text,
                                                    const std::vector<std::string>& specials) {
  check_utf8(text);
  std::set<int32_t> code_points;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = next_code_point(text.substr(i, 4));
    code_points.insert(c.value);
    i += c.length;
  }
  std::vector<SpecialToken> special_tokens;
  std::vector<std::string> characters;
  for (const std::string& special : specials) {
    special_tokens.push_back({special, int32_t(characters.size())});
    characters.push_back(special);
  }
  for (const int32_t code_point : code_points) append_utf8(characters.emplace_back(), code_point);
  return std::make_unique<CharTokenizer>(std::move(characters), std::move(special_tokens));
}

std::unique_ptr<CharTokenizer> parse_char_vocabulary(std::string_view json, const std::string& path) {
  return std::make_unique<CharTokenizer>(parse_vocabulary(parse_json(json, path), path, ""),
                                         std::vector<SpecialToken>{}, std::nullopt, path);
}

}  // namespace chalk
