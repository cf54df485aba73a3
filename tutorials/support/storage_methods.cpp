// RTN, GPTQ, AWQ, NF4 and no quantization at all, each in a few lines.

#include "tutorials/support/storage_methods.h"

#include <set>

#include "nn/nf4_linear.h"
#include "papers/quantization/awq.h"
#include "papers/quantization/gptq.h"
#include "papers/quantization/rtn.h"

namespace chalk {
namespace {

using Codes = std::vector<QuantizedWeight>;

QuantizerOptions grid_of(const StorageOptions& o, int bits) {
  return {.bits = bits, .grid = Grid::GptqAsymmetric, .group_size = o.group};
}

void save_gptq(MeasuredModel& m, const StorageOptions& o, int bits,
               const std::vector<QuantizedWeight>& layers, const std::string& folder) {
  const GptqConfig config{.bits = bits, .group_size = o.group, .sym = false, .version = 2};
  const bool has_format = bits <= 4 || bits == 8;
  if (!folder.empty() && has_format)
    save_gptq_model(*m.loaded.model, *m.loaded.tokenizer, layers, config, folder);
}

Codes apply_float(MeasuredModel& m, const std::string& folder) {
  if (!folder.empty()) save_model(*m.loaded.model, *m.loaded.tokenizer, folder);
  return {};
}

Codes apply_rtn(MeasuredModel& m, const StorageOptions& o, int bits, const std::string& folder) {
  Codes layers;
  for (Slot* slot : rtn_slots(*m.loaded.model, o.head)) {
    layers.push_back(
        {slot->name, round_layer(slot->name, float_linear(*slot).weight, grid_of(o, bits)).matrix});
  }
  save_gptq(m, o, bits, layers, o.head ? "" : folder);  // GPTQ folders leave the head in half precision
  return layers;
}

Codes apply_gptq(MeasuredModel& m, const StorageOptions& o, const std::string& folder) {
  const gptq::Options options{.quantizer = grid_of(o, o.bits), .true_sequential = true, .half_scales = true};
  Codes layers = gptq::quantize_model(*m.loaded.model, m.calibration, options).layers;
  save_gptq(m, o, o.bits, layers, folder);
  return layers;
}

Codes apply_awq(MeasuredModel& m, const StorageOptions& o, const std::string& folder) {
  IntTensor text = m.calibration[0];
  for (size_t i = 1; i < m.calibration.size(); ++i) {
    text.shape[0] += m.calibration[i].shape[0];
    text.values.insert(text.values.end(), m.calibration[i].values.begin(), m.calibration[i].values.end());
  }
  const AwqOptions options{.bits = o.bits, .group_size = o.group, .short_groups = true};
  const AwqResult result = quantize_awq(*m.loaded.model, text, options);
  if (o.bits == 4)
    save_awq_model(*m.loaded.model, *m.loaded.tokenizer, result.layers, folder);  // files hold 4 bits
  Codes layers;
  for (const auto& [slot, matrix] : result.layers) layers.push_back({slot, matrix});
  return layers;
}

// No folder: PEFT adapters name their base model.
Codes apply_nf4(MeasuredModel& m, const StorageOptions& o) {
  for (Slot* slot : rtn_slots(*m.loaded.model, o.head)) {
    slot->layer = std::make_unique<NF4Linear>(float_linear(*slot), NF4Options{.block = o.group});
  }
  return {};
}

}  // namespace

std::vector<StorageMethod> storage_methods(const StorageOptions& o) {
  std::vector<StorageMethod> methods = {{"float32", apply_float}};
  const auto add = [&](const std::string& name, auto apply) { methods.push_back({name, apply}); };
  for (int bits : std::set<int>{8, o.bits}) {
    add(fmt::format("RTN, {} bits", bits),
        [o, bits](auto& m, auto& folder) { return apply_rtn(m, o, bits, folder); });
  }
  if (o.has_text) {
    add(fmt::format("GPTQ, {} bits", o.bits),
        [o](auto& m, auto& folder) { return apply_gptq(m, o, folder); });
    add(fmt::format("AWQ, {} bits", o.bits), [o](auto& m, auto& folder) { return apply_awq(m, o, folder); });
  }
  add("NF4", [o](auto& m, auto&) { return apply_nf4(m, o); });
  return methods;
}

}  // namespace chalk
