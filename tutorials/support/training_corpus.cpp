// Where a run's text comes from: the generated world or a file, cut by one of the tokenizers.

#include <algorithm>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/world_tokenizer.h"
#include "tutorials/support/training.h"

namespace chalk {
namespace {

constexpr int64_t kWorldValidationDocuments = 2000;

std::unique_ptr<Tokenizer> world_tokenizer_of(const TrainSettings& s, const World& world) {
  if (s.tokenizer.empty() || s.tokenizer == "word") return make_world_tokenizer();
  std::string text;  // characters and subwords are learned from the first 20,000 documents (docs/world.md)
  for (const Document& document : world_documents(world, 20000, kWorldTrainSeed))
    text += document_text(document) + "\n";
  std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(s.tokenizer, text, world_lexicon().specials);
  const bool learned = s.tokenizer == "char" || s.tokenizer.starts_with("bpe:");
  if (!learned) return tokenizer;
  tokenizer->pad = 0, tokenizer->bos = 1, tokenizer->eos = 2;
  tokenizer->add_bos = true;
  return tokenizer;
}

Corpus make_world_corpus(const TrainSettings& s, uint64_t seed) {
  const World world = make_world();
  Corpus corpus;
  corpus.tokenizer = world_tokenizer_of(s, world);
  const int32_t pad = corpus.tokenizer->pad.value_or(0);
  const DocumentOptions options{
      .types = s.types, .mark_class_word = s.mark_class_word, .mark_story_object = s.mark_story_object};
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
  if (text.empty()) throw FileError(s.corpus, "", "is empty");
  Corpus corpus;
  corpus.tokenizer = make_tokenizer(s.tokenizer.empty() ? "char" : s.tokenizer, text);
  auto [head, tail] = split_stream(corpus.tokenizer->encode(text), 0.1);
  if (int64_t(tail.size()) < 2 || int64_t(head.size()) <= s.context) {
    throw FileError(
        s.corpus, "",
        fmt::format("{} tokens are too few for a context of {}", head.size() + tail.size(), s.context));
  }
  corpus.train_tokens = int64_t(head.size());
  corpus.prompts = {
      corpus.tokenizer->decode({head.begin(), head.begin() + std::min<int64_t>(corpus.train_tokens, 8)})};
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
