// Reading a vocabulary out of JSON.
#include "models/text/vocabulary.h"

#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/json.h"
#include "models/text/byte_alphabet.h"
#include "models/text/utf8.h"

namespace chalk {

std::vector<std::string> parse_vocabulary(const nlohmann::json& object, const std::string& path,
                                          const std::string& field) {
  check_object(object, path, field);
  const int64_t V = int64_t(object.size());
  std::vector<std::string> tokens(V);
  std::vector<bool> seen(V);
  for (const auto& [token, id] : object.items()) {
    if (!id.is_number_integer()) {
      throw FileError(
          path, field,
          fmt::format("id of token {} is of type {}, expected an integer", in_quotes(token), id.type_name()));
    }
    // A number above the range of int64 becomes negative here and is refused as well.
    const int64_t value = id.get<int64_t>();
    if (value < 0 || value >= V) {
      throw FileError(path, field,
                      fmt::format("id of token {} is {}, expected 0 to {}, as there are {} tokens",
                                  in_quotes(token), id.dump(), V - 1, V));
    }
    if (seen[value])
      throw FileError(
          path, field,
          fmt::format("id {} is given to {} and to {}", value, in_quotes(tokens[value]), in_quotes(token)));
    seen[value] = true;
    tokens[value] = token;
  }
  return tokens;
}

std::pair<int32_t, int32_t> parse_merge(std::string_view line,
                                        const std::unordered_map<std::string, int32_t>& id_of,
                                        const std::string& path, const std::string& field) {
  // Only the plain space separates: the letters of other whitespace belong to tokens.
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || line.find(' ', space + 1) != std::string_view::npos) {
    throw FileError(path, field, in_quotes(line) + " is not two tokens with one space between them");
  }
  const auto id = [&](std::string_view token) {
    const auto found = id_of.find(std::string(token));
    if (found == id_of.end()) throw FileError(path, field, in_quotes(token) + " is not in the vocabulary");
    return found->second;
  };
  return {id(line.substr(0, space)), id(line.substr(space + 1))};
}

std::string letters_to_token(const std::string& letters, const std::string& path) {
  if (letters.empty()) throw FileError(path, "vocabulary", "holds an empty token");
  return letters_to_bytes(letters).value_or(letters);
}

}  // namespace chalk
