// The adapter around one projection, and the walks over a model.

#include "nn/lora.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"
#include "autograd/random.h"
#include "nn/init.h"

namespace chalk {

double LoraOptions::scaling() const {
  return rank_stabilized ? alpha / std::sqrt(double(rank)) : alpha / double(rank);
}

LoraLinear::LoraLinear(std::unique_ptr<Layer> layer, const LoraOptions& options, uint64_t seed,
                       const std::string& name, const bool* training)
    : base(std::move(layer)), options(options), training(training) {
  auto* inner = dynamic_cast<Projection*>(base.get());
  check(inner != nullptr, "lora: slot {} holds no projection", name);
  check(options.rank >= 1, "lora: rank {} at {}, expected 1 or more", options.rank, name);
  check(options.dropout >= 0 && options.dropout < 1, "lora: dropout {} at {}, expected 0 ≤ p < 1",
        options.dropout, name);
  Device device = Device::CPU;
  if (const auto* dense = dynamic_cast<const Linear*>(inner)) device = dense->weight.device();
  if (const auto* packed = dynamic_cast<const NF4Linear*>(inner)) device = packed->weight.codes->device;
  A = Tensor({options.rank, inner->in_features()}, device);
  B = Tensor({inner->out_features(), options.rank}, device);  // zeros
  // Kaiming-uniform with a = √5 in the authors' code: bound √(6 / ((1 + 5) · in)) = 1/√in
  init_uniform(A, 1 / std::sqrt(float(inner->in_features())), seed, name + ".lora_A.weight");
  A.set_requires_grad();
  B.set_requires_grad();
}

Tensor LoraLinear::forward(const Tensor& x) {
  const Tensor y = base->forward(x);  // (..., out)
  if (merged) return y;
  const bool drop = options.dropout > 0 && training && *training;
  const Tensor dropped = drop ? dropout(x, float(options.dropout), dropout_seeds().next()) : x;
  const Tensor thin = linear(dropped, A);  // (..., r)
  // s is applied where the tensor is thinnest.
  return add(y, linear(scale(thin, float(options.scaling())), B));
}

void LoraLinear::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  base->visit_parameters(prefix + "base_layer.", visitor);
  visitor(prefix + "lora_A.weight", A);
  visitor(prefix + "lora_B.weight", B);
}

std::vector<float> LoraLinear::delta() const {
  const int64_t in = in_features(), out = out_features(), r = options.rank;
  const std::vector<float> a = A.to_vector(), b = B.to_vector();
  std::vector<float> delta(static_cast<size_t>(out * in));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      // ΔW_oi = s · Σ_r B_or A_ri
      double sum = 0;
      for (int64_t j = 0; j < r; ++j) sum += double(b[size_t(o * r + j)]) * double(a[size_t(j * in + i)]);
      delta[size_t(o * in + i)] = float(options.scaling() * sum);
    }
  }
  return delta;
}

MergeLoss LoraLinear::merge() {
  check(!merged, "lora: merged already");
  auto* dense = dynamic_cast<Linear*>(base.get());
  auto* packed = dynamic_cast<NF4Linear*>(base.get());
  check(dense || packed, "lora: cannot merge into this kind of projection; Linear and NF4Linear can");
  const std::vector<float> before = dense_weight(*base), update = delta();
  std::vector<float> target(before.size());
  for (size_t i = 0; i < before.size(); ++i) target[i] = before[i] + update[i];
  if (dense) {
    dense->weight.copy_from(Tensor::from(dense->weight.shape, target, dense->weight.device()));
  } else {
    before_merge = packed->weight;
    packed->weight = quantize_nf4(target.data(), out_features(), in_features(), packed->weight.options,
                                  packed->weight.codes->device);
  }
  merged = true;

  const std::vector<float> stored = dense_weight(*base);
  MergeLoss loss;
  for (size_t i = 0; i < stored.size(); ++i) {
    const double error = double(stored[i]) - (double(before[i]) + double(update[i]));
    loss.update_rms += double(update[i]) * double(update[i]);
    loss.error_rms += error * error;
  }
  loss.update_rms = std::sqrt(loss.update_rms / double(stored.size()));
  loss.error_rms = std::sqrt(loss.error_rms / double(stored.size()));
  return loss;
}

void LoraLinear::unmerge() {
  check(merged, "lora: not merged");
  if (auto* packed = dynamic_cast<NF4Linear*>(base.get())) {
    // Subtracting and rounding once more would lose again: the codes of before are kept instead.
    packed->weight = before_merge;
    before_merge = {};
  } else {
    const Tensor& weight = static_cast<Linear&>(*base).weight;
    const std::vector<float> update = delta();
    std::vector<float> w = weight.to_vector();
    for (size_t i = 0; i < update.size(); ++i) w[i] -= update[i];
    weight.copy_from(Tensor::from(weight.shape, w, weight.device()));
  }
  merged = false;
}

