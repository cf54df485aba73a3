#pragma once
// Reading a vocabulary out of JSON: {"token": id, ...} into a list by id, and merges "A B" into pairs of ids.
// Shared by GPT-2's vocab.json, the character vocab.json and tokenizer.json.
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace chalk {

// tokens[id] for an object of token -> id. FileError(path, field): not an object, not integers, or the ids
// are not 0 to V-1 once each.
std::vector<std::string> parse_vocabulary(const nlohmann::json& object, const std::string& path,
                                          const std::string& field);

// "A B", two tokens with one space between, to their ids. FileError: another form, or a token that is not in
// the vocabulary.
std::pair<int32_t, int32_t> parse_merge(std::string_view line,
                                        const std::unordered_map<std::string, int32_t>& id_of,
                                        const std::string& path, const std::string& field);

// The raw bytes of a token written in the letters of byte_alphabet.h. Trap: published vocabularies hold a few
// tokens that are not in that alphabet (special tokens with spaces); they stand for themselves and no merge
// leads to them.
std::string letters_to_token(const std::string& letters, const std::string& path);

}  // namespace chalk
