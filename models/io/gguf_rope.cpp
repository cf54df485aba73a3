#include "models/io/gguf_rope.h"

#include <algorithm>
#include <cmath>

#include "autograd/check.h"

namespace chalk {
namespace {

constexpr double kLow = 1.0, kHigh = 4.0;
constexpr int64_t kOriginal = 8192;

}  // namespace

std::vector<float> llama3_divisors(const LlamaConfig& config) {
  const RopeScaling& scaling = config.rope_scaling;
  const int64_t half = config.head_size() / 2;
  std::vector<float> divisors(half);
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(config.rope_theta, -static_cast<double>(i) / half);
    const double turns =
        static_cast<double>(scaling.original_max_position_embeddings) * frequency / (2 * M_PI);
    const double s = (turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor);
    const double kept = std::clamp(s, 0.0, 1.0);
    divisors[i] = static_cast<float>(1.0 / ((1.0 - kept) / scaling.factor + kept));
  }
  return divisors;
}

RopeScaling llama3_scaling(const GgufTensor& stored, LlamaConfig config, const std::string& path) {
  const int64_t half = config.head_size() / 2;
  if (half < 1 || static_cast<int64_t>(stored.bytes.size()) != 4 * half || stored.type != GgmlType::F32)
    throw FileError(path, "rope_freqs.weight", fmt::format("is not a list of {} F32", half));
  const std::vector<float> divisors = to_floats(stored);
  const float factor = *std::max_element(divisors.begin(), divisors.end());
  config.rope_scaling = {"llama3", factor, kLow, kHigh, kOriginal};
  const std::vector<float> expected = llama3_divisors(config);
  for (size_t i = 0; i < divisors.size(); ++i)
    if (!(std::fabs(divisors[i] - expected[i]) <= 1e-4f * expected[i]))  // computed in float by the converter
      throw FileError(
          path, "rope_freqs.weight",
          fmt::format("divisor {} is {}, Llama-3.1's rule gives {}", i, divisors[i], expected[i]));
  return config.rope_scaling;
}

void check_llama3_scaling(const RopeScaling& scaling) {
  const bool published = scaling.low_freq_factor == kLow && scaling.high_freq_factor == kHigh &&
                         scaling.original_max_position_embeddings == kOriginal;
  check(published, "GGUF: llama3 scaling means low 1, high 4, original context 8192; got {}, {}, {}",
        scaling.low_freq_factor, scaling.high_freq_factor, scaling.original_max_position_embeddings);
}

}  // namespace chalk
