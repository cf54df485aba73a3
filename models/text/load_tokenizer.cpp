// load_tokenizer: which file is it? make_tokenizer: is it a file at all?
#include <charconv>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/llama2c_tokenizer.h"
#include "models/text/sentencepiece.h"
#include "models/text/tokenizer.h"
#include "models/text/tokenizer_json.h"
#include "models/text/word_tokenizer.h"

namespace chalk {
namespace {

// One file of the pair lies beside the other.
std::string beside(const std::string& path, const std::string& name) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? name : path.substr(0, slash + 1) + name;
}

std::string file_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::unique_ptr<Tokenizer> load_vocabulary(const std::string& path, const std::string& merges_path) {
  if (file_exists(merges_path)) return load_gpt2_bpe(path, merges_path);
  try {
    return parse_char_vocabulary(read_text(path), path);
  } catch (const FileError& problem) {
    throw FileError(path, "",
                    fmt::format("is read as a character vocabulary, since there is no {} beside it; but {}",
                                file_name(merges_path), problem.what()));
  }
}

// The tokenizer file of a folder; empty if there is none.
std::string file_in(const std::string& folder) {
  for (const char* name :
       {"tokenizer.json", "tokenizer.model", "vocab.json", "encoder.json", "tokenizer.bin"}) {
    if (file_exists(join_path(folder, name))) return join_path(folder, name);
  }
  return "";
}

std::unique_ptr<Tokenizer> load_from_folder(const std::string& folder) {
  const std::string file = file_in(folder);
  if (!file.empty()) return load_tokenizer(file);
  throw FileError(folder, "",
                  "holds no tokenizer: expected tokenizer.json, tokenizer.model, vocab.json, encoder.json or "
                  "tokenizer.bin");
}

}  // namespace

bool has_tokenizer(const std::string& folder) {
  return !file_in(folder).empty();
}

std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path) {
  if (is_folder(path)) return load_from_folder(path);
  if (!file_exists(path)) throw FileError(path, "", "no such file or folder");
  const std::string name = file_name(path);
  const auto ends_with = [&](const char* ending) { return name.ends_with(ending); };
  if (ends_with("merges.txt")) return load_gpt2_bpe(beside(path, "vocab.json"), path);
  if (ends_with("vocab.bpe")) return load_gpt2_bpe(beside(path, "encoder.json"), path);
  if (ends_with("vocab.json")) return load_vocabulary(path, beside(path, "merges.txt"));
  if (ends_with("encoder.json")) return load_vocabulary(path, beside(path, "vocab.bpe"));
  if (ends_with(".json")) return load_tokenizer_json(path);
  if (ends_with(".model")) return load_sentencepiece(path);
  if (ends_with(".bin")) return load_llama2c_tokenizer(path);
  throw FileError(path, "",
                  "is not a tokenizer file by its name: expected tokenizer.json, *.model, *.bin (llama2.c), "
                  "vocab.json with "
                  "or without merges.txt, encoder.json with vocab.bpe, or a folder with one of these");
}

std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name, std::string_view text,
                                          const std::vector<std::string>& specials) {
  const bool is_bpe = name.starts_with("bpe:");
  if (name != "char" && name != "word" && !is_bpe) return load_tokenizer(name);
  if (text.empty()) throw UsageError("tokenizer " + name + " is learned from a text, and there is none");
  if (name == "char") return build_char_tokenizer(text, specials);
  if (name == "word") return build_word_tokenizer(text, specials);
  int64_t size = 0;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + 4, end, size);
  if (error != std::errc() || stop != end)
    throw UsageError("tokenizer " + name + ": expected bpe:N, e.g. bpe:4096");
  return train_bpe(text, {.vocab_size = size, .specials = specials});
}

}  // namespace chalk
