// Inputs, answers and tolerances of the four ladders.

#include "tutorials/ladders/problems.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/check.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/runtime.h"
#include "kernels/layernorm.h"
#include "kernels/philox.h"
#include "kernels/plain/attention.h"
#include "kernels/plain/layernorm.h"
#include "kernels/plain/matmul.h"
#include "kernels/plain/softmax.h"
#include "kernels/softmax.h"

namespace chalk::ladder {
namespace {

constexpr double eps = std::numeric_limits<float>::epsilon();  // 2⁻²³; one rounding errs by at most eps/2

std::vector<float> random_numbers(size_t count, uint64_t seed) {
  std::vector<float> x(count);
  for (size_t i = 0; i < count; ++i) x[i] = random_normal(seed, i);
  return x;
}
std::vector<double> doubles(const std::vector<float>& x) {
  return {x.begin(), x.end()};
}
std::vector<double> sizes_of(const std::vector<float>& x) {
  std::vector<double> y(x.size());
  for (size_t i = 0; i < x.size(); ++i) y[i] = std::abs(double(x[i]));
  return y;
}

const float* put(Ladder& ladder, const std::vector<float>& x) {
  ladder.inputs.push_back(std::make_unique<DeviceFloats>(x));
  return ladder.inputs.back()->data;
}
float* make_output(Ladder& ladder, size_t count, bool answer) {
  ladder.y = std::make_unique<DeviceFloats>(std::vector<float>(count));
  if (answer) {
    ladder.expected.resize(count);
    ladder.tolerance.resize(count);
  }
  return ladder.y->data;
}

Ladder make_matmul(int size, uint64_t seed, bool answer) {
  const MatmulSize s{size, size, size};
  const size_t count = size_t(size) * size_t(size);
  const std::vector<float> a = random_numbers(count, seed), b = random_numbers(count, seed + 1);
  Ladder ladder;
  ladder.size = fmt::format("M {0}, N {0}, K {0}", size);
  ladder.operations = 2 * std::pow(size, 3), ladder.bytes = 3.0 * double(count) * sizeof(float);
  const float *a_device = put(ladder, a), *b_device = put(ladder, b);
  float* y = make_output(ladder, count, answer);

  // In any order K products and K sums err by at most (K + 1) · eps/2 · Σ_k |a_mk b_kn|.
  const MatmulShape shape{size, size, size};
  const double relative = (size + 1) * eps / 2;
  if (answer) {
    plain::matmul<double>(ladder.expected.data(), doubles(a).data(), doubles(b).data(), nullptr, shape,
                          nullptr);
    plain::matmul<double>(ladder.tolerance.data(), sizes_of(a).data(), sizes_of(b).data(), nullptr, shape,
                          nullptr);
    for (double& t : ladder.tolerance) t *= relative;
  }
  // tf32 keeps 11 bits: an operand is off by 2⁻¹¹, a product by 2⁻¹⁰; tensor cores may cut sums off instead of rounding.
  const double tf32 = 2 + 0x1.01p-10 / relative;

  auto rung = [&](const char* file, const char* idea, Matmul* kernel, double coarser = 1,
                  bool needs_gpu = false) {
    ladder.rungs.push_back({file, idea, [=] { kernel(y, a_device, b_device, s); }, coarser, needs_gpu});
  };
  rung("matmul/01_naive.cu", "the formula, a thread per number", matmul_01_naive);
  rung("matmul/02_coalesced.cu", "neighbouring lanes read neighbours", matmul_02_coalesced);
  rung("matmul/03_shared_tiles.cu", "the block shares tiles", matmul_03_shared_tiles);
  rung("matmul/04_register_tiles.cu", "a thread owns 4 × 4 numbers", matmul_04_register_tiles);
  rung("matmul/05_vectorised.cu", "four numbers per instruction", matmul_05_vectorised);
  rung("matmul/06_warp_tiles.cu", "a warp owns a compact piece", matmul_06_warp_tiles);
  rung("matmul/07_tensor_cores.cu", "a warp multiplies as one", matmul_07_tensor_cores, tf32, true);
  ladder.rungs.push_back({"kernels/cuda/matmul.cu", "the library's own (any transposes)",
                          [=] { cuda::matmul_by_hand(y, a_device, b_device, nullptr, shape, nullptr); }});
  return ladder;
}

void answer_softmax(Ladder& ladder, const std::vector<float>& x, int N, int C) {
  plain::softmax_forward<double>(ladder.expected.data(), doubles(x).data(), N, C);
  // Relative error, in units of eps, with R = max − min of a row: e^(x − max) errs by R/2 + 2 (argument, expf), above and below
  // the line; the sum by C/2 more; its corrections, at most C/32 + 6 of them, by 3 each and R/2 together; the division 1/2.
  for (int n = 0; n < N; ++n) {
    const auto [least, most] = std::minmax_element(x.begin() + n * C, x.begin() + (n + 1) * C);
    const double relative = eps * (1.5 * double(*most - *least) + 0.6 * C + 24);
    for (int i = n * C; i < (n + 1) * C; ++i)
      ladder.tolerance[size_t(i)] = relative * ladder.expected[size_t(i)];
  }
}

Ladder make_softmax(int N, int C, uint64_t seed, bool answer) {
  if (C > softmax_most_C)
    throw UsageError(fmt::format("--size {}: softmax takes at most {}", C, softmax_most_C));
  const std::vector<float> x = random_numbers(size_t(N) * size_t(C), seed);
  Ladder ladder;
  ladder.size = fmt::format("N {}, C {}", N, C);
  ladder.operations = 5.0 * N * C, ladder.bytes = 2.0 * double(x.size()) * sizeof(float);
  const float* x_device = put(ladder, x);
  float* y = make_output(ladder, x.size(), answer);
  if (answer) answer_softmax(ladder, x, N, C);
  auto rung = [&](const char* file, const char* idea, Softmax* kernel) {
    ladder.rungs.push_back({file, idea, [=] { kernel(y, x_device, N, C); }});
  };
  rung("softmax/01_thread_per_row.cu", "the formula, a thread per row", softmax_01_thread_per_row);
  rung("softmax/02_warp_per_row.cu", "neighbouring lanes read neighbours", softmax_02_warp_per_row);
  rung("softmax/03_online.cu", "maximum and sum in one reading", softmax_03_online);
  rung("softmax/04_registers.cu", "the row stays in registers", softmax_04_registers);
  rung("softmax/05_vectorised.cu", "four numbers per instruction", softmax_05_vectorised);
  ladder.rungs.push_back({"kernels/cuda/softmax.cu", "the library's own (any C, a block per row)",
                          [=] { cuda::softmax_forward(y, x_device, N, C); }});
  return ladder;
}

void answer_layernorm(Ladder& ladder, const std::vector<float>& x, const std::vector<float>& weight,
                      const std::vector<float>& bias, int N, int C) {
  std::vector<double> mean(static_cast<size_t>(N)), rstd(static_cast<size_t>(N));
  plain::layernorm_forward<double>(ladder.expected.data(), mean.data(), rstd.data(), doubles(x).data(),
                                   doubles(weight).data(), doubles(bias).data(), N, C, layernorm_eps);
  // The mean errs by (C + 1) · eps/2 · max|x|, so x − mean by that and eps/2 of itself; rstd by half of the variance's
  // relative error, (C + 4) · eps/2; multiplying and adding by eps/2 each. Welford's updates round about three times as often.
  for (int n = 0; n < N; ++n) {
    double most = 0;
    for (int c = 0; c < C; ++c) most = std::max(most, std::abs(double(x[size_t(n * C + c)])));
    for (int c = 0; c < C; ++c) {
      const size_t i = size_t(n * C + c), nn = size_t(n), cc = size_t(c);
      const double scaled = std::abs(double(weight[cc])) * rstd[nn],
                   x_hat = std::abs(double(x[i]) - mean[nn]) * scaled;
      ladder.tolerance[i] =
          eps * (1.5 * (C + 1) * most * scaled + (C + 8) * x_hat + std::abs(double(bias[cc])));
    }
  }
}

Ladder make_layernorm(int N, int C, uint64_t seed, bool answer) {
  if (C > layernorm_most_C)
    throw UsageError(fmt::format("--size {}: layernorm takes at most {}", C, layernorm_most_C));
  const std::vector<float> x = random_numbers(size_t(N) * size_t(C), seed),
                           weight = random_numbers(size_t(C), seed + 1),
                           bias = random_numbers(size_t(C), seed + 2);
  Ladder ladder;
  ladder.size = fmt::format("N {}, C {}", N, C);
  ladder.operations = 8.0 * N * C, ladder.bytes = 2.0 * double(x.size()) * sizeof(float);
  const float *x_device = put(ladder, x), *weight_device = put(ladder, weight),
              *bias_device = put(ladder, bias);
  float* moments =
      ladder.inputs.emplace_back(std::make_unique<DeviceFloats>(std::vector<float>(2 * size_t(N))))->data;
  float* y = make_output(ladder, x.size(), answer);
  if (answer) answer_layernorm(ladder, x, weight, bias, N, C);
  auto rung = [&](const char* file, const char* idea, LayerNorm* kernel) {
    ladder.rungs.push_back({file, idea, [=] { kernel(y, x_device, weight_device, bias_device, N, C); }});
  };
  rung("layernorm/01_thread_per_row.cu", "the formula, a thread per row", layernorm_01_thread_per_row);
  rung("layernorm/02_warp_per_row.cu", "neighbouring lanes read neighbours", layernorm_02_warp_per_row);
  rung("layernorm/03_welford.cu", "mean and variance in one reading", layernorm_03_welford);
  rung("layernorm/04_shared_row.cu", "the row stays in shared memory", layernorm_04_shared_row);
  ladder.rungs.push_back({"kernels/cuda/layernorm.cu", "the library's own (any C, a block per row)", [=] {
                            cuda::layernorm_forward(y, moments, moments + N, x_device, weight_device,
                                                    bias_device, N, C, layernorm_eps);
                          }});
  return ladder;
}

// The largest √Σ_d x² of rows of attention_D numbers.
double largest_norm(const std::vector<float>& x) {
  double largest = 0;
  for (size_t i = 0; i < x.size(); i += attention_D) {
    double sum = 0;
    for (size_t d = 0; d < attention_D; ++d) sum += double(x[i + d]) * double(x[i + d]);
    largest = std::max(largest, sum);
  }
  return std::sqrt(largest);
}

void answer_attention(Ladder& ladder, const std::vector<float>& q, const std::vector<float>& k,
                      const std::vector<float>& v, const AttentionShape& s) {
  std::vector<double> lse(size_t(s.H * s.Tq));
  plain::attention_forward<double>(ladder.expected.data(), lse.data(), doubles(q).data(), doubles(k).data(),
                                   doubles(v).data(), s);
  // A score errs by (attention_D + 2) · eps/2 · S, S = scale · |q| |k| at most, hence a probability by twice that, and as a softmax of
  // T numbers in a range of 2 S (see make_softmax, a correction per key); y, a weighted mean of v, by T · eps/2 more.
  const double S = double(s.scale) * largest_norm(q) * largest_norm(k);
  const double tolerance =
      eps * ((attention_D + 2) * S + 3 * S + 4.5 * double(s.Tq) + 24) * *std::max_element(v.begin(), v.end());
  std::fill(ladder.tolerance.begin(), ladder.tolerance.end(), tolerance);
}

Ladder make_attention(int T, uint64_t seed, bool answer) {
  constexpr int H = 2, D = attention_D;
  const AttentionShape s{1, T, T, H, H, D, 1.0f / std::sqrt(float(D))};
  const size_t count = size_t(T) * H * D;
  const std::vector<float> q = random_numbers(count, seed), k = random_numbers(count, seed + 1),
                           v = random_numbers(count, seed + 2);
  Ladder ladder;
  ladder.size = fmt::format("B 1, H {}, T {}, D {}", H, T, D);
  ladder.operations = 4.0 * H * D * T * (T + 1) / 2, ladder.bytes = 4.0 * double(count) * sizeof(float);
  const float *q_device = put(ladder, q), *k_device = put(ladder, k), *v_device = put(ladder, v);
  float* y = make_output(ladder, count, answer);
  float* scores =
      ladder.inputs
          .emplace_back(std::make_unique<DeviceFloats>(std::vector<float>(size_t(H) * size_t(T) * size_t(T))))
          ->data;
  if (answer) answer_attention(ladder, q, k, v, s);
  auto rung = [&](const char* file, const char* idea, Attention* kernel) {
    ladder.rungs.push_back({file, idea, [=] { kernel(y, scores, q_device, k_device, v_device, s); }});
  };
  rung("attention/01_three_kernels.cu", "the formula, with a T × T matrix", attention_01_three_kernels);
  rung("attention/02_online.cu", "one pass over the keys, no matrix", attention_02_online);
  rung("attention/03_shared_tiles.cu", "the block shares keys and values", attention_03_shared_tiles);
  rung("attention/04_register_tiles.cu", "a thread owns 4 queries × 8 channels", attention_04_register_tiles);
  ladder.rungs.push_back({"kernels/cuda/attention.cu", "the library's own (any D, groups, windows)",
                          [=] { cuda::attention_forward(y, scores, q_device, k_device, v_device, s); }});
  return ladder;
}

}  // namespace

DeviceFloats::DeviceFloats(const std::vector<float>& host)
    : data(static_cast<float*>(cuda::allocate_device(int64_t(host.size() * sizeof(float))))),
      count(host.size()) {
  upload(host);
}
DeviceFloats::~DeviceFloats() {
  cuda::free_device(data);
}
void DeviceFloats::upload(const std::vector<float>& host) {
  cuda::copy_to_device(data, host.data(), int64_t(count * sizeof(float)));
}
std::vector<float> DeviceFloats::download() const {
  std::vector<float> host(count);
  cuda::copy_to_host(host.data(), data, int64_t(count * sizeof(float)));
  return host;
}

Ladder make_ladder(const std::string& name, int size, int rows, uint64_t seed, bool answer) {
  if (size % 4 != 0)
    throw UsageError(fmt::format("--size {}: some rungs move numbers in fours; take a multiple", size));
  if (name == "matmul") return make_matmul(size, seed, answer);
  if (name == "softmax") return make_softmax(rows, size, seed, answer);
  if (name == "layernorm") return make_layernorm(rows, size, seed, answer);
  if (name == "attention") return make_attention(size, seed, answer);
  throw UsageError(fmt::format("no ladder is called {}", name));
}

Climb climb(Ladder& ladder, const Rung& rung) {
  ladder.y->upload(std::vector<float>(ladder.y->count, std::numeric_limits<float>::quiet_NaN()));
  Climb result{measure(rung.run)};
  if (ladder.expected.empty()) return result;
  const std::vector<float> got = ladder.y->download();
  for (size_t i = 0; i < got.size(); ++i) {
    const double error = std::abs(double(got[i]) - ladder.expected[i]) / (rung.coarser * ladder.tolerance[i]);
    result.error =
        std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(result.error, error);
  }
  return result;
}

}  // namespace chalk::ladder
