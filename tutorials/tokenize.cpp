// Shows what a tokenizer makes of a text, turns ids back into text, and converts any tokenizer file to
// tokenizer.json.
#include <unistd.h>

#include <charconv>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/utf8.h"
#include "models/text/word_tokenizer.h"
#include "tutorials/support/program.h"

using namespace chalk;

struct Options {
  std::string tokenizer, train, text, string, save;
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

static std::string read_input(const Options& options, bool has_string) {
  if (has_string && (options.text.empty() || !options.train.empty())) return options.string;
  if (has_string || options.text.empty())
    throw UsageError("give the input with either --text FILE or --string TEXT");
  return read_utf8(options.text);
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

// --train: a tokenizer made from the text, "char", "word" or "bpe:N".
static std::unique_ptr<Tokenizer> train_tokenizer(const std::string& kind, const std::string& text) {
  if (kind == "char") return build_char_tokenizer(text);
  if (kind == "word") return build_word_tokenizer(text);
  int64_t size = 0;
  const auto [stop, error] =
      std::from_chars(kind.data() + std::min<size_t>(4, kind.size()), kind.data() + kind.size(), size);
  if (!kind.starts_with("bpe:") || error != std::errc() || *stop != 0) {
    throw UsageError("--train " + in_quotes(kind) + ": expected char, word or bpe:N, e.g. bpe:4096");
  }
  return train_bpe(text, {.vocab_size = size, .specials = {"<|endoftext|>"}});
}

static std::unique_ptr<Tokenizer> get_tokenizer(const Options& options) {
  if (options.tokenizer.empty() == options.train.empty()) {
    throw UsageError(
        "give a tokenizer with either --tokenizer PATH or --train char|word|bpe:N (from --text)");
  }
  if (options.train.empty()) return load_tokenizer(options.tokenizer);
  if (options.text.empty()) throw UsageError("--train needs a text to learn from: --text FILE");
  return train_tokenizer(options.train, read_utf8(options.text));
}

static int run(const Options& options, bool has_string, Context& context) {
  const std::unique_ptr<Tokenizer> tokenizer = get_tokenizer(options);
  if (!options.save.empty()) {
    tokenizer->save(options.save);
    context.result["vocab_size"] = tokenizer->vocab_size();
    context.say(fmt::format("wrote {}, {} tokens", join_path(options.save, "tokenizer.json"),
                            tokenizer->vocab_size()));
    if (!has_string && (options.text.empty() || !options.train.empty())) return 0;
  }
  const std::string input = read_input(options, has_string);
  if (options.decode) {
    const std::string text = tokenizer->decode(parse_ids(input));
    context.result["text"] = text;
    if (!context.json) print(text + "\n");
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
                  "build/bin/tokenize --tokenizer data/tokenizers/gpt2 --decode --string '15496 11 995 0'",
       .flags =
           [&](Flags& flags) {
             given = &flags;
             flags.add("--tokenizer", &options.tokenizer,
                       "tokenizer.json, .model, tokenizer.bin, vocab.json, or a folder");
             flags.add("--train", &options.train, "char, word or bpe:N: learn a tokenizer from --text");
             flags.add("--text", &options.text, "file to encode, in UTF-8; with --decode a file of ids");
             flags.add("--string", &options.string,
                       "text to encode; with --decode ids, separated by spaces or commas");
             flags.add("--decode", &options.decode, "the input is ids: print their text");
             flags.add("--specials", &options.specials,
                       "\"<s>\" in the text is the special token, not three characters");
             flags.add("--save", &options.save, "also write the tokenizer to this folder as tokenizer.json");
           },
       .run = [&](Context& context) { return run(options, given->given("--string"), context); }});
}
