// What every op says when its arguments do not fit: the op, what it got, what it expected.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "tests/expect.h"

namespace chalk {
namespace {

Tensor ones(Shape shape, Device device = Device::Plain) {
  return Tensor::full(std::move(shape), 1, device);
}

TEST(OpErrors, Products) {
  const std::string text = error_text([] { linear(ones({2, 3}), ones({4, 5})); });
  EXPECT_MENTIONS(text, "linear: weight has shape (4, 5) but x has 3 channels, shape (2, 3)");
  EXPECT_MENTIONS(error_text([] { linear(ones({2, 3}), ones({4, 3}), ones({3})); }), "bias has shape (3)");
  EXPECT_MENTIONS(error_text([] { linear(ones({}), ones({4, 3})); }), "linear: x has shape ()");
  EXPECT_MENTIONS(error_text([] { matmul(ones({2, 3}), ones({4, 5})); }), "3 columns but b gives 4 rows");
  EXPECT_MENTIONS(error_text([] { matmul(ones({2, 3}), ones({4, 3})); }), "shapes (2, 3) and (4, 3)");
  EXPECT_MENTIONS(error_text([] { matmul(ones({3}), ones({3, 3})); }), "both need two axes");
  EXPECT_MENTIONS(error_text([] { matmul(ones({2, 3, 3}), ones({4, 3, 3})); }), "leading axes differ");
}

TEST(OpErrors, RowwiseAndElementwise) {
  EXPECT_MENTIONS(error_text([] {
                    layernorm(ones({4, 64, 1024}), ones({768}), ones({1024}));
                  }),
                  "layernorm: weight has shape (768) but x has 1024 channels, shape (4, 64, 1024)");
  EXPECT_MENTIONS(error_text([] { layernorm(ones({2, 4}), ones({4}), Tensor()); }), "layernorm: bias");
  EXPECT_MENTIONS(error_text([] { rmsnorm(ones({2, 4}), ones({3})); }), "rmsnorm: weight");
  EXPECT_MENTIONS(error_text([] { softmax(ones({2, 0})); }), "softmax: x has shape (2, 0)");
  EXPECT_MENTIONS(error_text([] {
                    swiglu(ones({2, 4}), ones({2, 3}));
                  }),
                  "gate has shape (2, 4) but up has (2, 3)");
  EXPECT_MENTIONS(error_text([] {
                    add(ones({2, 4}), ones({3, 4}));
                  }),
                  "add: shapes (2, 4) and (3, 4) do not broadcast");
  EXPECT_MENTIONS(error_text([] { mul(ones({2, 4}), ones({3})); }), "mul: shapes");
  EXPECT_MENTIONS(error_text([] { add(ones({1, 1, 1, 1, 2}), ones({2})); }), "at most four axes");
  EXPECT_MENTIONS(error_text([] { dropout(ones({2}), 1.0f, 0); }), "p is 1 but must be in [0, 1)");
  EXPECT_MENTIONS(error_text([] { dropout(ones({2}), NAN, 0); }), "must be in [0, 1)");
  EXPECT_MENTIONS(error_text([] { mean(ones({0})); }), "mean: x has shape (0)");
}

TEST(OpErrors, TwoDevices) {
  for (auto& op : std::vector<std::function<void()>>{
           [] { add(ones({2}), ones({2}, Device::CPU)); },
           [] {
             linear(ones({2, 3}), ones({4, 3}, Device::CPU));
           },
           [] {
             layernorm(ones({2, 3}), ones({3}), ones({3}, Device::CPU));
           },
           [] { swiglu(ones({2}, Device::CPU), ones({2})); },
           [] { concat(ones({2}), ones({2}, Device::CPU), 0); },
           [] {
             attention(ones({1, 1, 2}), ones({1, 1, 2}, Device::CPU), ones({1, 1, 2}), {});
           }}) {
    const std::string text = error_text(op);
    EXPECT_MENTIONS(text, "on device");
    EXPECT_MENTIONS(text, "plain");
    EXPECT_MENTIONS(text, "cpu");
  }
}

TEST(OpErrors, LanguageModelEnds) {
  EXPECT_MENTIONS(error_text([] {
                    embedding(ones({5, 2}), {{3}, {0, 5, 1}});
                  }),
                  "id 5 at place 1 is outside [0, 5)");
  EXPECT_MENTIONS(error_text([] { embedding(ones({5, 2}), {{1}, {-1}}); }), "id -1");
  EXPECT_MENTIONS(error_text([] {
                    embedding(ones({5, 2}), {{2, 2}, {1}});
                  }),
                  "shape (2, 2) but holds 1 numbers");
  EXPECT_MENTIONS(error_text([] { embedding(ones({5}), {{1}, {1}}); }), "expected (V, C)");
  EXPECT_MENTIONS(error_text([] { cross_entropy(ones({2, 5}), {1}); }), "1 targets for 2 rows");
  EXPECT_MENTIONS(error_text([] {
                    cross_entropy(ones({1, 5}), {5});
                  }),
                  "target 5 at row 0 is outside [0, 5)");
  EXPECT_MENTIONS(error_text([] {
                    cross_entropy(ones({1, 5}), {-1});
                  }),
                  "target -1");  // only −100 is ignored
  EXPECT_MENTIONS(error_text([] { cross_entropy(ones({2, 5}), {1, 2}, {1}, 1); }), "1 weights for 2 rows");
  EXPECT_MENTIONS(error_text([] { cross_entropy(ones({1, 5}), {1}, {1}, 0); }), "divisor is 0");
  EXPECT_EQ(cross_entropy(ones({1, 5}), {ignore_index}).item(), 0.0f);  // nothing counts: 0, not NaN
}

TEST(OpErrors, Attention) {
  const Tensor q = ones({1, 3, 8}), k = ones({1, 3, 4});
  EXPECT_MENTIONS(error_text([&] { attention(q, k, k, {.heads = 3, .kv_heads = 2}); }),
                  "3 query heads cannot share 2");
  EXPECT_MENTIONS(error_text([&] { attention(q, k, k, {.heads = 0, .kv_heads = 1}); }), "0 query heads");
  EXPECT_MENTIONS(error_text([&] { attention(q, k, k, {.heads = 3, .kv_heads = 3}); }),
                  "not a multiple of 3 heads");
  EXPECT_MENTIONS(error_text([&] { attention(q, k, k, {.heads = 4, .kv_heads = 4}); }), "k has 4 channels");
  EXPECT_MENTIONS(error_text([&] { attention(q, k, q, {.heads = 2, .kv_heads = 1}); }),
                  "q, k, v have shapes");
  EXPECT_MENTIONS(error_text([&] { attention_cached(q, k, k, 4, {.heads = 2, .kv_heads = 1}); }),
                  "4 keys asked of a cache of 3");
  EXPECT_MENTIONS(error_text([&] { attention_cached(q, k, k, 0, {.heads = 2, .kv_heads = 1}); }), "0 keys");
  EXPECT_MENTIONS(error_text([] { make_rope_table({0}, 3, 1e4, {}, false, Device::Plain); }),
                  "3 is not even");
  const RopeTable table = make_rope_table({0, 1}, 4, 1e4, {}, false, Device::Plain);
  EXPECT_MENTIONS(error_text([&] { rope(q, table, 2); }),
                  "shape (1, 3, 8) with D = 4 but the table is (2, 2)");
  EXPECT_MENTIONS(error_text([&] { rope(q, table, 3); }), "3 heads");
}

TEST(OpErrors, Shapes) {
  EXPECT_MENTIONS(error_text([] {
                    reshape(ones({2, 3}), {4});
                  }),
                  "6 numbers of shape (2, 3) do not fit shape (4)");
  EXPECT_MENTIONS(error_text([] { reshape(ones({2, 3}), {-2, -3}); }), "negative axis");
  EXPECT_MENTIONS(error_text([] { transpose(ones({3})); }), "transpose: x has shape (3)");
  EXPECT_MENTIONS(error_text([] {
                    slice(ones({2, 3}), 1, 2, 2);
                  }),
                  "slice: 2 from 2 on, along axis 1 of shape (2, 3)");
  EXPECT_MENTIONS(error_text([] { slice(ones({2, 3}), 2, 0, 1); }), "axis 2");
  EXPECT_MENTIONS(error_text([] { slice(ones({2, 3}), 0, -1, 1); }), "slice");
  EXPECT_MENTIONS(error_text([] { slice(ones({2, 3}), 0, 1, INT64_MAX); }), "slice");
  EXPECT_MENTIONS(error_text([] { concat(ones({2, 3}), ones({3, 3}), 1); }), "concat along axis 1");
  EXPECT_MENTIONS(error_text([] { concat(ones({2, 3}), ones({3}), 0); }), "concat: shapes (2, 3) and (3)");
}

}  // namespace
}  // namespace chalk
