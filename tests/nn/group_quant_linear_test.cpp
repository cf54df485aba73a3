// Packing loses nothing but the scales' last bits; a packed projection is the float projection of what it holds.
#include "nn/group_quant_linear.h"

#include <gtest/gtest.h>

#include "autograd/gradcheck.h"
#include "models/storage.h"
#include "nn/calibration.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"
#include "tests/models/small_models.h"

namespace chalk {
namespace {

QuantizedMatrix some_matrix(int64_t rows, int64_t columns, int bits, int64_t group_size,
                            Grid grid = Grid::GptqAsymmetric) {
  const Tensor w = random_tensor({rows, columns}, 3, Device::CPU);
  return round_to_nearest(w.data(), rows, columns, {.bits = bits, .grid = grid, .group_size = group_size});
}

// Columns dealt to groups like act-order does.
void shuffle_groups(QuantizedMatrix& q) {
  for (int64_t k = 0; k < q.columns; ++k)
    q.group_of.push_back(int32_t((k * 7 + 3) % q.columns / q.group_size));
}

class GroupQuantLinearTest : public testing::TestWithParam<Device> {};

TEST_P(GroupQuantLinearTest, UnpacksToWhatWasPacked) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t group : {-1, 10, 16, 32}) {
      for (bool shuffled : {false, true}) {
        QuantizedMatrix q = some_matrix(6, 50, bits, group);
        if (shuffled) shuffle_groups(q);
        const QuantizedMatrix back = PackedGroups(q, GetParam()).unpack();
        EXPECT_EQ(back.codes, q.codes);
        EXPECT_EQ(back.zeros, q.zeros);
        EXPECT_EQ(back.group_of, q.group_of);
        for (size_t i = 0; i < q.scales.size(); ++i) {
          EXPECT_NEAR(back.scales[i], q.scales[i], q.scales[i] * 0x1p-11);  // half a step of 10 bits
        }
      }
    }
  }
}

// Against Linear with the dequantized weight: the same products in another order. |x| < 1, and codes are used with their
// offset, a range of 2 in all: sums below 50 · 2, about 60 roundings of 2^-24.
TEST_P(GroupQuantLinearTest, IsLinearOfItsDequantizedWeight) {
  for (int bits = 1; bits <= 8; ++bits) {
    for (int64_t group : {-1, 16}) {
      for (int64_t rows : {1, 7}) {
        QuantizedMatrix q = some_matrix(9, 50, bits, group);
        if (bits % 2) shuffle_groups(q);
        const Tensor bias = random_tensor({9}, 4, GetParam());
        GroupQuantLinear packed(q, bias, GetParam());
        Linear plain(Tensor::from({9, 50}, packed.dequantized(), GetParam()));
        plain.bias = bias;
        const Tensor x = random_tensor({1, rows, 50}, 5, GetParam());
        EXPECT_TRUE(all_near(packed.forward(x), plain.forward(x), 60 * 6e-8 * 100)) << bits;
      }
    }
  }
}

TEST_P(GroupQuantLinearTest, GradientFlowsToItsInputAndBias) {
  for (int bits : {2, 3, 4, 8}) {
    Tensor bias = random_tensor({5}, 6, GetParam());
    GroupQuantLinear layer(some_matrix(5, 20, bits, 8), bias, GetParam());
    Linear plain(Tensor::from({5, 20}, layer.dequantized(), GetParam()));
    plain.bias = bias.clone();
    const Tensor dy = random_tensor({3, 5}, 7, GetParam());
    std::vector<std::vector<float>> gradients;
    for (Projection* projection : {static_cast<Projection*>(&layer), static_cast<Projection*>(&plain)}) {
      Tensor x = random_tensor({3, 20}, 8, GetParam());
      x.set_requires_grad();
      if (projection == &layer) layer.bias.set_requires_grad();
      if (projection == &plain) plain.bias.set_requires_grad();
      sum(mul(projection->forward(x), dy)).backward();
      gradients.push_back(x.grad().to_vector());
      gradients.push_back((projection == &layer ? layer.bias : plain.bias).grad().to_vector());
    }
    EXPECT_TRUE(all_near(gradients[0], gradients[2], 1e-5));  // 20 roundings of 2^-24 of sums below 5
    EXPECT_TRUE(all_near(gradients[1], gradients[3], 1e-5));
  }
}

TEST_P(GroupQuantLinearTest, RefusesWhatDoesNotFit) {
  GroupQuantLinear layer(some_matrix(5, 20, 4, 8), {}, GetParam());
  EXPECT_MENTIONS(error_text([&] { layer.forward(random_tensor({2, 21}, 1, GetParam())); }), "20 inputs");
  EXPECT_MENTIONS(error_text([&] { GroupQuantLinear(some_matrix(5, 20, 4, 8), Tensor({4}), GetParam()); }),
                  "bias");
  QuantizedMatrix q = some_matrix(5, 20, 4, 8);
  q.scales[3] = 1e6f;
  EXPECT_MENTIONS(error_text([&] { GroupQuantLinear(q, {}, GetParam()); }), "half precision");
  q = some_matrix(5, 20, 4, 8);
  q.codes[0] = 99;
  EXPECT_MENTIONS(error_text([&] { GroupQuantLinear(q, {}, GetParam()); }), "above 15");
}

