// The training step, in the order it happens, and its state on disk.

#include "models/train.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "autograd/precision.h"
#include "autograd/random.h"
#include "models/data_parallel.h"
#include "models/io/file.h"
#include "models/io/json.h"
#include "models/io/safetensors.h"
#include "nn/adamw.h"
#include "nn/lora.h"
#include "nn/muon.h"

namespace chalk {
namespace {

std::vector<std::unique_ptr<Optimizer>> make_optimizers(const std::vector<NamedTensor>& parameters,
                                                        const LanguageModel& model, const TrainOptions& o) {
  std::vector<std::unique_ptr<Optimizer>> optimizers;
  const AdamW::Options adamw{.lr = float(o.lr),
                             .beta1 = float(o.beta1),
                             .beta2 = float(o.beta2),
                             .weight_decay = float(o.weight_decay)};
  if (o.optimizer == "adamw") {
    optimizers.push_back(std::make_unique<AdamW>(parameters, adamw));
  } else if (o.optimizer == "sgd") {
    const SGD::Options sgd{
        .lr = float(o.lr), .momentum = float(o.momentum), .weight_decay = float(o.weight_decay)};
    optimizers.push_back(std::make_unique<SGD>(parameters, sgd));
  } else if (o.optimizer == "muon") {
    const std::string block_word = model.block_prefix(0).substr(0, model.block_prefix(0).find('.') + 1);
    std::vector<NamedTensor> matrices, rest;
    for (const NamedTensor& p : parameters) {
      const bool inside_block = p.name.starts_with(block_word) && p.tensor.rank() == 2;
      (inside_block ? matrices : rest).push_back(p);
    }
    const Muon::Options muon{.lr = float(o.muon_lr), .weight_decay = float(o.muon_weight_decay)};
    optimizers.push_back(std::make_unique<Muon>(matrices, muon));
    optimizers.push_back(std::make_unique<AdamW>(rest, adamw));
  } else {
    throw UsageError("unknown optimizer \"" + o.optimizer + "\"; known are adamw, muon, sgd");
  }
  return optimizers;
}

Precision precision_by_name(const std::string& name) {
  if (name == "fp32") return Precision::FP32;
  if (name == "tf32") return Precision::TF32;
  if (name == "bf16") return Precision::BF16;
  throw UsageError("unknown precision \"" + name + "\"; known are fp32, tf32, bf16");
}

}  // namespace

Trainer::Trainer(LanguageModel& model, const TrainOptions& options, const Ranks& ranks)
    : model(model),
      options(options),
      ranks(ranks),
      schedule{.kind = schedule_by_name(options.schedule),
               .warmup = options.warmup,
               .total = options.steps,
               .floor = options.lr_floor},
      precision(precision_by_name(options.precision)),
      parameters(trainable_parameters(model)),
      optimizers(make_optimizers(parameters, model, options)) {
  copy_weights_from_first(parameters, ranks);
}

Tensor batch_loss(LanguageModel& model, const Batch& batch, float divisor) {
  const Tensor logits = model.forward({{batch.B, batch.T}, batch.ids});  // (B, T, V)
  return cross_entropy(logits, batch.targets, batch.weights, divisor);
}

StepResult Trainer::add_gradients(const std::function<Batch(int64_t index)>& batch) {
  StepResult result;
  const uint64_t step_seed = derive_seed(options.seed, uint64_t(step));
  const uint64_t mask_seed = ranks.first() ? step_seed : derive_seed(step_seed, uint64_t(ranks.rank));
  dropout_seeds() = {.seed = mask_seed, .calls = 0};
  const MatmulPrecision products(precision);  // the weights and all that is stored stay float32
  model.training = true;
  for (int64_t i = 0; i < options.accumulation; ++i) {
    const Batch whole = batch(step * options.accumulation + i);
    const float positions = float(whole.B * whole.T * options.accumulation);
    const Tensor loss = batch_loss(model, rows_of_rank(whole, ranks), positions);
    result.loss += double(loss.item());
    result.tokens += whole.B * whole.T;
    loss.backward();  // adds to what earlier batches of this step left in grad()
  }
  model.training = false;
  result.loss = ranks.sum(result.loss);
  check(std::isfinite(result.loss),
        "the loss of step {} is not finite: lower the learning rate or clip harder", step);
  sum_gradients(parameters, ranks);
  result.grad_norm = gradient_norm(parameters);
  return result;
}

StepResult Trainer::train_step(const std::function<Batch(int64_t index)>& batch) {
  StepResult result = add_gradients(batch);
  result.lr_factor = schedule.factor(step);
  for (auto& optimizer : optimizers) {
    optimizer->step(result.lr_factor, clip_coefficient(result.grad_norm, options.clip));
    optimizer->zero_grad();
  }
  step += 1;
  return result;
}

double validation_loss(LanguageModel& model, int64_t count,
                       const std::function<Batch(int64_t index)>& batch) {
  NoGrad no_grad;
  double sum = 0;
  int64_t tokens = 0;
  for (int64_t i = 0; i < count; ++i) {
    const Batch b = batch(i);
    const Tensor rows = cross_entropy_rows(model.forward({{b.B, b.T}, b.ids}), b.targets);
    const std::vector<float> losses = rows.to_vector();
    for (size_t n = 0; n < losses.size(); ++n) {
      if (b.targets[n] == ignore_index) continue;
      sum += double(losses[n]);
      tokens += 1;
    }
  }
  return tokens > 0 ? sum / double(tokens) : 0;
}

// ---- state on disk ----

void Trainer::save_state(const std::string& folder) const {
  std::vector<ArrayView> arrays;
  std::vector<Tensor> on_host;  // what the arrays look at
  nlohmann::ordered_json optimizer_steps = nlohmann::ordered_json::array();
  for (const auto& optimizer : optimizers) {
    optimizer_steps.push_back(optimizer->steps);
    optimizer->visit_state([&](const std::string& name, const Tensor& state) {
      on_host.push_back(state.device() == Device::CUDA ? state.to(Device::CPU) : state);
      const auto* bytes = reinterpret_cast<const uint8_t*>(on_host.back().data());
      arrays.push_back({name, DType::F32, state.shape, {bytes, size_t(state.numel()) * sizeof(float)}});
    });
  }
  write_safetensors(join_path(folder, "optimizer.safetensors"), arrays);
  const nlohmann::ordered_json state = {{"global_step", step},
                                        {"max_steps", options.steps},
                                        {"optimizer", options.optimizer},
                                        {"optimizer_steps", optimizer_steps},
                                        {"accumulation", options.accumulation},
                                        {"seed", options.seed}};
  write_text(join_path(folder, "trainer_state.json"), state.dump(2) + "\n");
}

void Trainer::load_state(const std::string& folder) {
  const std::string state_path = join_path(folder, "trainer_state.json");
  const nlohmann::json state = read_json(state_path);
  const std::string optimizer_name = get_string(state, state_path, "optimizer");
  if (optimizer_name != options.optimizer) {
    throw FileError(state_path, "optimizer", "the run used " + optimizer_name + ", not " + options.optimizer);
  }
  const int64_t saved_step = get_int(state, state_path, "global_step", 0, int64_t(1) << 40);
  const auto counts = state.find("optimizer_steps");
  if (counts == state.end() || !counts->is_array() || counts->size() != optimizers.size()) {
    throw FileError(state_path, "optimizer_steps",
                    fmt::format("expected a list of {} numbers", optimizers.size()));
  }

  const std::string path = join_path(folder, "optimizer.safetensors");
  const Safetensors file = read_safetensors(path);
  for (size_t i = 0; i < optimizers.size(); ++i) {
    if (!(*counts)[i].is_number_integer())
      throw FileError(state_path, "optimizer_steps", "not whole numbers");
    optimizers[i]->steps = (*counts)[i].get<int64_t>();
    optimizers[i]->visit_state([&](const std::string& name, const Tensor& tensor) {
      const ArrayView& array = file.at(name);
      if (array.shape != tensor.shape) {
        throw FileError(path, name,
                        "has shape " + to_string(array.shape) + ", expected " + to_string(tensor.shape));
      }
      tensor.copy_from(Tensor::from(tensor.shape, to_floats(array), tensor.device()));
    });
  }
  step = saved_step;
}

}  // namespace chalk
