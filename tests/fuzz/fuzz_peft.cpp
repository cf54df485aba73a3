// libFuzzer: any text as adapter_config.json beside valid tensors, or any bytes as adapter_model.safetensors beside a valid
// configuration. Only FileError may come out.
#include <cstring>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/json.h"
#include "models/io/peft.h"
#include "tests/fuzz/patched.h"

namespace {

const std::string kConfig =
    R"({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "lora_dropout": 0.1, "bias": "none",
  "use_rslora": false, "use_dora": false, "rank_pattern": {}, "modules_to_save": null, "target_modules": ["q_proj"]})";

std::vector<uint8_t> valid_tensors() {
  const std::string header =
      R"({"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":{"dtype":"F32","shape":[2,4],"data_offsets":[0,32]},)"
      R"("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight":{"dtype":"F32","shape":[3,2],"data_offsets":[32,56]}})";
  std::vector<uint8_t> bytes(8 + header.size() + 56);
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::vector<uint8_t> config(kConfig.begin(), kConfig.end()), tensors = valid_tensors();
  std::vector<uint8_t>& target = data[0] % 2 == 0 ? config : tensors;
  target = chalk::patched(target, data + 1, size - 1);
  try {
    const nlohmann::json json =
        chalk::parse_json({reinterpret_cast<const char*>(config.data()), config.size()}, "config");
    chalk::parse_peft(json, "config", chalk::parse_safetensors(tensors, "tensors"));
  } catch (const chalk::FileError&) {
  }
  return 0;
}
