// Pre-tokenisation by PCRE2.
#include "models/text/pretokenizer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

#include "autograd/check.h"
#include "models/text/utf8.h"

namespace chalk {

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const char* const kLlama3Pattern = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                                   R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
const char* const kQwen2Pattern = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                                  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

namespace {

constexpr size_t kLongestPattern = 16384;

// Backtracking steps for one match. The published patterns need about one for each byte of the text at worst (a long
// run of spaces); a pattern that asks for much more would never end.
uint32_t match_limit(size_t text_size) {
  return uint32_t(std::min<uint64_t>(1'000'000 + 4 * uint64_t(text_size), UINT32_MAX));
}

// The trap: PCRE2's \s takes U+180E (Mongolian vowel separator) for a space, the regular expressions that the
// published tokenizers were made with do not. So \s is spelled out as Unicode's White_Space property, without
// U+180E.
const char* const kWhitespace =
    R"(\t-\r \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

std::string spell_out_whitespace(const std::string& pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); i++) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char next = pattern[++i];
      if (next == 's') {
        out += in_class ? kWhitespace : std::string("[") + kWhitespace + "]";
      } else if (next == 'S' && !in_class) {
        out += std::string("[^") + kWhitespace + "]";
      } else {
        out += {c, next};
      }
    } else {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      out += c;
    }
  }
  return out;
}

std::string pcre2_message(int code) {
  PCRE2_UCHAR text[160];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

}  // namespace

struct Pretokenizer::Code {
  pcre2_code* code = nullptr;
  ~Code() { pcre2_code_free(code); }
};

Pretokenizer::Pretokenizer(const std::string& pattern, const std::string& path, const std::string& field)
    : pattern_(pattern) {
  if (pattern.size() > kLongestPattern) {
    throw FileError(path, field,
                    fmt::format("pattern of {} bytes, expected at most {}", pattern.size(), kLongestPattern));
  }
  const std::string spelled = spell_out_whitespace(pattern);
  // UCP: \d, \w and the like follow Unicode. NEVER_BACKSLASH_C: \C would cut a character in two.
  const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  size_t offset = 0;
  auto code = std::make_shared<Code>();
  code->code = pcre2_compile(PCRE2_SPTR(spelled.data()), spelled.size(), options, &error, &offset, nullptr);
  if (!code->code)
    throw FileError(path, field,
                    "cannot compile the pattern " + in_quotes(pattern) + ": " + pcre2_message(error));
  pcre2_jit_compile(code->code,
                    PCRE2_JIT_COMPLETE);  // where it cannot, pcre2_match interprets: slower, same result
  code_ = code;
}

namespace {

// What PCRE2 writes to during a match: the bounds, and the limit. One per thread, since a pattern is shared.
struct MatchData {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  ~MatchData() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
};

}  // namespace

bool Pretokenizer::match(std::string_view text, size_t at, size_t* begin, size_t* end) const {
  thread_local const MatchData match;
  pcre2_set_match_limit(match.context, match_limit(text.size()));
  const int found = pcre2_match(code_->code, PCRE2_SPTR(text.data()), text.size(), at, PCRE2_NO_UTF_CHECK,
                                match.data, match.context);
  if (found == PCRE2_ERROR_NOMATCH) return false;
  check(found >= 0, "pre-tokenisation pattern failed at byte {} of the text: {}", at, pcre2_message(found));
  *begin = pcre2_get_ovector_pointer(match.data)[0];
  *end = pcre2_get_ovector_pointer(match.data)[1];
  return true;
}

bool Pretokenizer::occurs_in(std::string_view text) const {
  size_t begin, end;
  return match(text, 0, &begin, &end);
}

std::vector<std::string_view> Pretokenizer::split(std::string_view text) const {
  std::vector<std::string_view> pieces;
  pieces.reserve(text.size() / 4);      // English has a word every 4 to 5 bytes
  size_t done = 0, at = 0, begin, end;  // text before `done` is cut; the next match may begin at `at`
  while (at < text.size() && match(text, at, &begin, &end)) {
    // \K can move the begin of a match: backwards into cut text (in a lookbehind), or past its end (in a
    // lookahead).
    check(begin >= done && end >= begin, "pre-tokenisation pattern matched backwards at byte {}", at);
    if (begin > done) pieces.push_back(text.substr(done, begin - done));
    if (end > begin) pieces.push_back(text.substr(begin, end - begin));
    done = at = end;
    if (end == begin && end < text.size())
      at += next_code_point(text.substr(end, 4)).length;  // step over an empty match
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
  return pieces;
}

}  // namespace chalk
