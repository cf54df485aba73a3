// cuda against plain for the ops that work number by number, and for sums.

#include "kernels/adamw.h"
#include "kernels/dropout.h"
#include "kernels/gelu.h"
#include "kernels/reduce.h"
#include "kernels/relu.h"
#include "kernels/residual.h"
#include "kernels/rope.h"
#include "kernels/silu.h"
#include "kernels/swiglu.h"
#include "tests/kernels/cuda_check.h"

namespace chalk {
namespace {
using test::Both;
using test::eps;
using test::expect_same;

const std::vector<int64_t> lengths = {0, 1, 31, 33, 255, 256, 1023, 1024, 1025, 5003};

using Forward = void (*)(float*, const float*, int64_t);
using Backward = void (*)(float*, const float*, const float*, int64_t);

// Forward and backward of an activation. The last steps of each formula round a handful of numbers below 3·|x| + 1, and
// expf, tanhf, erff err by at most 2 ulp on a GPU (CUDA's table of maximum errors) and on the host.
void check_activation(Forward cuda_forward, Forward plain_forward, Backward cuda_backward,
                      Backward plain_backward, const std::string& name) {
  for (int64_t count : lengths) {
    Both x(count, 1, 3), y(count, 2), dx(count, 3), dy(count, 4);
    expect_same(
        {&y}, [&] { cuda_forward(y.device(), x.device(), count); },
        [&] { plain_forward(y.host.data(), x.host.data(), count); },
        [&](size_t, int64_t i, double) { return 8 * eps * (3 * std::abs(double(x.host[size_t(i)])) + 1); },
        name);
    // The slope is bounded by about 1.2 + |x| times small factors; 12 roundings.
    expect_same(
        {&dx}, [&] { cuda_backward(dx.device(), dy.device(), x.device(), count); },
        [&] { plain_backward(dx.host.data(), dy.host.data(), x.host.data(), count); },
        [&](size_t, int64_t i, double want) {
          const double v = std::abs(double(x.host[size_t(i)])), g = std::abs(double(dy.host[size_t(i)]));
          return 12 * eps * (g * (2 + v) + std::abs(want) + 4);
        },
        name + " backward");
  }
}

TEST(CudaElementwise, Activations) {
  check_activation(cuda::relu_forward, plain::relu_forward<float>, cuda::relu_backward,
                   plain::relu_backward<float>, "relu");
  check_activation(cuda::silu_forward, plain::silu_forward<float>, cuda::silu_backward,
                   plain::silu_backward<float>, "silu");
  check_activation(cuda::gelu_tanh_forward, plain::gelu_tanh_forward<float>, cuda::gelu_tanh_backward,
                   plain::gelu_tanh_backward<float>, "gelu_tanh");
  check_activation(cuda::gelu_erf_forward, plain::gelu_erf_forward<float>, cuda::gelu_erf_backward,
                   plain::gelu_erf_backward<float>, "gelu_erf");
}

TEST(CudaElementwise, Extremes) {
  Both x(4), y(4);
  x.host = {-INFINITY, NAN, 1e4f, -1e4f};
  x.upload();
  const std::pair<Forward, Forward> pairs[] = {{cuda::relu_forward, plain::relu_forward<float>},
                                               {cuda::silu_forward, plain::silu_forward<float>},
                                               {cuda::gelu_tanh_forward, plain::gelu_tanh_forward<float>}};
  for (const auto& [cuda, plain] : pairs) {
    cuda(y.device(), x.device(), 4);
    plain(y.host.data(), x.host.data(), 4);
    const std::vector<float> got = y.download();
    for (size_t i = 0; i < 4; ++i)
      EXPECT_TRUE(got[i] == y.host[i] || (std::isnan(got[i]) && std::isnan(y.host[i]))) << i;
  }
}

TEST(CudaElementwise, SwigluAndItsNullGradients) {
  for (int64_t count : lengths) {
    Both gate(count, 1, 2), up(count, 2), y(count, 3), dy(count, 4), dgate(count, 5), dup(count, 6);
    const auto tol = [&](size_t, int64_t, double want) {
      return 16 * eps * (std::abs(want) + 32);
    };  // |gate·up·dy| < 8·4·4 / 4
    expect_same(
        {&y}, [&] { cuda::swiglu_forward(y.device(), gate.device(), up.device(), count); },
        [&] { plain::swiglu_forward<float>(y.host.data(), gate.host.data(), up.host.data(), count); }, tol,
        "swiglu");
    for (int mask = 0; mask < 4; ++mask) {
      const bool a = mask & 1, b = mask & 2;
      expect_same(
          {&dgate, &dup},
          [&] {
            cuda::swiglu_backward(a ? dgate.device() : nullptr, b ? dup.device() : nullptr, dy.device(),
                                  gate.device(), up.device(), count);
          },
          [&] {
            plain::swiglu_backward<float>(a ? dgate.host.data() : nullptr, b ? dup.host.data() : nullptr,
                                          dy.host.data(), gate.host.data(), up.host.data(), count);
          },
          tol, "swiglu backward");
    }
  }
}

TEST(CudaElementwise, SumsOfTwoAreExact) {
  const auto exact = [](size_t, int64_t, double) { return 0.0; };
  for (int64_t count : lengths) {
    Both a(count, 1), b(count, 2), y(count, 3), dy(1, 4);
    expect_same(
        {&y}, [&] { cuda::residual_forward(y.device(), a.device(), b.device(), count); },
        [&] { plain::residual_forward<float>(y.host.data(), a.host.data(), b.host.data(), count); }, exact,
        "residual");
    expect_same(
        {&y}, [&] { cuda::accumulate(y.device(), b.device(), count); },
        [&] { plain::accumulate<float>(y.host.data(), b.host.data(), count); }, exact, "accumulate");
    expect_same(
        {&y}, [&] { cuda::scale(y.device(), a.device(), 0.37f, count); },
        [&] { plain::scale<float>(y.host.data(), a.host.data(), 0.37f, count); }, exact, "scale");
    // A GPU may contract the product and the sum into one rounding: half an ulp of each.
    expect_same(
        {&y}, [&] { cuda::sum_backward(y.device(), dy.device(), 0.25f, count); },
        [&] { plain::sum_backward<float>(y.host.data(), dy.host.data(), 0.25f, count); },
        [](size_t, int64_t, double want) { return eps * (std::abs(want) + 2); }, "sum_backward");
  }
}

// The mask is the same on every backend: where a number is kept, which decides between 0 and x / (1 − p), not a rounding.
TEST(CudaElementwise, DropoutDrawsTheSameMask) {
  const auto exact = [](size_t, int64_t, double) { return 0.0; };
  for (int64_t count : {0, 1, 3, 4, 5, 1023, 5003}) {
    for (float p : {0.0f, 0.1f, 0.9f}) {
      Both x(count, 1), y(count, 2);
      expect_same(
          {&y}, [&] { cuda::dropout_forward(y.device(), x.device(), count, p, 99); },
          [&] { plain::dropout_forward<float>(y.host.data(), x.host.data(), count, p, 99); }, exact,
          "dropout");
      expect_same(
          {&y}, [&] { cuda::dropout_backward(y.device(), x.device(), count, p, 99); },
          [&] { plain::dropout_backward<float>(y.host.data(), x.host.data(), count, p, 99); },
          [](size_t, int64_t, double want) { return eps * (std::abs(want) + 50); }, "dropout backward");
    }
  }
}

TEST(CudaElementwise, AdamW) {
  for (int64_t count : lengths) {
    for (int64_t t : {1, 1000}) {
      Both w(count, 1), m(count, 2, 0.1f), v(count, 3, 0.1f), grad(count, 4);
      for (float& x : v.host) x = x * x;
      const AdamWStep step{.lr = 1e-2f,
                           .beta1 = 0.9f,
                           .beta2 = 0.999f,
                           .eps = 1e-8f,
                           .weight_decay = 0.1f,
                           .t = t,
                           .grad_scale = 0.5f};
      // The step is lr · m̂ / √v̂, about ten roundings; at t = 1 it reaches lr · 0.1·|m|/0.1 / (0.03·√v/0.03).
      expect_same(
          {&w, &m, &v},
          [&] { cuda::adamw_step(w.device(), m.device(), v.device(), grad.device(), count, step); },
          [&] {
            plain::adamw_step<float>(w.host.data(), m.host.data(), v.host.data(), grad.host.data(), count,
                                     step);
          },
          [&](size_t o, int64_t, double want) { return 16 * eps * (std::abs(want) + (o == 0 ? 1.0 : 0.5)); },
          "adamw");
    }
  }
}

// Many parameters in one launch: the bits of one launch for each, whatever their sizes; empty ones are skipped.
TEST(CudaElementwise, AdamWOfAllParameters) {
  const AdamWStep step{.lr = 1e-2f,
                       .beta1 = 0.9f,
                       .beta2 = 0.999f,
                       .eps = 1e-8f,
                       .weight_decay = 7,
                       .t = 3,
                       .grad_scale = 0.5f};
  std::vector<std::unique_ptr<Both>> arrays, twins;
  std::vector<AdamWParameter<float>> list;
  for (int64_t count : {5003, 0, 1, 1024, 1025, 33, 2048, 0}) {
    const float decay = count % 2 ? 0.1f : 0;
    for (auto* side : {&arrays, &twins}) {
      for (uint64_t seed : {1, 2, 3, 4}) {
        side->push_back(std::make_unique<Both>(count, seed, 0.1f));
        if (seed == 3) {
          for (float& x : side->back()->host) x = x * x;
          side->back()->upload();
        }
      }
    }
    const auto* a = &arrays[arrays.size() - 4];
    list.push_back({a[0]->device(), a[1]->device(), a[2]->device(), a[3]->device(), count, decay});
    const auto* b = &twins[twins.size() - 4];
    AdamWStep own = step;
    own.weight_decay = decay;
    cuda::adamw_step(b[0]->device(), b[1]->device(), b[2]->device(), b[3]->device(), count, own);
  }
  Both workspace(cuda::adamw_workspace(int64_t(list.size())) / int64_t(sizeof(float)));
  cuda::adamw_step_all(list.data(), int64_t(list.size()), step, workspace.device());
  workspace.download();  // looks at the guards
  for (size_t i = 0; i < arrays.size(); ++i) EXPECT_EQ(arrays[i]->download(), twins[i]->download()) << i;
  cuda::adamw_step_all(list.data(), 0, step, nullptr);
}

TEST(CudaElementwise, Rope) {
  for (const auto& shape : {std::array<int64_t, 4>{2, 5, 3, 8}, {1, 33, 2, 64}, {1, 1, 1, 2}, {0, 4, 1, 4}}) {
    const int64_t B = shape[0], T = shape[1], H = shape[2], D = shape[3];
    for (bool interleaved : {false, true}) {
      const int64_t count = B * T * H * D;
      Both x(count, 1), y(count, 2), cos(T * D / 2, 3), sin(T * D / 2, 4);
      for (size_t i = 0; i < cos.host.size(); ++i)
        cos.host[i] = std::cos(float(i)), sin.host[i] = std::sin(float(i));
      cos.upload(), sin.upload();
      const auto tol = [](size_t, int64_t, double want) { return 2 * eps * (std::abs(want) + 10); };
      expect_same(
          {&y},
          [&] {
            cuda::rope_forward(y.device(), x.device(), cos.device(), sin.device(), B, T, H, D, interleaved);
          },
          [&] {
            plain::rope_forward<float>(y.host.data(), x.host.data(), cos.host.data(), sin.host.data(), B, T,
                                       H, D, interleaved);
          },
          tol, "rope");
      expect_same(
          {&y},
          [&] {
            cuda::rope_backward(y.device(), x.device(), cos.device(), sin.device(), B, T, H, D, interleaved);
          },
          [&] {
            plain::rope_backward<float>(y.host.data(), x.host.data(), cos.host.data(), sin.host.data(), B, T,
                                        H, D, interleaved);
          },
          tol, "rope backward");
    }
  }
}

TEST(CudaReduce, SumsOfAnyLength) {
  for (int64_t count : {0, 1, 31, 4096, 4097, 100003}) {
    Both x(count, 1), y(1, 2);
    // A thread adds up to count / (blocks · 256) + 16 numbers in a row, trees add about 15 levels: each rounds a partial
    // sum below 5 √count (normal numbers), or below 2 · count for squares.
    const double steps = double(count) / 256 + 32;
    expect_same(
        {&y}, [&] { cuda::sum(y.device(), x.device(), count); },
        [&] { plain::sum<float>(y.host.data(), x.host.data(), count); },
        [&](size_t, int64_t, double) { return eps * std::sqrt(steps) * 5 * std::sqrt(double(count)); },
        "sum");
    expect_same(
        {&y}, [&] { cuda::sum_squares(y.device(), x.device(), count); },
        [&] { plain::sum_squares<float>(y.host.data(), x.host.data(), count); },
        [&](size_t, int64_t, double want) { return eps * std::sqrt(steps) * want; }, "sum_squares");
  }
}

TEST(CudaReduce, SumRows) {
  for (const auto& shape : {std::array<int64_t, 2>{0, 5}, {1, 1}, {31, 7}, {32, 8}, {33, 9}, {200, 65}}) {
    const int64_t N = shape[0], C = shape[1];
    Both x(N * C, 1), y(C, 2);
    expect_same(
        {&y}, [&] { cuda::sum_rows(y.device(), x.device(), N, C); },
        [&] { plain::sum_rows<float>(y.host.data(), x.host.data(), N, C); },
        [&](size_t, int64_t, double) { return eps * (double(N) / 32 + 8) * 5 * std::sqrt(double(N + 1)); },
        "sum_rows");
  }
}

}  // namespace
}  // namespace chalk
