// libFuzzer: the packed tensors of a GPTQ folder and its configuration. Only FileError may come out; what is accepted must
// dequantize.
#include <nlohmann/json.hpp>
#include <string_view>

#include "autograd/check.h"
#include "models/io/gptq_format.h"
#include "models/io/json.h"
#include "tests/fuzz/patched.h"

namespace {

using namespace chalk;

Checkpoint one_block() {
  Checkpoint checkpoint;
  checkpoint.architecture = "llama";
  LlamaConfig& config = checkpoint.llama;
  config.vocab_size = 8, config.hidden_size = 32, config.intermediate_size = 32, config.num_hidden_layers = 1;
  config.num_attention_heads = 2, config.num_key_value_heads = 2, config.max_position_embeddings = 8;
  return checkpoint;
}

// The four tensors of one projection.
std::vector<uint8_t> valid_file() {
  QuantizedMatrix q = make_quantized_matrix(32, 32, {.bits = 3, .group_size = 16});
  std::fill(q.scales.begin(), q.scales.end(), 0.5f);
  const GptqTensors packed = pack_gptq(q, 1);
  const std::vector<uint8_t> scales = floats_to_bytes(packed.scales, DType::F16);
  const auto bytes = [](const auto& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(v[0]));
  };
  const std::string layer = "model.layers.0.self_attn.q_proj";
  const std::vector<ArrayView> arrays = {{layer + ".qweight", DType::I32, {3, 32}, bytes(packed.qweight)},
                                         {layer + ".qzeros", DType::I32, {2, 3}, bytes(packed.qzeros)},
                                         {layer + ".scales", DType::F16, {2, 32}, bytes(scales)},
                                         {layer + ".g_idx", DType::I32, {32}, bytes(packed.g_idx)}};
  return bytes_written_by([&](const std::string& path) { write_safetensors(path, arrays); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  static const Checkpoint checkpoint = one_block();
  GptqConfig config{.bits = 3, .group_size = 16};
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (text.starts_with("{")) config = gptq_config_from_json(parse_json(text, "fuzz"), "fuzz");
    const std::vector<uint8_t> bytes = text.starts_with("{") ? valid : patched(valid, data, size);
    for (const QuantizedWeight& layer :
         read_gptq_layers(parse_safetensors(bytes, "fuzz"), config, checkpoint)) {
      dequantize(layer.matrix);
    }
  } catch (const FileError&) {
  }
  return 0;
}
