// The graph walk: orders in which gradients must arrive, scopes without recording, lifetimes, and the text of errors.
#include <gtest/gtest.h>

#include "autograd/ops.h"
#include "kernels/memory.h"
#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

class Graph : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override { live_at_start = memory_counters().live_bytes; }
  // Every test must leave nothing behind: a node that held its own output would.
  void TearDown() override { EXPECT_EQ(memory_counters().live_bytes, live_at_start); }

  Tensor leaf(std::vector<float> values) {
    const int64_t count = int64_t(values.size());
    Tensor x = Tensor::from({count}, values, GetParam());
    x.set_requires_grad();
    return x;
  }
  int64_t live_at_start = 0;
};

using Numbers = std::vector<float>;

TEST_P(Graph, ATensorUsedTwiceByOneOpWaitsForBothContributions) {
  const Tensor a = leaf({3});
  const Tensor b = add(a, a), c = add(b, b);  // c = 4a
  c.backward();
  EXPECT_EQ(a.grad().to_vector(), Numbers{4});
}

TEST_P(Graph, Diamond) {
  const Tensor a = leaf({2, -3});
  const Tensor left = scale(a, 5), right = mul(a, a);
  sum(mul(left, right)).backward();  // 5a³: 15a²
  EXPECT_EQ(a.grad().to_vector(), (Numbers{60, 135}));
}

TEST_P(Graph, OneArmOfADiamondLongerThanTheOther) {
  const Tensor a = leaf({2});
  Tensor far = a;
  for (int i = 0; i < 10; ++i) far = scale(far, 2);
  sum(add(mul(a, far), a)).backward();  // 1024 a² + a
  EXPECT_EQ(a.grad().to_vector(), Numbers{4097});
}

TEST_P(Graph, GradientsOfSeveralLossesAddUp) {
  const Tensor a = leaf({1, 2});
  sum(scale(a, 3)).backward();
  sum(mul(a, a)).backward();
  EXPECT_EQ(a.grad().to_vector(), (Numbers{5, 7}));
  a.zero_grad();
  EXPECT_FALSE(a.has_grad());
  EXPECT_EQ(a.grad().to_vector(), (Numbers{0, 0}));
}

TEST_P(Graph, TwoLossesOfOneGraphAreAddedFirst) {
  const Tensor a = leaf({1, 2});
  const Tensor shared = mul(a, a);
  add(sum(shared), scale(sum(shared), 2)).backward();
  EXPECT_EQ(a.grad().to_vector(), (Numbers{6, 12}));
}

TEST_P(Graph, ASecondWalkThroughAReleasedGraphIsAnError) {
  const Tensor a = leaf({1, 2});
  const Tensor shared = mul(a, a), loss = sum(shared);
  loss.backward();
  EXPECT_MENTIONS(error_text([&] { loss.backward(); }), "released by an earlier backward()");
  EXPECT_MENTIONS(error_text([&] { sum(scale(shared, 2)).backward(); }), "add the losses");
  sum(shared.detach());  // the numbers are still good
  EXPECT_EQ(a.grad().to_vector(), (Numbers{2, 4}));
}

TEST_P(Graph, NoGradRecordsNothing) {
  const Tensor a = leaf({1});
  {
    const NoGrad outer;
    {
      const NoGrad inner;
      EXPECT_FALSE(scale(a, 2).requires_grad());
    }
    EXPECT_FALSE(scale(a, 2).requires_grad());
    const EnableGrad enable;
    EXPECT_TRUE(scale(a, 2).requires_grad());
  }
  EXPECT_TRUE(grad_enabled());
  EXPECT_TRUE(scale(a, 2).requires_grad());
}

TEST_P(Graph, DetachCutsOneArm) {
  const Tensor a = leaf({3});
  const Tensor b = scale(a, 2);
  sum(mul(b, b.detach())).backward();  // d(2a · 6)/da
  EXPECT_EQ(a.grad().to_vector(), Numbers{12});
  EXPECT_FALSE(b.detach().requires_grad());
  EXPECT_EQ(b.detach().data(), b.data());
}

TEST_P(Graph, OnlyRetainedIntermediateGradientsSurvive) {
  const Tensor a = leaf({3});
  const Tensor b = scale(a, 2), c = mul(b, b);
  b.retain_grad();
  sum(c).backward();
  EXPECT_EQ(b.grad().to_vector(), Numbers{12});
  EXPECT_FALSE(c.has_grad());
  EXPECT_MENTIONS(error_text([&] { a.detach().retain_grad(); }), "takes no part");
}

TEST_P(Graph, ALeafCanBeCutLooseAndABranchWithoutGradientIsSkipped) {
  Tensor a = leaf({3});
  const Tensor b = leaf({2});
  a.set_requires_grad(false);
  sum(mul(a, b)).backward();
  EXPECT_FALSE(a.has_grad());
  EXPECT_EQ(b.grad().to_vector(), Numbers{3});
}

TEST_P(Graph, ReshapeSharesNumbersAndPassesGradients) {
  const Tensor a = leaf({1, 2, 3, 4});
  const Tensor m = reshape(a, {2, 2});
  EXPECT_EQ(m.data(), a.data());
  sum(mul(m, m)).backward();
  EXPECT_EQ(a.grad().to_vector(), (Numbers{2, 4, 6, 8}));
}

