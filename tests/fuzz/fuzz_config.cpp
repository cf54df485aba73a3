// libFuzzer: any text as config.json. Only FileError may come out, and what is accepted must survive being
// written.
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/config.h"
#include "models/io/json.h"
#include "tests/fuzz/patched.h"

namespace {

std::vector<uint8_t> valid_file() {
  chalk::LlamaConfig config = chalk::llama_preset("llama-3.2-1b");
  config.model_type = "mistral";
  config.sliding_window = 4096;
  const std::string text = chalk::to_json(config).dump();
  return {text.begin(), text.end()};
}

template <class Config>
void check_round_trip(const Config& config, Config (*read)(const nlohmann::json&, const std::string&)) {
  const nlohmann::json written = chalk::parse_json(chalk::to_json(config).dump(), "written");
  if (chalk::to_json(read(written, "written")) != chalk::to_json(config)) __builtin_trap();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<uint8_t> valid = valid_file();
  const std::vector<uint8_t> bytes = chalk::patched(valid, data, size);
  try {
    const nlohmann::json json =
        chalk::parse_json({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, "fuzz");
    if (chalk::architecture_of(json, "fuzz") == "gpt2")
      check_round_trip(chalk::gpt2_config_from_json(json, "fuzz"), chalk::gpt2_config_from_json);
    else
      check_round_trip(chalk::llama_config_from_json(json, "fuzz"), chalk::llama_config_from_json);
  } catch (const chalk::FileError&) {
  }
  return 0;
}
