// tokenizer_config.json, the small file beside tokenizer.json that says which special token has which role.
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/json.h"
#include "models/text/tokenizer_json.h"
#include "models/text/utf8.h"

namespace chalk {

void apply_tokenizer_config(Tokenizer& tokenizer, std::string_view text, const std::string& path) {
  const nlohmann::json config = parse_json(text, path);
  check_object(config, path, "");
  const auto role = [&](const char* key, std::optional<int32_t>& id) {
    if (!config.contains(key) || config[key].is_null()) return;
    const nlohmann::json& value = config[key];
    const std::string name =
        value.is_object() ? get_string(value, path, "content") : get_string(config, path, key);
    for (const SpecialToken& special : tokenizer.specials) {
      if (special.text == name) {
        id = special.id;
        return;
      }
    }
    throw FileError(path, key, in_quotes(name) + " is not a special token of the tokenizer");
  };
  role("bos_token", tokenizer.bos);
  role("eos_token", tokenizer.eos);
  role("pad_token", tokenizer.pad);
  tokenizer.add_bos = tokenizer.bos && get_bool(config, path, "add_bos_token", tokenizer.add_bos);
}

std::unique_ptr<Tokenizer> load_tokenizer_json(const std::string& path) {
  auto tokenizer = parse_tokenizer_json(read_text(path), path);
  const size_t slash = path.rfind('/');
  const std::string config =
      (slash == std::string::npos ? "" : path.substr(0, slash + 1)) + "tokenizer_config.json";
  if (file_exists(config)) apply_tokenizer_config(*tokenizer, read_text(config), config);
  return tokenizer;
}

}  // namespace chalk
