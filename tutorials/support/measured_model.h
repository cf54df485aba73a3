#pragma once
// A trained model together with the text that a quantization tutorial measures it on: the world's base model by default, any
// checkpoint with a text file on request.

#include <functional>
#include <string>
#include <vector>

#include "models/load.h"
#include "tutorials/support/program.h"

namespace chalk {

struct ModelChoice {
  std::string model;             // checkpoint; empty: the base model of `preset`
  std::string tokenizer;         // empty: the checkpoint's own
  std::string text;              // with a checkpoint: its first half calibrates, its second half is scored
  std::string preset = "world";  // of the base model
  uint64_t base_seed = 1;        // of the base model
  int64_t score_tokens = 20000;  // of the text, at most
  int64_t sequences = 32;        // for calibration
};

// --model, --tokenizer, --text, --preset, --base-seed, --score-tokens, --sequences
void add_model_flags(Flags& flags, ModelChoice& choice);

struct MeasuredModel {
  LoadedModel loaded;
  std::string name;                    // for tables: "world, seed 1" or the path
  std::vector<IntTensor> calibration;  // sequences of training text, (B, T) each
  // Mean loss per predicted token of held-out text, nats: of this model or of any other with the same vocabulary.
  std::function<double(LanguageModel& model)> loss;
};

// Loads (or first trains) the model; context.seed chooses the calibration text. Throws UsageError when a checkpoint comes without text, or the text is too short.
MeasuredModel open_measured_model(const ModelChoice& choice, Context& context);

// Wall-clock tokens per second of greedy decoding with a KV cache: `tokens` new ones after a prompt of one, the best of
// three runs.
double decode_speed(LanguageModel& model, int64_t tokens);

// Bytes of the weight files (safetensors) below a folder.
int64_t weight_file_bytes(const std::string& folder);

}  // namespace chalk
