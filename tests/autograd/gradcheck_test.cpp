// Central differences against backward() for every node of autograd/ops.h, every input, awkward shapes, both backends.
#include "autograd/gradcheck.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/autograd/random_tensor.h"
#include "tests/expect.h"

namespace chalk {
namespace {

using Inputs = std::vector<Tensor>;

// One op on inputs of given shapes; every number of every input is shaken.
struct Case {
  std::string name;
  std::vector<Shape> shapes;
  std::function<Tensor(const Inputs&)> f;
};

// L = Σ c y with |c| ≤ 1/2. Truncation: h²/6 · |L'''| with h = 2^-7 and |L'''| ≤ 10 for these ops on [−1, 1] gives 1e-4.
// Rounding: eps/h · Σ |c y| ≤ 6e-8 · 128 · n/4 gives 1.2e-4 for the n ≤ 64 outputs used here. Four times their sum:
constexpr double kTolerance = 1e-3;

void add_products(std::vector<Case>& cases) {
  auto linear3 = [](const Inputs& x) { return linear(x[0], x[1], x[2]); };
  cases.push_back({"linear", {{3, 5}, {4, 5}, {4}}, linear3});
  cases.push_back({"linear_3d", {{2, 3, 4}, {7, 4}, {7}}, linear3});
  cases.push_back({"linear_one_row", {{9}, {3, 9}, {3}}, linear3});
  cases.push_back({"linear_no_bias", {{2, 17}, {3, 17}}, [](const Inputs& x) { return linear(x[0], x[1]); }});
  for (bool ta : {false, true}) {
    for (bool tb : {false, true}) {
      const std::string name = std::string("matmul") + (ta ? "_Ta" : "") + (tb ? "_Tb" : "");
      const Shape a = ta ? Shape{5, 3} : Shape{3, 5}, b = tb ? Shape{4, 5} : Shape{5, 4};
      auto f = [=](const Inputs& x) { return matmul(x[0], x[1], ta, tb); };
      auto batched = [](Shape s) {
        s.insert(s.begin(), 2);
        return s;
      };
      cases.push_back({name, {a, b}, f});
      cases.push_back({name + "_batched", {batched(a), batched(b)}, f});
      cases.push_back({name + "_shared_b", {batched(a), b}, f});
    }
  }
}

void add_rowwise(std::vector<Case>& cases) {
  for (const Shape& s : std::vector<Shape>{{3, 5}, {2, 2, 9}, {1, 33}}) {
    const std::string suffix = "_" + std::to_string(s.back());
    const Shape C = {s.back()};
    cases.push_back(
        {"layernorm" + suffix, {s, C, C}, [](const Inputs& x) { return layernorm(x[0], x[1], x[2]); }});
    cases.push_back({"rmsnorm" + suffix, {s, C}, [](const Inputs& x) { return rmsnorm(x[0], x[1]); }});
    cases.push_back({"softmax" + suffix, {s}, [](const Inputs& x) { return softmax(x[0]); }});
    cases.push_back({"log_softmax" + suffix, {s}, [](const Inputs& x) { return log_softmax(x[0]); }});
  }
}

void add_elementwise(std::vector<Case>& cases) {
  for (const Shape& s : std::vector<Shape>{{1}, {7}, {2, 3, 5}, {33}}) {
    const std::string suffix = "_" + std::to_string(numel(s));
    cases.push_back({"gelu_tanh" + suffix, {s}, [](const Inputs& x) { return gelu_tanh(x[0]); }});
    cases.push_back({"gelu_erf" + suffix, {s}, [](const Inputs& x) { return gelu_erf(x[0]); }});
    cases.push_back({"silu" + suffix, {s}, [](const Inputs& x) { return silu(x[0]); }});
    cases.push_back({"relu" + suffix, {s}, [](const Inputs& x) { return relu(x[0]); }});
    cases.push_back({"swiglu" + suffix, {s, s}, [](const Inputs& x) { return swiglu(x[0], x[1]); }});
    cases.push_back({"scale" + suffix, {s}, [](const Inputs& x) { return scale(x[0], -1.5f); }});
    cases.push_back({"dropout" + suffix, {s}, [](const Inputs& x) { return dropout(x[0], 0.3f, 5); }});
    cases.push_back({"sum" + suffix, {s}, [](const Inputs& x) { return sum(x[0]); }});
    cases.push_back({"mean" + suffix, {s}, [](const Inputs& x) { return mean(x[0]); }});
  }
  const std::vector<std::pair<Shape, Shape>> pairs = {
      {{2, 5}, {2, 5}},    {{2, 5}, {5}},    {{2, 5}, {2, 1}},    {{5}, {3, 5}},
      {{2, 3, 4}, {3, 4}}, {{2, 1}, {1, 5}}, {{2, 1, 3}, {4, 1}}, {{1, 2, 1, 3}, {2, 2, 4, 1}},
      {{}, {3}},           {{1}, {2, 2}}};
  for (const auto& [a, b] : pairs) {
    const std::string suffix = to_string(a) + to_string(b);
    cases.push_back({"add" + suffix, {a, b}, [](const Inputs& x) { return add(x[0], x[1]); }});
    cases.push_back({"mul" + suffix, {a, b}, [](const Inputs& x) { return mul(x[0], x[1]); }});
  }
}

void add_language(std::vector<Case>& cases) {
  auto targets = std::vector<int32_t>{2, ignore_index, 0, 6};
  cases.push_back(
      {"embedding", {{5, 3}}, [](const Inputs& x) {
         return embedding(x[0], {{2, 3}, {4, 0, 4, 4, 2, 0}});  // repeated ids add up, 1 and 3 get nothing
       }});
  cases.push_back(
      {"cross_entropy_rows", {{4, 7}}, [=](const Inputs& x) { return cross_entropy_rows(x[0], targets); }});
  cases.push_back(
      {"cross_entropy", {{2, 2, 7}}, [=](const Inputs& x) { return cross_entropy(x[0], targets); }});
  cases.push_back({"cross_entropy_weighted", {{4, 7}}, [=](const Inputs& x) {
                     return cross_entropy(x[0], targets, {4, 1, 0, 1}, 4);
                   }});
}

void add_attention(std::vector<Case>& cases) {
  struct Sizes {
    const char* name;
    int64_t B, Tq, Tk, D;
    AttentionOptions options;
  };
  const std::vector<Sizes> list = {
      {"mha", 2, 4, 4, 3, {.heads = 2, .kv_heads = 2}},
      {"gqa", 1, 3, 3, 2, {.heads = 4, .kv_heads = 2}},
      {"mqa", 1, 5, 5, 2, {.heads = 3, .kv_heads = 1}},
      {"not_causal", 1, 3, 4, 4, {.heads = 1, .kv_heads = 1, .causal = false}},
      {"window", 1, 6, 6, 2, {.heads = 2, .kv_heads = 1, .window = 2}},
      {"earlier_keys", 2, 2, 5, 2, {.heads = 2, .kv_heads = 2}},
      {"one_token", 1, 1, 1, 8, {.heads = 1, .kv_heads = 1}},
      {"own_scale", 1, 3, 3, 5, {.heads = 1, .kv_heads = 1, .scale = 1.3f}},
  };
  for (const Sizes& s : list) {
    const AttentionOptions options = s.options;
    const Shape q = {s.B, s.Tq, options.heads * s.D}, kv = {s.B, s.Tk, options.kv_heads * s.D};
    cases.push_back({std::string("attention_") + s.name, {q, kv, kv}, [=](const Inputs& x) {
                       return attention(x[0], x[1], x[2], options);
                     }});
  }
  for (bool interleaved : {false, true}) {
    cases.push_back({interleaved ? "rope_interleaved" : "rope_half", {{2, 3, 8}}, [=](const Inputs& x) {
                       const Device device = x[0].device();
                       return rope(x[0], make_rope_table({0, 5, 6}, 4, 1e4, {}, interleaved, device), 2);
                     }});
  }
}

void add_shapes(std::vector<Case>& cases) {
  cases.push_back({"reshape", {{2, 6}}, [](const Inputs& x) { return reshape(x[0], {3, 4}); }});
  cases.push_back({"transpose", {{3, 5}}, [](const Inputs& x) { return transpose(x[0]); }});
  cases.push_back({"transpose_3d", {{2, 3, 4}}, [](const Inputs& x) { return transpose(x[0]); }});
  for (int64_t axis : {0, 1, 2, -1}) {
    const std::string suffix = "_axis_" + std::to_string(axis);
    const Shape a = {3, 3, 3};
    Shape b = a;
    b[size_t(axis < 0 ? axis + 3 : axis)] = 2;
    cases.push_back({"slice" + suffix, {a}, [=](const Inputs& x) { return slice(x[0], axis, 1, 2); }});
    cases.push_back({"concat" + suffix, {a, b}, [=](const Inputs& x) { return concat(x[0], x[1], axis); }});
  }
  cases.push_back({"checkpoint", {{2, 5}}, [](const Inputs& x) {
                     return checkpoint([](const Tensor& t) { return silu(mul(t, t)); }, x[0]);
                   }});
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  add_products(cases);
  add_rowwise(cases);
  add_elementwise(cases);
  add_language(cases);
  add_attention(cases);
  add_shapes(cases);
  return cases;
}

Inputs inputs_of(const Case& c, Device device) {
  Inputs inputs;
  for (size_t i = 0; i < c.shapes.size(); ++i) {
    Tensor x = random_tensor(c.shapes[i], 7 + i, device);
    for (int64_t j = 0; j < x.numel(); ++j)
      x.data()[j] += x.data()[j] < 0 ? -0.05f : 0.05f;  // away from ReLU's kink
    inputs.push_back(x);
  }
  return inputs;
}

class Gradcheck : public testing::TestWithParam<Device> {};

TEST_P(Gradcheck, EveryNodeEveryInput) {
  for (const Case& c : all_cases()) {
    const GradcheckResult result = gradcheck(c.f, inputs_of(c, GetParam()));
    EXPECT_LE(result.worst, kTolerance) << c.name << ": " << result.message();
  }
}

// Gradients of parameters are collected over several backward passes: a kernel that stores instead of adding shows here.
TEST_P(Gradcheck, BackwardAdds) {
  for (const Case& c : all_cases()) {
    Inputs inputs = inputs_of(c, GetParam());
    for (Tensor& x : inputs) x.set_requires_grad();
    auto pass = [&] {
      const Tensor y = c.f(inputs);
      run_backward(y, random_tensor(y.shape, 3, GetParam()));
    };
    pass();
    std::vector<std::vector<float>> once;
    for (const Tensor& x : inputs) once.push_back(x.grad().to_vector());
    pass();
    for (size_t i = 0; i < inputs.size(); ++i) {
      for (float& g : once[i]) g *= 2;
      // sums of at most 64 terms of order 1, each rounded once more: 64 · eps, with the values a few units large
      EXPECT_TRUE(all_near(inputs[i].grad().to_vector(), once[i], 3e-5)) << c.name << " input " << i;
    }
  }
}

// The list of ops that this file must shake, by the names their nodes give themselves.
TEST(GradcheckCases, CoverEveryNode) {
  std::set<std::string> found;
  for (const Case& c : all_cases()) {
    Inputs inputs = inputs_of(c, Device::Plain);
    for (Tensor& x : inputs) x.set_requires_grad();
    found.insert(c.f(inputs).history->made_by->name());
  }
  const std::set<std::string> expected = {
      "linear",  "matmul",      "layernorm", "rmsnorm", "gelu_tanh", "gelu_erf",      "silu",
      "relu",    "swiglu",      "scale",     "dropout", "residual",  "add",           "mul",
      "softmax", "log_softmax", "sum",       "mean",    "embedding", "cross_entropy", "attention",
      "rope",    "reshape",     "transpose", "slice",   "concat",    "checkpoint"};
  EXPECT_EQ(found, expected);
}

// gradcheck itself: a wrong gradient and a NaN must not pass.
struct WrongNode : Node {
  Tensor x;
  float factor = 1;
  const char* name() const override { return "wrong"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    for (int64_t i = 0; i < x.numel(); ++i) x.grad().data()[i] += factor * dy.data()[i];
  }
};

Tensor identity_with_wrong_backward(const Tensor& x, float factor) {
  Tensor y = x.clone();
  if (!wants_grad({x})) return y;
  auto node = std::make_shared<WrongNode>();
  node->x = x, node->factor = factor;
  set_history(y, node);
  return y;
}

TEST(GradcheckItself, SeesAWrongFactorAndANaN) {
  const Inputs x = {random_tensor({4}, 1, Device::Plain)};
  EXPECT_GT(gradcheck([](const Inputs& x) { return identity_with_wrong_backward(x[0], 1.1f); }, x).worst,
            0.01);
  EXPECT_LT(gradcheck([](const Inputs& x) { return identity_with_wrong_backward(x[0], 1.0f); }, x).worst,
            1e-4);
  EXPECT_TRUE(std::isnan(
      gradcheck([](const Inputs& x) { return identity_with_wrong_backward(x[0], NAN); }, x).worst));
}

INSTANTIATE_TEST_SUITE_P(Devices, Gradcheck, testing::Values(Device::Plain, Device::CPU), device_test_name);

}  // namespace
}  // namespace chalk
