#pragma once
// A small model and a batch for the tests of switchable precision.

#include <gtest/gtest.h>

#include "models/text/loader.h"
#include "papers/qat/switchable_precision.h"
#include "tests/models/small_models.h"

namespace chalk {

inline constexpr int64_t V = 29;

inline Batch small_batch(uint64_t seed = 1, int64_t B = 3, int64_t T = 8) {
  Batch batch{.B = B, .T = T, .ids = {}, .targets = {}, .weights = {}};
  for (int64_t i = 0; i < B * T; ++i) {
    batch.ids.push_back(int32_t(random_word(seed, uint64_t(i)) % V));
    batch.targets.push_back(int32_t(random_word(seed + 100, uint64_t(i)) % V));
    batch.weights.push_back(i % 5 == 4 ? 0.0f : 1.0f);
  }
  return batch;
}

inline std::vector<float> logits_at(SwitchableModel& switchable, int bits, const Batch& batch) {
  NoGrad no_grad;
  switchable.set_precision(bits);
  return switchable.model.forward({{batch.B, batch.T}, batch.ids}).to_vector();
}

struct SwitchablePrecision : testing::Test {
  std::unique_ptr<LanguageModel> model = small_gpt2(Device::CPU);
  Batch batch = small_batch();
};

}  // namespace chalk
