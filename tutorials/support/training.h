#pragma once
// A training run from flags to report: what `train` and `demo` share.

#include <memory>
#include <string>
#include <vector>

#include "models/load.h"
#include "models/train.h"
#include "tutorials/support/program.h"

namespace chalk {

// Every flag of `train`, one field each.
struct TrainSettings {
  std::string model = "llama";   // gpt2 or llama
  std::string corpus = "world";  // world, or a text file
  std::string tokenizer;         // char, word, bpe:N or a path; empty: word for the world, char for a file
  std::string out = "runs/train";
  bool resume = false;
  bool data_parallel = false;  // started by mpirun: share each batch's rows with the other processes

  int64_t layers = 4, heads = 4, width = 128;
  int64_t kv_heads = 0;  // 0 = heads
  int64_t hidden = 0;    // channels inside the MLP; 0 = the architecture's own rule
  int64_t context = 64;
  double dropout = 0;
  bool tie = true;
  double init_std = 0.02, init_embedding_std = 0.02;  // llama

  TrainOptions train{};
  int64_t batch = 16;            // rows
  double answer_weight = 4;      // loss weight of the world's answer tokens
  bool mark_class_word = false;    // the class word of a refusal counts as an answer token too (docs/world.md)
  bool mark_story_object = false;  // and so does the object at the end of a story
  int64_t documents = 100000;    // of the world
  std::vector<std::string> types;  // only these document types of the world; empty = all 16
  int64_t eval_every = 0;          // steps; 0 = ten times in the run
  int64_t save_every = 0;          // steps; 0 = at each validation
};

// Declares the flags and presets of TrainSettings.
void add_training_flags(Flags& flags, TrainSettings& settings);
// What `train --preset NAME` would run. Throws UsageError for an unknown name.
TrainSettings training_preset(const std::string& name);

// The text of a run, tokenised: the training batches, and the validation batches in order.
struct Corpus {
  std::unique_ptr<Tokenizer> tokenizer;
  std::function<Batch(int64_t index)> train, validation;
  int64_t validation_batches = 0;
  int64_t train_tokens = 0;
  std::vector<std::string> prompts;  // for samples on the way
};
Corpus make_corpus(const TrainSettings& settings, uint64_t seed);

// A fresh model of these sizes, initialised from `seed`.
std::unique_ptr<LanguageModel> make_fresh_model(const TrainSettings& settings, const Tokenizer& tokenizer,
                                                uint64_t seed, Device device);

struct TrainOutcome {
  std::unique_ptr<LanguageModel> model;
  std::unique_ptr<Tokenizer> tokenizer;
  std::string checkpoint;  // the last one's folder
  double train_loss = 0, validation_loss = 0;
  double seconds = 0;            // of training steps, this process
  double tokens_per_second = 0;  // positions, evaluation not counted
  int64_t steps = 0, parameters = 0, peak_bytes = 0;
  bool interrupted = false;
};

// Trains (or goes on with) the run in settings.out: config.json, metrics.jsonl, checkpoints/, samples/, plots/,
// report.html. Prints a time estimate first. After Ctrl-C it saves and comes back with `interrupted`.
// Of several ranks the first alone writes, validates and samples; the others come back without a validation loss.
TrainOutcome run_training(const TrainSettings& settings, Context& context, const Ranks& ranks = one_rank);

}  // namespace chalk
