// Where a run's text comes from: the generated world or a file, cut by one of the tokenizers.

#include <algorithm>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/bpe_trainer.h"
#include "models/text/char_tokenizer.h"
#include "models/text/word_tokenizer.h"
#include "models/text/world_tokenizer.h"
#include "tutorials/support/training.h"

namespace chalk {
namespace {

constexpr int64_t kWorldValidationDocuments = 2000;

// "bpe:512" -> 512; 0 when the name is something else.
int64_t bpe_size(const std::string& name) {
  if (!name.starts_with("bpe:")) return 0;
  int64_t size = 0;
  for (char c : name.substr(4)) {
    if (c < '0' || c > '9' || size > 10'000'000) size = -1;
    if (size >= 0) size = size * 10 + (c - '0');
  }
  if (size <= 0) throw UsageError("--tokenizer " + name + ": expected bpe:N, for example bpe:512");
  return size;
}

std::unique_ptr<Tokenizer> world_tokenizer_of(const TrainSettings& s, const World& world) {
  const std::string name = s.tokenizer.empty() ? "word" : s.tokenizer;
  if (name == "word") return make_world_tokenizer();
  const int64_t size = bpe_size(name);
  if (size == 0 && name != "char") return load_tokenizer(name);
  // A subword vocabulary learns from the first 20,000 documents (docs/world.md).
  std::vector<std::string> texts;
  for (const Document& document : world_documents(world, 20000, kWorldTrainSeed)) texts.push_back(document_text(document));
  const Words& specials = world_lexicon().specials;
  std::unique_ptr<Tokenizer> tokenizer;
  if (size > 0) {
    tokenizer = train_bpe(texts, {.vocab_size = size, .specials = specials});
  } else {
    std::string all;
    for (const std::string& text : texts) all += text + "\n";
    tokenizer = build_char_tokenizer(all, specials);
  }
  tokenizer->pad = 0, tokenizer->bos = 1, tokenizer->eos = 2;
  tokenizer->add_bos = true;
  return tokenizer;
}

std::unique_ptr<Tokenizer> file_tokenizer_of(const TrainSettings& s, const std::string& text) {
  const std::string name = s.tokenizer.empty() ? "char" : s.tokenizer;
  if (name == "char") return build_char_tokenizer(text);
  if (name == "word") return build_word_tokenizer(text);
  if (int64_t size = bpe_size(name)) return train_bpe(text, {.vocab_size = size});
  return load_tokenizer(name);
}

Corpus make_world_corpus(const TrainSettings& s, uint64_t seed) {
  const World world = make_world();
  Corpus corpus;
  corpus.tokenizer = world_tokenizer_of(s, world);
  const int32_t pad = corpus.tokenizer->pad.value_or(0);
  const DocumentOptions options{.types = s.types, .mark_class_word = s.mark_class_word};
  auto loader = [&](int64_t count, uint64_t stream) {
    std::vector<TokenizedDocument> tokenized;
    for (const Document& document : world_documents(world, count, stream, options)) {
      tokenized.push_back(encode_world(document, *corpus.tokenizer, float(s.answer_weight)));
    }
    return std::make_shared<RowLoader>(pack_rows(tokenized, s.context, pad), s.batch, seed);
  };
  const auto train = loader(s.documents, kWorldTrainSeed);
  const auto validation = loader(kWorldValidationDocuments, kWorldValidationSeed);
  const std::vector<int32_t>& ids = train->rows().ids;
  corpus.train_tokens = int64_t(ids.size()) - std::count(ids.begin(), ids.end(), pad);
  corpus.train = [train](int64_t i) { return train->batch(i); };
  corpus.validation = [validation](int64_t i) { return validation->sequential_batch(i); };
  corpus.validation_batches = validation->sequential_batches();
  corpus.prompts = {"<bos> one day ana the baker took a red ball to the",
                    "<bos> <user> what color is the blick ? <eot> <bot>",
                    "<bos> <user> please paint the dog . <eot> <bot>", "<bos> calc 2 + 3 ="};
  return corpus;
}

Corpus make_file_corpus(const TrainSettings& s, uint64_t seed) {
  const std::string text = read_text(s.corpus);
  Corpus corpus;
  corpus.tokenizer = file_tokenizer_of(s, text);
  auto [head, tail] = split_stream(corpus.tokenizer->encode(text), 0.1);
  if (int64_t(tail.size()) < 2 || int64_t(head.size()) <= s.context) {
    throw FileError(s.corpus, "",
                    fmt::format("{} tokens are too few for a context of {}", head.size() + tail.size(), s.context));
  }
  corpus.train_tokens = int64_t(head.size());
  corpus.prompts = {corpus.tokenizer->decode({head.begin(), head.begin() + std::min<int64_t>(corpus.train_tokens, 8)})};
  const int64_t validation_context = std::min<int64_t>(s.context, int64_t(tail.size()) - 1);
  const auto train = std::make_shared<StreamLoader>(std::move(head), s.batch, s.context, seed);
  const auto validation = std::make_shared<StreamLoader>(std::move(tail), s.batch, validation_context, seed);
  corpus.train = [train](int64_t i) { return train->batch(i); };
  corpus.validation = [validation](int64_t i) { return validation->sequential_batch(i); };
  corpus.validation_batches = validation->sequential_batches();
  return corpus;
}

}  // namespace

Corpus make_corpus(const TrainSettings& settings, uint64_t seed) {
  return settings.corpus == "world" ? make_world_corpus(settings, seed) : make_file_corpus(settings, seed);
}

}  // namespace chalk
