#pragma once
// The golden cases of the tokenizers, as the README of the golden folder describes them.
#include <nlohmann/json.hpp>

#include "models/io/file.h"
#include "models/text/tokenizer.h"
#include "tests/models/io/paths.h"

namespace chalk {

inline nlohmann::json golden_tokenizer_cases(const std::string& name) {
  return nlohmann::json::parse(read_text(golden_folder() + "/tokenizers/" + name));
}

inline std::string bytes_of_hex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes += char(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

// Every case of one file: encoding gives the ids, decoding them gives "decoded", or the text where the file
// has no such field.
inline void expect_golden_cases(const Tokenizer& tokenizer, const nlohmann::json& cases) {
  ASSERT_FALSE(cases.empty());
  for (const auto& test : cases) {
    const std::string text = bytes_of_hex(test["utf8_hex"]);
    EXPECT_EQ(text, test["text"].get<std::string>());
    const std::vector<int32_t> ids = test["ids"];
    EXPECT_EQ(tokenizer.encode(text), ids) << test["text"];
    EXPECT_EQ(tokenizer.decode(ids), test.value("decoded", text)) << test["text"];
  }
}

}  // namespace chalk
