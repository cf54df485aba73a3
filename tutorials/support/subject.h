#pragma once
// What a quantization tutorial works on: a trained model, text to calibrate on, and other text to measure on.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/load.h"
#include "models/text/loader.h"
#include "nn/quantizer.h"
#include "tutorials/support/program.h"

namespace chalk {

struct Subject {
  std::string name;
  LoadedModel loaded;
  std::function<Batch(int64_t index)> train, validation;  // 8 rows each
  int64_t validation_batches = 0;

  // Training batches, as many as hold `positions` ids.
  std::vector<IntTensor> calibration(int64_t positions) const;
  // Mean loss in nats of `model` (this one, or one made from it) over at most that many positions of validation text.
  double loss(LanguageModel& model, int64_t positions) const;
};

// The base model of tutorials/support/base_model.h on the world's documents; its validation documents are its own.
Subject world_subject(const std::string& preset, uint64_t seed, Context& context);
// Any model on a text file: the first half calibrates (random windows of up to 256 tokens), the second measures.
Subject text_subject(const std::string& name, const std::string& model, const std::string& tokenizer,
                     const std::string& text, uint64_t seed, Context& context);
// stories260K on its kind of text, if CHALK_DATA holds both; otherwise says so and gives nothing.
std::optional<Subject> stories_subject(uint64_t seed, Context& context);

// Every projection inside the blocks, which must hold plain Linears, rounded to nearest in place.
void round_blocks(LanguageModel& model, const QuantizerOptions& options);

}  // namespace chalk
