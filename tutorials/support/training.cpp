// The training run: loop, evaluation, samples, checkpoints.

#include "tutorials/support/training.h"

#include <chrono>
#include <cmath>
#include <optional>

#include "autograd/check.h"
#include "kernels/memory.h"
#include "models/gpt2.h"
#include "models/io/file.h"
#include "models/llama.h"
#include "models/sample.h"
#include "tutorials/support/progress.h"
#include "tutorials/support/run_folder.h"
#include "tutorials/support/signals.h"
#include "tutorials/support/table.h"
#include "tutorials/support/training_report.h"

namespace chalk {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Seconds per step of a throw-away twin, so that the estimate is printed before the run changes anything.
double measure_step(const TrainSettings& settings, const Corpus& corpus, Context& context, const Ranks& ranks, int steps) {
  const auto twin = make_fresh_model(settings, *corpus.tokenizer, context.seed, context.device);
  Trainer trainer(*twin, settings.train, ranks);
  trainer.train_step(corpus.train);  // warms caches and the allocator
  const auto start = Clock::now();
  for (int i = 0; i < steps; ++i) trainer.train_step(corpus.train);
  return seconds_since(start) / steps;
}

std::string sample_text(LanguageModel& model, const Tokenizer& tokenizer, const std::vector<std::string>& prompts,
                        uint64_t seed) {
  std::string text;
  for (const std::string& prompt : prompts) {
    std::vector<int32_t> ids = encode_with_specials(tokenizer, prompt);
    const int64_t room = model.context_length() - int64_t(ids.size());
    if (ids.empty() || room <= 0) continue;
    SampleOptions options{.max_new_tokens = std::min<int64_t>(200, room), .temperature = 0.8, .seed = seed};
    if (tokenizer.eos) options.stop.push_back(*tokenizer.eos);
    const std::vector<int32_t> fresh = generate(model, ids, options);
    ids.insert(ids.end(), fresh.begin(), fresh.end());
    text += tokenizer.decode(ids) + "\n\n";
  }
  return text;
}

// The weights and state of a checkpoint into the model of a run that goes on.
void restore(const std::string& checkpoint, LanguageModel& model, Trainer& trainer) {
  const auto saved = make_model(read_checkpoint(checkpoint), model.device());
  const std::vector<NamedTensor> from = saved->parameters(), to = model.parameters();
  if (from.size() != to.size()) throw FileError(checkpoint, "model", "is not of the sizes that the flags ask for");
  for (size_t i = 0; i < to.size(); ++i) {
    if (from[i].name != to[i].name || from[i].tensor.shape != to[i].tensor.shape) {
      throw FileError(checkpoint, from[i].name,
                      "has shape " + to_string(from[i].tensor.shape) + ", but the flags ask for " + to[i].name +
                          " of shape " + to_string(to[i].tensor.shape));
    }
    to[i].tensor.copy_from(from[i].tensor);
  }
  trainer.load_state(checkpoint);
}

}  // namespace

std::unique_ptr<LanguageModel> make_fresh_model(const TrainSettings& s, const Tokenizer& tokenizer, uint64_t seed,
                                                Device device) {
  if (s.model == "gpt2") {
    const GPT2Config config{.vocab_size = tokenizer.vocab_size(),
                            .n_positions = s.context,
                            .n_embd = s.width,
                            .n_layer = s.layers,
                            .n_head = s.heads,
                            .n_inner = s.hidden,
                            .tie_word_embeddings = s.tie,
                            .dropout = s.dropout,
                            .bos_token_id = tokenizer.bos,
                            .eos_token_id = tokenizer.eos};
    auto model = std::make_unique<GPT2>(config, device);
    model->init(seed);
    return model;
  }
  LlamaConfig config;
  config.vocab_size = tokenizer.vocab_size();
  config.hidden_size = s.width;
  // two thirds of 4 · width: three products then cost what GPT-2's two do
  config.intermediate_size = s.hidden > 0 ? s.hidden : llama_ffn_width(s.width, 8);
  config.num_hidden_layers = s.layers;
  config.num_attention_heads = s.heads;
  config.num_key_value_heads = s.kv_heads > 0 ? s.kv_heads : s.heads;
  config.max_position_embeddings = s.context;
  config.tie_word_embeddings = s.tie;
  config.dropout = s.dropout;
  config.bos_token_id = tokenizer.bos;
  config.eos_token_id = tokenizer.eos;
  auto model = std::make_unique<Llama>(config, device);
  model->init(seed, {.matrices = float(s.init_std), .embedding = float(s.init_embedding_std)});
  return model;
}