INSTANTIATE_TEST_SUITE_P(Devices, GroupQuantLinearTest,
                         testing::Values(Device::Plain, Device::CPU, Device::CUDA), device_test_name);

// Memory: what the bits promise. 128 inputs share a scale of 2 bytes and a zero of 1; symmetric grids have no zeros.
TEST(GroupQuantLinearMemory, ResidentBytes) {
  const int64_t rows = 8, columns = 256;
  const auto bytes = [&](int bits, Grid grid, int64_t group) {
    return GroupQuantLinear(some_matrix(rows, columns, bits, group, grid), {}, Device::CPU).resident_bytes();
  };
  EXPECT_EQ(bytes(4, Grid::GptqAsymmetric, 128), rows * (columns / 2 + 2 * 3));
  EXPECT_EQ(bytes(4, Grid::GptqSymmetric, 128), rows * (columns / 2 + 2 * 2));
  EXPECT_EQ(bytes(8, Grid::AbsMax, -1), rows * (columns + 2));
  EXPECT_EQ(bytes(3, Grid::GptqAsymmetric, 128), rows * (columns * 3 / 8 + 2 * 3));
  EXPECT_EQ(bytes(2, Grid::GptqAsymmetric, 32), rows * (columns / 4 + 8 * 3));
}

TEST(GroupQuantLinearMemory, IsCountedByTheAllocator) {
  const int64_t before = memory_counters().live_bytes;
  {
    GroupQuantLinear layer(some_matrix(64, 1024, 4, 128), {}, Device::CPU);
    EXPECT_GE(memory_counters().live_bytes - before, layer.resident_bytes());
    EXPECT_LE(memory_counters().live_bytes - before,
              layer.resident_bytes() * 9 / 8 + 3 * 64);  // size classes
  }
  EXPECT_EQ(memory_counters().live_bytes, before);
}

// In the slots of both models: the logits are those of the float model with the dequantized weights.
class QuantizedModelTest : public testing::TestWithParam<ModelCase> {};

TEST_P(QuantizedModelTest, RunsInEverySlot) {
  NoGrad no_grad;
  std::unique_ptr<LanguageModel> packed = GetParam().make(), floats = GetParam().make();
  const double before = storage_of(*packed).effective_bits();
  EXPECT_EQ(before, 32);
  for (Slot* slot : slots_of(*packed, Slot::Kind::Projection)) {
    const Tensor w = float_linear(*slot).weight;
    put_quantized(*slot, round_to_nearest(w.data(), w.dim(0), w.dim(1), {.bits = 4, .group_size = 4}));
    auto& quantized = dynamic_cast<GroupQuantLinear&>(*slot->layer);
    Linear& linear = float_linear(find_slot(*floats, slot->name));
    if (slot->name == "lm_head")
      linear.weight = linear.weight.clone();  // untie: the embedding stays as it is
    linear.weight.copy_from(Tensor::from(linear.weight.shape, quantized.dequantized(), GetParam().device));
  }
  const IntTensor ids = some_ids(2, 6);
  // Two blocks of about 10 products of 30 terms; activations stay below 30.
  EXPECT_TRUE(all_near(packed->forward(ids), floats->forward(ids), 30 * 300 * 6e-8));

  // Cached generation takes the path for few rows.
  KVCache cache = packed->make_cache(), other = floats->make_cache();
  packed->forward({{2, 5}, some_ids(2, 5).values}, &cache);
  floats->forward({{2, 5}, some_ids(2, 5).values}, &other);
  EXPECT_TRUE(all_near(packed->forward({{2, 1}, {3, 4}}, &cache), floats->forward({{2, 1}, {3, 4}}, &other),
                       30 * 300 * 6e-8));
  EXPECT_LT(storage_of(*packed).effective_bits(), before);
  // Nothing is left out and nothing counted twice. (Rows of 8 inputs are mostly padding: these models do not shrink.)
  int64_t bytes = 0, weights = 0;
  for (const NamedTensor& p : packed->parameters())
    bytes += 4 * p.tensor.numel(), weights += p.tensor.numel();
  for (Slot* slot : slots_of(*packed, Slot::Kind::Projection)) {
    const Projection& projection = slot->projection();
    bytes += dynamic_cast<GroupQuantLinear&>(slot->projection()).weight->bytes();
    weights += projection.in_features() * projection.out_features();
  }
  EXPECT_EQ(resident_bytes(*packed), bytes);
  EXPECT_EQ(storage_of(*packed).weights, weights);
  EXPECT_MENTIONS(error_text([&] { float_linear(find_slot(*packed, "lm_head")); }), "lm_head");
}

INSTANTIATE_TEST_SUITE_P(Models, QuantizedModelTest, testing::ValuesIn(kModelCases), model_test_name);

}  // namespace
}  // namespace chalk
