// Megabytes a second of one core: encoding and decoding real text, and training a vocabulary.
#include <benchmark/benchmark.h>

#include <cstdlib>

#include "models/io/file.h"
#include "models/text/bpe_trainer.h"
#include "models/text/tokenizer.h"

namespace chalk {
namespace {

std::string data_path(const std::string& name) {
  const char* folder = std::getenv("CHALK_DATA");
  return (folder ? folder : "data") + std::string("/") + name;
}

// Encodes a whole file with a tokenizer that was just loaded: no word is known yet.
void encode(benchmark::State& state, const std::string& tokenizer_path, const std::string& text_path) {
  if (!file_exists(data_path(tokenizer_path)) || !file_exists(data_path(text_path))) {
    return state.SkipWithError("no data (set CHALK_DATA, or run make data)");
  }
  const std::string text = read_text(data_path(text_path));
  for (auto _ : state) {
    state.PauseTiming();
    auto tokenizer = load_tokenizer(data_path(tokenizer_path));
    state.ResumeTiming();
    benchmark::DoNotOptimize(tokenizer->encode(text));
    state.PauseTiming();
    tokenizer.reset();
    state.ResumeTiming();
  }
  state.SetBytesProcessed(state.iterations() * int64_t(text.size()));
}

void decode(benchmark::State& state, const std::string& tokenizer_path, const std::string& text_path) {
  if (!file_exists(data_path(tokenizer_path)) || !file_exists(data_path(text_path))) {
    return state.SkipWithError("no data (set CHALK_DATA, or run make data)");
  }
  const std::string text = read_text(data_path(text_path));
  const auto tokenizer = load_tokenizer(data_path(tokenizer_path));
  const std::vector<int32_t> ids = tokenizer->encode(text);
  for (auto _ : state) benchmark::DoNotOptimize(tokenizer->decode(ids));
  state.SetBytesProcessed(state.iterations() * int64_t(text.size()));
}

void train(benchmark::State& state, const std::string& text_path) {
  if (!file_exists(data_path(text_path)))
    return state.SkipWithError("no data (set CHALK_DATA, or run make data)");
  const std::string text = read_text(data_path(text_path));
  for (auto _ : state) benchmark::DoNotOptimize(train_bpe(text, {.vocab_size = state.range(0)}));
  state.SetBytesProcessed(state.iterations() * int64_t(text.size()));
}

const char* const kGpt2 = "tokenizers/gpt2";
const char* const kLlama2 = "tokenizers/llama2/tokenizer.model";
const char* const kShakespeare = "text/tinyshakespeare.txt";
const char* const kWikiText = "text/wikitext-2/test.txt";

BENCHMARK_CAPTURE(encode, gpt2_wikitext, kGpt2, kWikiText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, gpt2_shakespeare, kGpt2, kShakespeare)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(encode, llama2_wikitext, kLlama2, kWikiText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(decode, gpt2_wikitext, kGpt2, kWikiText)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(train, shakespeare, kShakespeare)->Arg(512)->Arg(8192)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace chalk

BENCHMARK_MAIN();
