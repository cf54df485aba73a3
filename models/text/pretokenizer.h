#pragma once
// Pre-tokenisation: cutting a text into words with a regular expression, before BPE. Merges never cross a
// cut.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace chalk {

// GPT-2's pattern: contractions, then words, numbers and punctuation with at most one space glued in front,
// then whitespace.
// `\s+(?!\S)` leaves the last space of a run for the word that follows.
extern const char* const kGpt2Pattern;
// LLaMA-3's: contractions in any case; a word may take any one character in front; numbers in threes from the
// left; punctuation takes the newlines that follow it.
extern const char* const kLlama3Pattern;
// Qwen2's: LLaMA-3's with single digits.
extern const char* const kQwen2Pattern;

// A compiled pattern (PCRE2, just-in-time compiled where the machine allows it). Copies share the compiled
// code.
class Pretokenizer {
 public:
  // FileError naming `path` and `field` if PCRE2 cannot compile the pattern.
  explicit Pretokenizer(const std::string& pattern, const std::string& path = "built-in pattern",
                        const std::string& field = "");

  // The pieces of `text` in order, each a slice of it, none empty; joined they give the text back. What the
  // pattern does not match becomes a piece of its own. `text` must be UTF-8. Error: the pattern backtracks
  // without end on this text.
  std::vector<std::string_view> split(std::string_view text) const;

  // Whether the pattern matches anywhere in `text`.
  bool occurs_in(std::string_view text) const;

  const std::string& pattern() const { return pattern_; }

 private:
  struct Code;
  bool match(std::string_view text, size_t at, size_t* begin, size_t* end) const;
  std::string pattern_;  // as given, before `\s` is spelled out
  std::shared_ptr<const Code> code_;
};

}  // namespace chalk
