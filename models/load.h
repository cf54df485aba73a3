#pragma once
// From files to running models and back: what stands between models/io (named arrays) and LanguageModel.

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "models/io/gptq_format.h"
#include "models/io/weights.h"
#include "models/language_model.h"
#include "models/text/tokenizer.h"

namespace chalk {

// A model of the checkpoint's architecture with its weights in place; the checkpoint's arrays are used up. Projections that
// the checkpoint holds as codes become GroupQuantLinear, packed.
std::unique_ptr<LanguageModel> make_model(Checkpoint checkpoint, Device device);

// The model's configuration and a copy of its weights, ready for any writer of models/io (input scales: AWQ folders only).
// Throws Error when a slot holds something that is not a plain Linear or norm: merge adapters first.
Checkpoint to_checkpoint(LanguageModel& model);

// The tokenizer in `tokenizer_path`; if that is empty, the one that lies in the checkpoint's folder or inside its GGUF, or null.
std::unique_ptr<Tokenizer> find_tokenizer(const Checkpoint& checkpoint, const std::string& tokenizer_path);

struct LoadedModel {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string path;  // what was read: the newest checkpoint when a run folder was given
};

// model_path: a Hugging Face folder, a llama2.c .bin, a .gguf, or the folder of a training run (its newest checkpoint).
// tokenizer_path: empty = what lies in the folder or inside the GGUF; a .bin needs one. Throws FileError or UsageError,
// also when the tokenizer has more ids than the model.
LoadedModel load_model(const std::string& model_path, const std::string& tokenizer_path, Device device);

// A Hugging Face folder: config.json, model.safetensors, tokenizer.json.
void save_model(LanguageModel& model, const Tokenizer& tokenizer, const std::string& folder);

// A GPTQ folder (models/io/gptq_format.h): `layers` packed, the model's other parameters in half precision. A layer that
// cannot be packed is written dequantized.
void save_gptq_model(LanguageModel& model, const Tokenizer& tokenizer, std::vector<QuantizedWeight> layers,
                     const GptqConfig& config, const std::string& folder);

// An AWQ folder (models/io/awq_folder.h) of what quantize_awq() made: `layers` packed, the rest in half precision. A layer
// that cannot be packed is written dequantized. Throws UsageError when none can, or group sizes differ.
void save_awq_model(LanguageModel& model, const Tokenizer& tokenizer,
                    const std::map<std::string, QuantizedMatrix>& layers, const std::string& folder);

// ---- checkpoints of a run: DIR/checkpoints/step_00000200/ ----

// The newest complete checkpoint below a run folder; empty when there is none.
std::string newest_checkpoint(const std::string& run_folder);
// Calls write(temporary folder), renames that to step_NNNNNNNN, then removes older ones: a kill at any moment leaves a
// complete checkpoint behind. Throws Error when writing fails; the earlier checkpoint is untouched then.
std::string commit_checkpoint(const std::string& run_folder, int64_t step,
                              const std::function<void(const std::string& folder)>& write);

}  // namespace chalk
