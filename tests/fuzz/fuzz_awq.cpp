// libFuzzer: the packed tensors of an AWQ folder and its configuration. Only FileError may come out; what is accepted must
// dequantize and pack again.
#include <nlohmann/json.hpp>
#include <string_view>

#include "autograd/check.h"
#include "models/io/awq_folder.h"
#include "models/io/awq_format.h"
#include "models/io/json.h"
#include "tests/fuzz/patched.h"

namespace {

using namespace chalk;

Checkpoint one_block() {
  Checkpoint checkpoint;
  checkpoint.architecture = "gpt2";
  checkpoint.gpt2 = {.vocab_size = 8, .n_positions = 8, .n_embd = 16, .n_layer = 1, .n_head = 2};
  return checkpoint;
}

// One projection, and the scales behind the activation.
std::vector<uint8_t> valid_file() {
  QuantizedMatrix q =
      make_quantized_matrix(64, 16, {.bits = 4, .grid = Grid::AwqAsymmetric, .group_size = 8});
  std::fill(q.scales.begin(), q.scales.end(), 0.5f);
  const AwqGemm packed = pack_awq_gemm(q);
  const std::vector<float> s(64, 2);
  const auto bytes = [](const auto& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(v[0]));
  };
  const std::string layer = "transformer.h.0.mlp.c_fc";
  const std::vector<ArrayView> arrays = {{layer + ".qweight", DType::I32, {16, 8}, bytes(packed.qweight)},
                                         {layer + ".qzeros", DType::I32, {2, 8}, bytes(packed.qzeros)},
                                         {layer + ".scales", DType::F16, {2, 64}, bytes(packed.scales)},
                                         {"transformer.h.0.mlp.act.scales", DType::F32, {64}, bytes(s)}};
  return bytes_written_by([&](const std::string& path) { write_safetensors(path, arrays); });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  AwqConfig config{.group_size = 8};
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const bool json = text.starts_with("{");
    if (json)
      config = find_awq_config({{"quantization_config", parse_json(text, "fuzz")}}, "fuzz").value_or(config);
    const std::vector<uint8_t> bytes = json ? valid : patched(valid, data, size);
    Checkpoint checkpoint = one_block();
    read_awq_layers(parse_safetensors(bytes, "fuzz"), config, checkpoint);
    for (const QuantizedWeight& layer : checkpoint.quantized) {
      dequantize(layer.matrix);
      pack_awq_gemm(layer.matrix);
    }
  } catch (const FileError&) {
  }
  return 0;
}
