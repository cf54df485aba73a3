#pragma once
// The JSON that programs print and log: keys keep their order, numbers are always valid JSON, text is always
// valid UTF-8.
#include <nlohmann/json.hpp>
#include <string>

namespace chalk {

using Json = nlohmann::ordered_json;  // for output; models/io/json.h reads files that may lie

// JSON has no NaN and no infinity. Every object that holds one directly gets null in its place and "nan":
// true beside it: {"loss": NaN} -> {"loss": null, "nan": true}. A reader then sees a diverged run instead of
// a parse error.
Json without_nan(Json value);

// One line of text. Bytes that are no UTF-8 (a model may end its text in the middle of a letter) become
// U+FFFD. indent >= 0 spreads it over lines, for files that people read.
std::string to_text(const Json& value, int indent = -1);

}  // namespace chalk
