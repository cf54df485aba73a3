#pragma once
// llama2.c's tokenizer.bin: SentencePiece with everything taken away that can be. A piece is plain text with
// plain spaces, and a score; merging takes the best score; an unknown character becomes its bytes. Source:
// karpathy/llama2.c, run.c.
//
// File: int32 longest piece, then for each id float32 score, int32 length, that many bytes. The number of
// pieces is not stored.
// Ids: 0 "<unk>", 1 BOS, 2 EOS, 3 + b the byte b, then the rest.
#include <memory>
#include <unordered_map>

#include "models/text/bpe_merges.h"
#include "models/text/tokenizer.h"

namespace chalk {

class Llama2cTokenizer : public Tokenizer {
 public:
  // `pieces` and `scores` by id. FileError naming `path`: fewer than 259 pieces, byte pieces that are not
  // "<0x00>" to "<0xFF>", an empty, overlong or repeated piece, a score that is not a number.
  Llama2cTokenizer(std::vector<std::string> pieces, std::vector<float> scores,
                   const std::string& path = "tokenizer.bin");

  std::vector<int32_t> encode(std::string_view text) const override;
  // What run.c prints: the first piece loses its leading space, as does a piece after BOS; BOS and EOS
  // themselves print nothing.
  std::string decode(const std::vector<int32_t>& ids) const override;
  int64_t vocab_size() const override { return int64_t(pieces_.size()); }
  std::string token(int32_t id) const override;
  void save(const std::string& folder) const override;
  const std::vector<std::string>& pieces() const { return pieces_; }
  const std::vector<float>& scores() const { return scores_; }

 private:
  std::vector<std::string> pieces_;
  std::vector<float> scores_;
  std::unordered_map<std::string, int32_t> id_of_;
  MergeTable merges_;
};

// FileError: truncated, a length that is negative or larger than the longest piece or the file.
std::unique_ptr<Llama2cTokenizer> parse_llama2c_tokenizer(std::string_view bytes, const std::string& path);
std::unique_ptr<Llama2cTokenizer> load_llama2c_tokenizer(const std::string& path);

}  // namespace chalk
