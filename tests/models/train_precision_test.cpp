// TrainOptions::precision: it reaches the products of a training step, on every backend, and nothing else.

#include <gtest/gtest.h>

#include <cmath>

#include "autograd/check.h"
#include "autograd/precision.h"
#include "models/train.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

constexpr int64_t B = 2, T = 8;

Batch make_batch(int64_t index) {
  Batch batch;
  batch.B = B, batch.T = T;
  for (int64_t i = 0; i < B * T; ++i) {
    const int32_t id = int32_t((i * 5 + index) % 29);
    batch.ids.push_back(id);
    batch.targets.push_back((id * 3 + 1) % 29);
    batch.weights.push_back(1);
  }
  return batch;
}

struct Step {
  double loss = 0, grad_norm = 0, validation = 0;
};

Step first_step(Device device, const std::string& precision) {
  const auto start = small_llama(Device::CPU);
  Llama model(small_llama_config(), device);
  const std::vector<NamedTensor> from = start->parameters(), to = model.parameters();
  for (size_t i = 0; i < to.size(); ++i) to[i].tensor.copy_from(from[i].tensor);
  TrainOptions options;
  options.precision = precision;
  Trainer trainer(model, options);
  const StepResult result = trainer.add_gradients(make_batch);
  EXPECT_EQ(MatmulPrecision::current(), Precision::FP32) << "the scope ends with the step";
  return {result.loss, result.grad_norm, validation_loss(model, 1, make_batch)};
}

TEST(TrainPrecision, ReachesTheProductsOnEveryBackend) {
  for (const char* precision : {"tf32", "bf16"}) {
    const Step plain = first_step(Device::Plain, precision);
    for (Device device : {Device::Plain, Device::CPU, Device::CUDA}) {
      const Step exact = first_step(device, "fp32"), low = first_step(device, precision);
      EXPECT_NE(low.loss, exact.loss) << device_name(device);
      EXPECT_NE(low.grad_norm, exact.grad_norm) << device_name(device);
      EXPECT_EQ(low.validation, exact.validation) << "validation is in float32";
      // Backends differ by float32 roundings; an operand near a tie then goes to the other neighbour, 2 u away. If that happened to
      // every operand of the last product, and bf16's u = 2⁻⁸ is the larger, the loss would move by about 4 u = 1.6 %.
      EXPECT_NEAR(low.loss, plain.loss, 1.6e-2 * plain.loss) << precision << " on " << device_name(device);
    }
  }
}

TEST(TrainPrecision, UnknownNamesAreUsageErrors) {
  const auto model = small_llama(Device::CPU);
  TrainOptions options;
  options.precision = "fp16";
  EXPECT_THROW(Trainer(*model, options), UsageError);
}

}  // namespace
}  // namespace chalk
