// Shows what a tokenizer makes of a text, turns ids back into text, and writes any tokenizer, read from a
// file or learned from a text, as tokenizer.json.
#include <unistd.h>

#include <charconv>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/tokenizer.h"
#include "models/text/utf8.h"
#include "tutorials/support/program.h"

using namespace chalk;

struct Options {
  std::string tokenizer, text, string, save;
  bool decode = false, specials = false;
};

static std::string read_utf8(const std::string& path) {
  std::string text = read_text(path);
  const size_t bad = find_invalid_utf8(text);
  if (bad < text.size()) {
    throw FileError(path, fmt::format("byte {}", bad),
                    fmt::format("0x{:02x} is not UTF-8", uint8_t(text[bad])));
  }
  return text;
}

// "1 403 407" or "[1, 403, 407]" -> ids.
static std::vector<int32_t> parse_ids(const std::string& text) {
  const char* const kBetween = " \t\r\n,[]";
  std::vector<int32_t> ids;
  for (size_t i = text.find_first_not_of(kBetween); i != std::string::npos;
       i = text.find_first_not_of(kBetween, i)) {
    const size_t end = std::min(text.find_first_of(kBetween, i), text.size());
    int32_t id;
    const auto [stop, error] = std::from_chars(&text[i], &text[end], id);
    if (error != std::errc() || stop != &text[end])
      throw UsageError("not a token id: " + in_quotes(text.substr(i, end - i)));
    ids.push_back(id);
    i = end;
  }
  return ids;
}

// Every token's text, told apart by two background colours on a terminal, and by brackets elsewhere.
static std::string pieces_of(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  const bool colours = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == nullptr;
  std::string line;
  for (size_t i = 0; i < ids.size(); i++) {
    const std::string piece = tokenizer.token(ids[i]);
    line += colours ? fmt::format("\033[{}m{}\033[0m", i % 2 ? "30;46" : "30;47", piece) : "[" + piece + "]";
  }
  return line;
}

static int run(const Options& options, bool has_string, Context& context) {
  const std::string text = options.text.empty() ? "" : read_utf8(options.text);
  const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(options.tokenizer, text);
  if (!options.save.empty()) {
    tokenizer->save(options.save);
    context.say(fmt::format("wrote {}, {} tokens", join_path(options.save, "tokenizer.json"),
                            tokenizer->vocab_size()));
    return 0;
  }
  if (options.text.empty() != has_string)
    throw UsageError("give the input with either --text FILE or --string TEXT");
  const std::string& input = has_string ? options.string : text;
  if (options.decode) {
    const std::string decoded = tokenizer->decode(parse_ids(input));
    context.result["text"] = decoded;
    if (!context.json) print(decoded + "\n");
    return 0;
  }
  const std::vector<int32_t> ids =
      options.specials ? encode_with_specials(*tokenizer, input) : tokenizer->encode(input);
  context.result["ids"] = ids;
  if (context.json) return 0;
  print(pieces_of(*tokenizer, ids) + "\n");
  print(fmt::format("{}\n{} tokens for {} bytes\n", fmt::join(ids, " "), ids.size(), input.size()));
  return 0;
}

int main(int argc, char** argv) {
  Options options;
  const Flags* given = nullptr;
  return run_program(
      argc, argv,
      {.name = "tokenize",
       .about = "turns text into token ids and back",
       .example = "build/bin/tokenize --tokenizer data/tokenizers/gpt2 --string 'Hello, world!'\n"
                  "build/bin/tokenize --tokenizer data/tokenizers/gpt2 --decode --string '15496 11 995 0'\n"
                  "build/bin/tokenize --tokenizer bpe:4096 --text book.txt --save runs/book-tokenizer",
       .flags =
           [&](Flags& flags) {
             given = &flags;
             flags
                 .add("--tokenizer", &options.tokenizer,
                      "tokenizer.json, .model, tokenizer.bin, vocab.json or a folder; char, word or bpe:N "
                      "learn from --text")
                 .required();
             flags.add("--text", &options.text, "file to encode, in UTF-8; with --decode a file of ids");
             flags.add("--string", &options.string,
                       "text to encode; with --decode ids, separated by spaces or commas");
             flags.add("--decode", &options.decode, "the input is ids: print their text");
             flags.add("--specials", &options.specials,
                       "\"<s>\" in the text is the special token, not three characters");
             flags.add("--save", &options.save, "only write the tokenizer to this folder, as tokenizer.json");
           },
       .run = [&](Context& context) { return run(options, given->given("--string"), context); }});
}
