// How surprised a model is by a text: the sum of −ln p(token | tokens before it), over every token after the first.

#include "autograd/check.h"
#include "models/evaluate_text.h"
#include "models/io/file.h"
#include "models/io/npy.h"
#include "models/load.h"
#include "models/model_scorer.h"
#include "tutorials/support/program.h"
#include "tutorials/support/progress.h"

using namespace chalk;

struct Options {
  std::string model, tokenizer, text, logits;
  int64_t context = 0, stride = 0;
};

static int run(const Options& options, Context& context) {
  const LoadedModel loaded = load_model(options.model, options.tokenizer, context.device);
  LanguageModel& model = *loaded.model;
  const Tokenizer& tokenizer = *loaded.tokenizer;
  const std::string text = read_text(options.text);
  std::vector<int32_t> ids = tokenizer.encode(text);
  if (ids.empty()) throw FileError(options.text, "", "is empty: there is nothing to score");
  if (tokenizer.add_bos && ids.front() != *tokenizer.bos) ids.insert(ids.begin(), *tokenizer.bos);

  if (options.context > model.context_length()) {
    throw UsageError(fmt::format("--context {}: the model knows only {} positions", options.context,
                                 model.context_length()));
  }
  const int64_t T = options.context > 0 ? options.context : model.context_length(), V = model.vocab_size();
  const auto windows = plan_windows(int64_t(ids.size()), T, options.stride > 0 ? options.stride : T);

  std::vector<float> rows;  // (tokens scored, V), only when asked for
  int64_t done = 0;
  Progress progress("perplexity", 0, int64_t(windows.size()), context.quiet);
  auto seen = [&](const TextWindow& window, const float* logits) {
    progress.update(++done);
    if (options.logits.empty()) return;
    const int64_t first_row = window.first_scored - 1 - window.begin;  // the row that predicts first_scored
    rows.insert(rows.end(), logits + first_row * V, logits + window.length * V);
  };
  const TextScore score = score_text(logits_of(model), V, ids, windows, seen);
  progress.finish();
  if (!options.logits.empty()) write_npy(options.logits, {int64_t(rows.size()) / V, V}, rows);

  const double bits_per_byte = score.bits_per_byte(int64_t(text.size()));
  context.result = {{"nll", score.nll},   {"tokens", score.tokens},          {"ppl", score.perplexity()},
                    {"bits_per_byte", bits_per_byte}, {"context", T}, {"windows", windows.size()}};
  if (!context.json) {
    print(fmt::format("perplexity {:.4f}: {:.4f} nats over {} tokens, {:.4f} bits per byte\n", score.perplexity(),
                      score.nll, score.tokens, bits_per_byte));
  }
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "perplexity",
       .about = "measures how well a model predicts a text",
       .example = "build/bin/perplexity --model runs/bard --text data/text/tinyshakespeare.txt --json",
       .flags =
           [&](Flags& flags) {
             flags.add("--model", &o.model, "Hugging Face folder, run folder, llama2.c .bin or .gguf").required();
             flags.add("--tokenizer", &o.tokenizer, "tokenizer file (default: the model's own)");
             flags.add("--text", &o.text, "text file").required();
             flags.add("--context", &o.context, "tokens per window (0 = the model's context)").at_least(0);
             flags.add("--stride", &o.stride, "tokens between windows (0 = the window's length)").at_least(0);
             flags.add("--logits", &o.logits, "write the logits of the scored tokens to this .npy file");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
