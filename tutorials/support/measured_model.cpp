// Opening a model with its text, timing it, weighing its files.

#include "tutorials/support/measured_model.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>

#include "autograd/check.h"
#include "models/calibration.h"
#include "models/evaluate_text.h"
#include "models/io/file.h"
#include "models/model_scorer.h"
#include "models/sample.h"
#include "tutorials/support/base_model.h"

namespace chalk {
namespace {

MeasuredModel open_world(const ModelChoice& choice, Context& context) {
  MeasuredModel measured;
  measured.loaded = base_model(choice.preset, choice.base_seed, context);
  measured.name = fmt::format("{}, seed {}", choice.preset, choice.base_seed);
  TrainSettings settings = training_preset(choice.preset);
  settings.documents =
      2000;  // calibration needs few; the validation documents are others, and always the same
  const auto corpus = std::make_shared<Corpus>(make_corpus(settings, context.seed));
  int64_t sequences = 0;
  for (int64_t i = 0; sequences < choice.sequences; ++i) {
    const Batch batch = corpus->train(i);
    measured.calibration.push_back({{batch.B, batch.T}, batch.ids});
    sequences += batch.B;
  }
  measured.loss = [corpus](LanguageModel& model) {
    return validation_loss(model, corpus->validation_batches, corpus->validation);
  };
  return measured;
}

MeasuredModel open_checkpoint(const ModelChoice& choice, Context& context) {
  if (choice.text.empty()) throw UsageError("--model needs a text to be measured on: give --text");
  MeasuredModel measured;
  measured.loaded = load_model(choice.model, choice.tokenizer, context.device);
  measured.name = choice.model;
  const int64_t T = measured.loaded.model->context_length();
  const std::vector<int32_t> ids = measured.loaded.tokenizer->encode(read_text(choice.text));
  const auto half = ids.begin() + int64_t(ids.size() / 2);
  const auto score =
      std::make_shared<std::vector<int32_t>>(half, std::min(half + choice.score_tokens, ids.end()));
  if (int64_t(ids.size()) / 2 <= T)
    throw UsageError(choice.text + " is too short: each half must fill the context");
  measured.calibration = random_windows({ids.begin(), half}, choice.sequences, T, context.seed);
  measured.loss = [score](LanguageModel& model) {
    NoGrad no_grad;
    const int64_t context = model.context_length();
    const TextScore result = score_text(logits_of(model), model.vocab_size(), *score,
                                        plan_windows(int64_t(score->size()), context, context));
    return result.nll / double(result.tokens);
  };
  return measured;
}

}  // namespace

void add_model_flags(Flags& flags, ModelChoice& choice) {
  flags.add("--model", &choice.model,
            "checkpoint to quantize (default: the base model, trained once and kept)");
  flags.add("--tokenizer", &choice.tokenizer, "its tokenizer file, if it does not hold one");
  flags.add("--text", &choice.text, "text for --model: the first half calibrates, the second is scored");
  flags.add("--preset", &choice.preset, "of the base model").one_of({"world", "world-small"});
  flags.add("--base-seed", &choice.base_seed, "of the base model");
  flags.add("--score-tokens", &choice.score_tokens, "tokens of --text to score").at_least(2);
  flags.add("--sequences", &choice.sequences, "sequences for calibration").at_least(1);
}

MeasuredModel open_measured_model(const ModelChoice& choice, Context& context) {
  return choice.model.empty() ? open_world(choice, context) : open_checkpoint(choice, context);
}

double decode_speed(LanguageModel& model, int64_t tokens) {
  const int64_t count = std::min(tokens, model.context_length() - 1);
  double best = 0;
  for (int repeat = 0; repeat < 3; ++repeat) {
    const auto start = std::chrono::steady_clock::now();
    generate(model, {1}, {.max_new_tokens = count, .temperature = 0});
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::max(best, double(count) / seconds);
  }
  return best;
}

int64_t weight_file_bytes(const std::string& folder) {
  int64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".safetensors") bytes += int64_t(entry.file_size());
  }
  return bytes;
}

}  // namespace chalk
