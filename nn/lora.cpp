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
                       const std::string& name, const bool* training, std::vector<int64_t> adapted)
    : base(std::move(layer)), options(options), parts(std::move(adapted)), training(training) {
  auto* inner = dynamic_cast<Projection*>(base.get());
  check(inner != nullptr, "lora: slot {} holds no projection", name);
  check(options.rank >= 1, "lora: rank {} at {}, expected 1 or more", options.rank, name);
  check(options.dropout >= 0 && options.dropout < 1, "lora: dropout {} at {}, expected 0 ≤ p < 1",
        options.dropout, name);
  Device device = Device::CPU;
  if (const auto* dense = dynamic_cast<const Linear*>(inner)) device = dense->weight.device();
  if (const auto* packed = dynamic_cast<const NF4Linear*>(inner)) device = packed->weight.codes->device;
  const int64_t in = inner->in_features(), out = inner->out_features(), count = int64_t(parts.size());
  check(parts.empty() || out == 3 * in, "lora: {} is no fused q, k, v: it has {} outputs of {} inputs", name,
        out, in);
  A = Tensor({parts.empty() ? options.rank : count * options.rank, in}, device);
  B = Tensor({parts.empty() ? out : count * (out / 3), options.rank}, device);  // zeros
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
  const Tensor scaled = scale(thin, float(options.scaling()));
  if (parts.empty()) return add(y, linear(scaled, B));
  const int64_t axis = int64_t(y.rank()) - 1, rows = out_features() / 3, r = options.rank;
  Tensor whole;  // (..., out): thirds side by side, with or without a correction
  for (int64_t third = 0, p = 0; third < 3; ++third) {
    Tensor y_part = slice(y, axis, third * rows, rows);  // (..., out/3)
    if (p < int64_t(parts.size()) && parts[size_t(p)] == third) {
      y_part = add(y_part, linear(slice(scaled, axis, p * r, r), slice(B, 0, p * rows, rows)));
      ++p;
    }
    whole = third == 0 ? y_part : concat(whole, y_part, axis);
  }
  return whole;
}

void LoraLinear::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  base->visit_parameters(prefix + "base_layer.", visitor);
  visitor(prefix + "lora_A.weight", A);
  visitor(prefix + "lora_B.weight", B);
}

std::vector<float> LoraLinear::wide_B() const {
  if (parts.empty()) return B.to_vector();
  const int64_t out = out_features(), rows = out / 3, r = options.rank, wide = A.dim(0);
  const std::vector<float> b = B.to_vector();
  std::vector<float> result(size_t(out * wide));
  for (int64_t p = 0; p < int64_t(parts.size()); ++p) {
    for (int64_t o = 0; o < rows; ++o) {
      const float* row = b.data() + (p * rows + o) * r;
      std::copy(row, row + r, result.begin() + (parts[size_t(p)] * rows + o) * wide + p * r);
    }
  }
  return result;
}

std::vector<float> LoraLinear::delta() const {
  const int64_t in = in_features(), out = out_features(), wide = A.dim(0);
  const std::vector<float> a = A.to_vector(), b = wide_B();
  std::vector<float> delta(static_cast<size_t>(out * in));
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t i = 0; i < in; ++i) {
      // ΔW_oi = s · Σ_r B_or A_ri
      double sum = 0;
      for (int64_t j = 0; j < wide; ++j)
        sum += double(b[size_t(o * wide + j)]) * double(a[size_t(j * in + i)]);
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

// "h.0.attn.c_attn.v" names a third of what the slot "h.0.attn.c_attn" gives: 2. Other names: −1, and nothing is cut off.
int64_t cut_part(std::string& target) {
  if (target.size() < 8 || target.compare(target.size() - 8, 7, "c_attn.") != 0) return -1;
  const size_t part = std::string("qkv").find(target.back());
  if (part == std::string::npos) return -1;
  target.resize(target.size() - 2);
  return int64_t(part);
}

struct Target {
  Slot* slot;
  std::vector<int64_t> parts;  // see LoraLinear::parts
};

std::vector<Target> target_slots(Module& model, const std::vector<std::string>& targets) {
  std::vector<Target> chosen;
  if (targets.empty()) {
    for (Slot* slot : body_projections(model)) chosen.push_back({slot, {}});
    return chosen;
  }
  std::vector<bool> used(targets.size(), false);
  std::string names;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    bool whole = false;
    std::vector<int64_t> parts;
    for (size_t t = 0; t < targets.size(); ++t) {
      std::string target = targets[t];
      const int64_t part = cut_part(target);
      if (!matches(slot->name, target)) continue;
      used[t] = true;
      if (part < 0) whole = true;
      if (part >= 0 && std::count(parts.begin(), parts.end(), part) == 0) parts.push_back(part);
    }
    std::sort(parts.begin(), parts.end());
    if (whole) parts.clear();
    if (whole || !parts.empty()) chosen.push_back({slot, parts});
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
  const std::vector<Target> chosen = target_slots(model, targets);
  for (const auto& [slot, parts] : chosen) {
    check(!dynamic_cast<LoraLinear*>(slot->layer.get()), "lora: slot {} has an adapter already", slot->name);
  }
  model.set_requires_grad(false);
  for (const auto& [slot, parts] : chosen) {
    slot->layer =
        std::make_unique<LoraLinear>(std::move(slot->layer), options, seed, slot->name, training, parts);
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
