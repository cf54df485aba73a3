// Special tokens: finding them in a text, and what their customary names mean.
#include "models/text/special_tokens.h"

#include <algorithm>
#include <array>

namespace chalk {

std::vector<TextStretch> split_at_specials(std::string_view text, const std::vector<SpecialToken>& specials) {
  if (text.empty()) return {};
  if (specials.empty()) return {{text, -1}};
  std::vector<SpecialToken> longest_first = specials;
  std::erase_if(longest_first, [](const SpecialToken& special) { return special.text.empty(); });
  std::stable_sort(
      longest_first.begin(), longest_first.end(),
      [](const SpecialToken& a, const SpecialToken& b) { return a.text.size() > b.text.size(); });
  std::array<bool, 256> can_start{};  // most bytes start no special token: one look-up passes them
  for (const SpecialToken& special : longest_first) can_start[uint8_t(special.text[0])] = true;

  std::vector<TextStretch> stretches;
  size_t done = 0;
  for (size_t i = 0; i < text.size();) {
    const auto here =
        !can_start[uint8_t(text[i])]
            ? longest_first.end()
            : std::find_if(longest_first.begin(), longest_first.end(), [&](const SpecialToken& special) {
                return text.substr(i).starts_with(special.text);
              });
    if (here == longest_first.end()) {
      i++;
      continue;
    }
    if (i > done) stretches.push_back({text.substr(done, i - done), -1});
    stretches.push_back({text.substr(i, here->text.size()), here->id});
    done = i += here->text.size();
  }
  if (done < text.size()) stretches.push_back({text.substr(done), -1});
  return stretches;
}

void name_special_roles(Tokenizer& tokenizer) {
  for (const auto& [text, id] : tokenizer.specials) {
    const bool begins = text == "<s>" || text == "<bos>" || text == "<|begin_of_text|>";
    if (begins) tokenizer.bos = id, tokenizer.add_bos = true;
    if (text == "</s>" || text == "<eos>" || text == "<|end_of_text|>") tokenizer.eos = id;
    if (text == "<pad>" || text == "<|pad|>") tokenizer.pad = id;
  }
  for (const auto& [text, id] : tokenizer.specials) {
    if (text != "<|endoftext|>") continue;
    if (!tokenizer.bos) tokenizer.bos = id;
    if (!tokenizer.eos) tokenizer.eos = id;
  }
}

}  // namespace chalk
