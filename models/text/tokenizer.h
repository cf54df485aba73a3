#pragma once
// Text <-> token ids: the interface of every tokenizer, and the loader that recognises each file format.
// Each kind has its own file beside this one: byte_bpe.h, sentencepiece.h, llama2c_tokenizer.h,
// word_tokenizer.h, char_tokenizer.h. All of them save themselves as tokenizer.json.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace chalk {

// A token that stands for an event, not for text: begin of text, end of text, a role in a chat.
struct SpecialToken {
  std::string text;  // how it is written, e.g. "<|endoftext|>"
  int32_t id;
};

struct Tokenizer {
  virtual ~Tokenizer() = default;

  // Ids of `text`, which is plain text: no BOS or EOS is added, and "<s>" in it is three characters, not a
  // special token (encode_with_specials below recognises them). Empty text gives no ids.
  // UsageError: text that is not UTF-8, or that the vocabulary cannot express (it names the word or
  // character).
  virtual std::vector<int32_t> encode(std::string_view text) const = 0;

  // The text of `ids`, as raw bytes: a sequence that stops inside a character gives incomplete UTF-8, except
  // where the format itself says U+FFFD (SentencePiece). UsageError: an id out of range.
  virtual std::string decode(const std::vector<int32_t>& ids) const = 0;

  virtual int64_t vocab_size() const = 0;

  // The bytes that one token stands for, for display. UsageError: an id out of range.
  virtual std::string token(int32_t id) const = 0;

  // Writes folder/tokenizer.json (as Hugging Face's `tokenizers` reads it) and folder/tokenizer_config.json.
  virtual void save(const std::string& folder) const = 0;

  // Special tokens whose role is known, and whether a model expects BOS in front of every text.
  std::optional<int32_t> bos, eos, pad;
  bool add_bos = false;
  std::vector<SpecialToken> specials;  // every special token, the ones above included
};

// Like encode(), but each occurrence of a special token's text becomes its id (at one place the longest
// wins).
// The text between two special tokens is encoded by itself. Only for text that the program wrote or the user
// is trusted with: a chat message that contains "<|endoftext|>" must go through encode().
std::vector<int32_t> encode_with_specials(const Tokenizer& tokenizer, std::string_view text);

// Reads a tokenizer from
//   tokenizer.json                    Hugging Face `tokenizers`: byte-level BPE, SentencePiece-like BPE,
// words, characters
//   *.model                           SentencePiece
//   *.bin                             llama2.c
//   vocab.json + merges.txt           GPT-2 as Hugging Face names it (either file may be given)
//   encoder.json + vocab.bpe          GPT-2 as OpenAI names it (either file may be given)
//   vocab.json alone                  character -> id
//   a folder                          the first of the above that it holds
// FileError: the file is missing, is not one of these, or does not hold what it should.
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& path);
bool has_tokenizer(const std::string& folder);  // holds it a file of one of these names?

// The --tokenizer of a program: "char", "word" or "bpe:N" (N tokens) learned from `text`, anything else is a
// path for load_tokenizer. A learned tokenizer has the given special tokens. UsageError: nothing to learn
// from, or a bad N.
std::unique_ptr<Tokenizer> make_tokenizer(const std::string& name, std::string_view text,
                                          const std::vector<std::string>& specials = {});

// Throws UsageError unless 0 <= id < tokenizer.vocab_size().
void check_id(const Tokenizer& tokenizer, int32_t id);

}  // namespace chalk
