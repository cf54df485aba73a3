#pragma once
// Training: one step, the optimisers it drives, and the state that lets a run go on bit for bit after a stop.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kernels/precision.h"
#include "models/language_model.h"
#include "models/text/loader.h"
#include "nn/optimizer.h"
#include "nn/ranks.h"
#include "nn/schedule.h"

namespace chalk {

struct TrainOptions {
  std::string optimizer = "adamw";  // "adamw", "muon" (matrices inside blocks; AdamW for the rest) or "sgd"
  double lr = 1e-3;                 // peak, of AdamW or SGD
  double muon_lr = 4e-3;            // peak, of Muon
  double beta1 = 0.9, beta2 = 0.95;
  double weight_decay = 0.1;  // AdamW and SGD: tensors of rank 2 or more
  double muon_weight_decay = 0.05;
  double momentum = 0.9;            // SGD
  double clip = 1.0;                // largest global gradient norm; 0 = no clipping
  std::string schedule = "cosine";  // nn/schedule.h
  int64_t warmup = 100;             // steps
  double lr_floor = 0.1;            // factor of the peak at the end
  int64_t steps = 1000;             // in all, also after a resume
  int64_t accumulation = 1;         // batches per step
  uint64_t seed = 1337;             // of dropout masks
  std::string precision = "fp32";   // of the products in forward and backward: "fp32", "tf32" or "bf16" (docs/precision.md)
};

struct StepResult {
  double loss = 0;       // Σ weight · loss / positions, as trained on
  double grad_norm = 0;  // before clipping
  double lr_factor = 0;  // of the peak rates
  int64_t tokens = 0;    // positions, padding included
};

struct Trainer {
  // With several ranks (models/data_parallel.h) each works on its rows of every batch. All must make the same calls.
  Trainer(LanguageModel& model, const TrainOptions& options, const Ranks& ranks = one_rank);

  // One update. batch(i) is the i-th batch of the run: step s with accumulation A draws A·s … A·s + A − 1.
  // Throws Error when the loss is not finite: nothing has been updated then.
  StepResult train_step(const std::function<Batch(int64_t index)>& batch);
  // Its first half: forward and backward of the step's batches. The gradients are in grad(), on every rank the whole ones.
  StepResult add_gradients(const std::function<Batch(int64_t index)>& batch);

  // optimizer.safetensors and trainer_state.json in `folder`; the model's weights are saved beside them (models/load.h).
  void save_state(const std::string& folder) const;
  // Throws FileError when the files do not belong to this model and these options.
  void load_state(const std::string& folder);

  LanguageModel& model;
  TrainOptions options;
  Ranks ranks;
  Schedule schedule;
  Precision precision;
  std::vector<NamedTensor> parameters;
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  int64_t step = 0;  // updates made
};

// Loss of one batch as a tensor to call backward() on: Σ weight · CE / divisor.
Tensor batch_loss(LanguageModel& model, const Batch& batch, float divisor);

// Mean loss per predicted token, unweighted, in nats; no dropout. batch(i) for i < count.
double validation_loss(LanguageModel& model, int64_t count, const std::function<Batch(int64_t index)>& batch);

}  // namespace chalk