TrainOutcome run_training(const TrainSettings& settings, Context& context, const Ranks& ranks) {
  Corpus corpus = make_corpus(settings, context.seed);
  TrainOutcome outcome;
  outcome.model = make_fresh_model(settings, *corpus.tokenizer, context.seed, context.device);
  LanguageModel& model = *outcome.model;
  outcome.parameters = model.parameter_count();
  TrainOptions options = settings.train;
  options.seed = context.seed;
  Trainer trainer(model, options, ranks);

  std::optional<RunFolder> run;  // the first rank writes, for all
  if (ranks.first()) run.emplace(settings.out, settings.resume);
  if (settings.resume) {
    outcome.checkpoint = newest_checkpoint(settings.out);
    if (!outcome.checkpoint.empty()) restore(outcome.checkpoint, model, trainer);
    context.say(fmt::format("resuming {} at step {}", settings.out, trainer.step));
    check(ranks.sum(double(trainer.step)) == double(trainer.step * ranks.size),
          "rank {} finds step {} in {}, another rank a different one: the folder must be the same for all", ranks.rank,
          trainer.step, settings.out);
    if (run) run->rewind_metrics(trainer.step);
  }
  if (run) run->write_config(context);

  const int64_t step_tokens = settings.batch * settings.context * options.accumulation;
  context.say(fmt::format("{} with {} parameters, {} tokens of text, {} positions per step, {} steps", settings.model,
                          human_count(double(outcome.parameters)), human_count(double(corpus.train_tokens)),
                          step_tokens, options.steps));
  if (trainer.step < options.steps) {
    const double step_seconds = measure_step(settings, corpus, context, ranks, 3);
    context.say("time: " + describe_estimate(step_seconds, options.steps - trainer.step, 3));
  }

  const int64_t eval_every = settings.eval_every > 0 ? settings.eval_every : std::max<int64_t>(1, options.steps / 10);
  const int64_t save_every = settings.save_every > 0 ? settings.save_every : eval_every;
  const int64_t log_every = std::max<int64_t>(1, options.steps / 2000);
  auto evaluate = [&] {
    outcome.validation_loss = validation_loss(model, corpus.validation_batches, corpus.validation);
    run->log({{"step", trainer.step}, {"validation_loss", outcome.validation_loss}});
    run->write_sample(trainer.step, sample_text(model, *corpus.tokenizer, corpus.prompts, context.seed));
  };
  auto save = [&] {
    outcome.checkpoint = commit_checkpoint(settings.out, trainer.step, [&](const std::string& folder) {
      save_model(model, *corpus.tokenizer, folder);
      trainer.save_state(folder);
    });
  };

  InterruptGuard interrupt;
  Progress progress("train", trainer.step, options.steps, context.quiet);
  reset_peak_memory();
  const int64_t first_step = trainer.step;
  while (trainer.step < options.steps && !outcome.interrupted) {
    const auto start = Clock::now();
    const StepResult result = trainer.train_step(corpus.train);
    const double step_seconds = seconds_since(start);
    const double lr = options.lr * result.lr_factor;
    outcome.seconds += step_seconds;
    outcome.train_loss = result.loss;
    progress.step(trainer.step,
                  {.loss = result.loss, .lr = lr, .grad_norm = result.grad_norm, .tokens = result.tokens});
    const bool last = trainer.step == options.steps;
    if (run && (trainer.step % log_every == 0 || last)) {
      run->log({{"step", trainer.step},
               {"tokens", trainer.step * step_tokens},
               {"loss", result.loss},
               {"lr", lr},
               {"grad_norm", result.grad_norm},
               {"tokens_per_second", double(result.tokens) / step_seconds},
               {"peak_bytes", memory_counters().peak_bytes}});
    }
    outcome.interrupted = ranks.sum(interrupt.requested() ? 1.0 : 0.0) > 0 && !last;
    if (!run) continue;
    if ((trainer.step % eval_every == 0 || last) && !outcome.interrupted) evaluate();
    if (trainer.step % save_every == 0 || last || outcome.interrupted) save();
  }
  progress.finish();

  outcome.steps = trainer.step;
  outcome.peak_bytes = memory_counters().peak_bytes;
  outcome.tokens_per_second = double((trainer.step - first_step) * step_tokens) / std::max(outcome.seconds, 1e-9);
  outcome.tokenizer = std::move(corpus.tokenizer);
  if (run && !outcome.interrupted) write_training_report(*run, context, outcome);
  return outcome;
}

}  // namespace chalk