std::vector<float> dense_weight(const Layer& layer) {
  if (const auto* dense = dynamic_cast<const Linear*>(&layer)) return dense->weight.to_vector();
  if (const auto* packed = dynamic_cast<const NF4Linear*>(&layer)) return dequantize(packed->weight);
  if (const auto* lora = dynamic_cast<const LoraLinear*>(&layer)) {
    std::vector<float> weight = dense_weight(*lora->base);
    if (lora->merged) return weight;
    const std::vector<float> update = lora->delta();
    for (size_t i = 0; i < weight.size(); ++i) weight[i] += update[i];
    return weight;
  }
  throw Error("dense_weight: this kind of projection keeps no weight that can be read back");
}

// ---- a whole model ----

namespace {

bool matches(const std::string& slot, const std::string& target) {
  return slot == target || slot.ends_with("." + target);
}

// The projection slots that adapters or quantization may take, outer to inner.
std::vector<Slot*> body_projections(Module& model) {
  std::vector<Slot*> slots = slots_of(model, Slot::Kind::Projection);
  std::erase_if(slots, [](Slot* slot) { return slot->name == "lm_head"; });
  return slots;
}

std::vector<Slot*> target_slots(Module& model, const std::vector<std::string>& targets) {
  if (targets.empty()) return body_projections(model);
  std::vector<Slot*> chosen;
  std::vector<bool> used(targets.size(), false);
  std::string names;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    bool wanted = false;
    for (size_t t = 0; t < targets.size(); ++t) {
      if (matches(slot->name, targets[t])) wanted = used[t] = true;
    }
    if (wanted) chosen.push_back(slot);
    if (names.size() < 300) names += " " + slot->name;
  }
  for (size_t t = 0; t < targets.size(); ++t) {
    if (!used[t])
      throw UsageError("lora: no projection is called " + targets[t] + "; the first ones are" + names);
  }
  return chosen;
}

}  // namespace

std::vector<LoraLinear*> attach_lora(Module& model, const LoraOptions& options,
                                     const std::vector<std::string>& targets, uint64_t seed,
                                     const bool* training) {
  const std::vector<Slot*> slots = target_slots(model, targets);
  for (Slot* slot : slots) {
    check(!dynamic_cast<LoraLinear*>(slot->layer.get()), "lora: slot {} has an adapter already", slot->name);
  }
  model.set_requires_grad(false);
  for (Slot* slot : slots) {
    slot->layer = std::make_unique<LoraLinear>(std::move(slot->layer), options, seed, slot->name, training);
  }
  return lora_layers(model);
}

std::vector<LoraLinear*> lora_layers(Module& model) {
  std::vector<LoraLinear*> layers;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    if (auto* lora = dynamic_cast<LoraLinear*>(slot->layer.get())) layers.push_back(lora);
  }
  return layers;
}

MergeLoss merge_lora(Module& model) {
  MergeLoss total;
  double weights = 0;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    auto* lora = dynamic_cast<LoraLinear*>(slot->layer.get());
    if (!lora) continue;
    const MergeLoss loss = lora->merge();
    const double n = double(lora->in_features() * lora->out_features());
    total.update_rms += n * loss.update_rms * loss.update_rms;
    total.error_rms += n * loss.error_rms * loss.error_rms;
    weights += n;
    slot->layer = std::move(lora->base);
  }
  check(weights > 0, "merge_lora: the model has no adapter");
  return {.update_rms = std::sqrt(total.update_rms / weights),
          .error_rms = std::sqrt(total.error_rms / weights)};
}

void remove_lora(Module& model) {
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    auto* lora = dynamic_cast<LoraLinear*>(slot->layer.get());
    if (!lora) continue;
    if (lora->merged) lora->unmerge();
    slot->layer = std::move(lora->base);
  }
}

void quantize_projections(Module& model, const NF4Options& options) {
  for (Slot* slot : body_projections(model)) {
    if (const auto* dense = dynamic_cast<const Linear*>(slot->layer.get())) {
      slot->layer = std::make_unique<NF4Linear>(*dense, options);
    }
  }
}

std::vector<NamedTensor> trainable_parameters(Module& model) {
  std::vector<NamedTensor> list = model.parameters();
  std::erase_if(list, [](const NamedTensor& p) { return !p.tensor.requires_grad(); });
  return list;
}

}  // namespace chalk