TEST_P(Graph, BackwardFromATensorThatIsNotALoss) {
  const Tensor a = leaf({1, 2});
  run_backward(scale(a, 3), Tensor::from({2}, {10, 1}, GetParam()));
  EXPECT_EQ(a.grad().to_vector(), (Numbers{30, 3}));
  run_backward(a, Tensor::from({2}, {1, 1}, GetParam()));  // y may be a leaf itself
  EXPECT_EQ(a.grad().to_vector(), (Numbers{31, 4}));
}

TEST_P(Graph, DeepChains) {
  const Tensor a = leaf({1});
  Tensor x = a;
  for (int i = 0; i < 5000; ++i) x = add(x, a);
  x.backward();
  EXPECT_EQ(a.grad().to_vector(), Numbers{5001});
}

TEST_P(Graph, MemoryFallsDuringTheWalk) {
  Tensor a = Tensor::full({1 << 16}, 1.0f, GetParam());
  a.set_requires_grad();
  Tensor x = a;
  for (int i = 0; i < 20; ++i) x = mul(x, x.detach());
  Tensor loss = sum(x);
  x = {};
  const int64_t before = memory_counters().live_bytes, one = int64_t(a.numel()) * 4;
  EXPECT_GE(before - live_at_start, 20 * one);
  loss.backward();
  // a, its gradient, the loss: the twenty outputs are gone although `loss` is still alive.
  EXPECT_LT(memory_counters().live_bytes - live_at_start, 3 * one);
}

TEST_P(Graph, Errors) {
  const Tensor a = leaf({1, 2}), constant = Tensor::full({1}, 1, GetParam());
  EXPECT_MENTIONS(error_text([&] { scale(a, 2).backward(); }), "must be one number, not shape (2)");
  EXPECT_MENTIONS(error_text([&] { constant.backward(); }),
                  "not made from anything that requires a gradient");
  EXPECT_MENTIONS(error_text([&] { constant.grad(); }), "takes no part in backprop");
  EXPECT_MENTIONS(error_text([&] { run_backward(scale(a, 2), constant); }), "dy has shape (1) but y has (2)");
  EXPECT_MENTIONS(error_text([&] { a.item(); }), "shape (2), not one number");
  EXPECT_MENTIONS(error_text([&] { Tensor().backward(); }), "must be one number");
}

// A node whose backward fails: the message must say whose it was.
struct FailingNode : Node {
  Tensor x;
  const char* name() const override { return "failing_op"; }
  std::vector<Tensor> inputs() const override { return {x, Tensor()}; }
  void backward(const Tensor&) override { throw std::runtime_error("out of chalk"); }
};

TEST_P(Graph, AnErrorInBackwardNamesTheNodeAndItsShapes) {
  const Tensor a = leaf({1, 2});
  Tensor y = a.clone();
  auto node = std::make_shared<FailingNode>();
  node->x = a;
  set_history(y, node);
  const std::string text = error_text([&] { sum(y).backward(); });
  EXPECT_MENTIONS(text, "backward of failing_op");
  EXPECT_MENTIONS(text, "inputs (2) none and dy (2)");
  EXPECT_MENTIONS(text, "out of chalk");
  EXPECT_TRUE(grad_enabled());  // the walk's NoGrad is gone
}

INSTANTIATE_TEST_SUITE_P(Devices, Graph, testing::Values(Device::Plain, Device::CPU), device_test_name);

TEST(TensorHandle, ShapesAndCopies) {
  EXPECT_EQ(to_string(Shape{}), "()");
  EXPECT_EQ(to_string(Shape{2, 3}), "(2, 3)");
  EXPECT_EQ(numel(Shape{}), 1);
  EXPECT_EQ(numel(Shape{3, 0, 2}), 0);
  EXPECT_MENTIONS(error_text([] { numel({2, -1}); }), "negative axis");
  EXPECT_MENTIONS(error_text([] { numel({1 << 30, 1 << 30, 1 << 30}); }), "too many numbers");
  EXPECT_MENTIONS(error_text([] { Tensor::from({2, 2}, {1, 2, 3}); }), "4 numbers but 3 were given");

  const Tensor a = Tensor::from({2}, {1, 2}), b = a, c = a.clone();
  a.data()[0] = 9;
  EXPECT_EQ(b.to_vector(), (Numbers{9, 2}));
  EXPECT_EQ(c.to_vector(), (Numbers{1, 2}));
  EXPECT_EQ(a.dim(-1), 2);
  EXPECT_MENTIONS(error_text([&] { a.dim(1); }), "shape (2)");
  EXPECT_MENTIONS(error_text([&] { a.copy_from(Tensor({3})); }), "cannot copy shape (3) into shape (2)");
  const Tensor p = a.to(Device::Plain);
  EXPECT_EQ(p.device(), Device::Plain);
  EXPECT_EQ(p.to_vector(), a.to_vector());
}

TEST(TensorHandle, AnUndefinedTensorIsAnErrorNotACrash) {
  const Tensor none;
  EXPECT_EQ(none.numel(), 0);
  for (auto& op : std::vector<std::function<void()>>{
           [&] { relu(none); }, [&] { add(none, none); }, [&] { sum(none); }, [&] { softmax(none); },
           [&] { swiglu(none, none); }, [&] { scale(none, 2); }, [&] { transpose(none); },
           [&] { rope(none, {}, 1); }, [&] { attention(none, none, none, {}); },
           [&] {
             embedding(none, {{1}, {0}});
           }}) {
    EXPECT_NE(error_text(op), "");
  }
}

}  // namespace
}  // namespace chalk
