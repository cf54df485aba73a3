// How fast the cpu kernels are, as shares of what this machine can do and as ratios to OpenBLAS, in the same
// run.
//
//   build/bin/bench/kernels_bench                                   everything, with the threads OpenMP finds
//   OMP_NUM_THREADS=1 build/bin/bench/kernels_bench --benchmark_filter=matmul
//
// Every figure is the best of many short runs: a busy machine makes runs slower, never faster. OpenBLAS is
// loaded at run time if it is installed, and told to use its AVX-512 kernels where the processor has them,
// whatever OPENBLAS_CORETYPE says: with AVX2 ones it would lose by half for no good reason.

#include <benchmark/benchmark.h>
#include <dlfcn.h>
#include <omp.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "kernels/adamw.h"
#include "kernels/attention.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/simd.h"
#include "kernels/cross_entropy.h"
#include "kernels/dropout.h"
#include "kernels/gelu.h"
#include "kernels/layernorm.h"
#include "kernels/matmul.h"
#include "kernels/philox.h"
#include "kernels/residual.h"
#include "kernels/rmsnorm.h"
#include "kernels/rope.h"
#include "kernels/softmax.h"
#include "kernels/swiglu.h"

namespace chalk {
namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The shortest of the runs of f that fit in `budget` seconds (at least five).
double best_of(const std::function<void()>& f, double budget) {
  f();  // pages and caches
  double best = 1e9;
  const double start = seconds();
  for (int runs = 0; runs < 5 || seconds() - start < budget; ++runs) {
    const double begin = seconds();
    f();
    best = std::min(best, seconds() - begin);
  }
  return best;
}

// Zeroed floats on a 64-byte boundary, then filled with normal numbers.
struct Array {
  explicit Array(int64_t count) : memory(size_t(count) + 16) {
    const auto address = reinterpret_cast<uintptr_t>(memory.data());
    data = memory.data() + (64 - address % 64) % 64 / sizeof(float);
    for (int64_t i = 0; i < count; ++i) data[i] = float(random_word(1, uint64_t(i)) >> 8) * 0x1p-23f - 1;
  }
  operator float*() { return data; }
  std::vector<float> memory;
  float* data;
};

// Floating-point operations per second of independent multiply-adds in registers: one core's, times the
// threads.
double peak_flops() {
  static const double peak = [] {
    constexpr int64_t rounds = 20000, chains = 12;
    const auto probe = [] {
      using cpu::simd::V;
      V x[chains];
      for (int c = 0; c < chains; ++c) x[c] = cpu::simd::set(1 + 0.01f * float(c));
      const V factor = cpu::simd::set(0.999f);
      for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
        for (int c = 0; c < chains; ++c) x[c] = cpu::simd::mul_add(x[c], factor, factor);
      }
      float sum = 0;
      for (int c = 0; c < chains; ++c) sum += cpu::simd::sum_of_lanes(x[c]);
      benchmark::DoNotOptimize(sum);
    };
    return double(2 * rounds * chains * cpu::simd::lanes * omp_get_max_threads()) / best_of(probe, 0.3);
  }();
  return peak;
}

using Sgemm = void (*)(int order, int transpose_a, int transpose_b, int M, int N, int K, float alpha,
                       const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc);

// OpenBLAS's sgemm with as many threads as OpenMP has, or null.
Sgemm openblas() {
  static const Sgemm sgemm = []() -> Sgemm {
    if (cpu::simd::lanes >= 16) setenv("OPENBLAS_CORETYPE", "SkylakeX", 1);
    void* library = dlopen("libopenblas.so.0", RTLD_NOW);
    if (!library) return nullptr;
    using SetThreads = void (*)(int);
    if (auto set = reinterpret_cast<SetThreads>(dlsym(library, "openblas_set_num_threads"))) {
      set(omp_get_max_threads());
    }
    return reinterpret_cast<Sgemm>(dlsym(library, "cblas_sgemm"));
  }();
  return sgemm;
}

void matmul(benchmark::State& state, MatmulShape s) {
  Array a(s.M * s.K), b(s.K * s.N), y(s.M * s.N), workspace(cpu::matmul_workspace(s) / 4);
  const auto ours = [&] { cpu::matmul(y, a, b, nullptr, s, workspace); };
  const auto theirs = [&] {
    openblas()(101, s.transpose_a ? 112 : 111, s.transpose_b ? 112 : 111, int(s.M), int(s.N), int(s.K), 1, a,
               int(s.transpose_a ? s.M : s.K), b, int(s.transpose_b ? s.K : s.N), s.accumulate ? 1.0f : 0.0f,
               y, int(s.N));
  };
  const double flops = double(2 * s.M * s.N * s.K);
  double our_best = 1e9, their_best = 1e9;
  for (auto _ : state) {
    // Turn about, each after a rest: OpenBLAS's threads keep their cores busy for up to 0.1 s after their last
    // product, ours for 50 µs.
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    our_best = std::min(our_best, best_of(ours, 0.03));
    if (openblas()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
      their_best = std::min(their_best, best_of(theirs, 0.03));
    }
    state.SetIterationTime(our_best);
  }
  state.counters["GFLOP/s"] = flops / our_best * 1e-9;
  state.counters["%peak"] = 100 * flops / our_best / peak_flops();
  if (openblas()) {
    state.counters["OpenBLAS"] = flops / their_best * 1e-9;
    state.counters["ratio"] = their_best / our_best;
  }
}

void register_matmuls() {
  struct Case {
    const char* what;
    int64_t M, N, K;
    bool transpose_a, transpose_b, accumulate;
  };
  const std::vector<Case> cases = {
      // The world model's linear layers, 512 tokens at width 128: y = x · Wᵀ
      {"forward", 512, 384, 128, false, true, false},
      {"forward", 512, 128, 128, false, true, false},
      {"forward", 512, 688, 128, false, true, false},
      {"forward", 512, 344, 128, false, true, false},
      {"forward", 512, 128, 344, false, true, false},
      {"forward", 512, 417, 128, false, true, false},
      // dx += dy · W and dW += dyᵀ · x
      {"dx", 512, 128, 384, false, false, true},
      {"dx", 512, 128, 688, false, false, true},
      {"dW", 384, 128, 512, true, false, true},
      {"dW", 128, 128, 512, true, false, true},
      {"dW", 688, 128, 512, true, false, true},
      {"dW", 417, 128, 512, true, false, true},
      // Newton-Schulz steps of Muon
      {"newton_schulz", 128, 128, 344, false, true, false},
      {"newton_schulz", 128, 344, 128, false, false, false},
      // Larger models
      {"forward", 64, 2304, 768, false, true, false},
      {"forward", 256, 3072, 768, false, true, false},
      {"forward", 1024, 2304, 768, false, true, false},
      {"forward", 2048, 1152, 384, false, true, false},
      {"dx", 2048, 384, 1536, false, false, true},
      {"dW", 1536, 384, 2048, true, false, true},
      {"square", 1024, 1024, 1024, false, false, false},
      // Decoding: one and four tokens
      {"decode", 1, 2304, 768, false, true, false},
      {"decode", 4, 2304, 768, false, true, false},
      {"prompt", 24, 2304, 768, false, true, false},
  };
  for (const Case& c : cases) {
    const std::string name = std::string("matmul/") + c.what + "/" + std::to_string(c.M) + "x" +
                             std::to_string(c.N) + "x" + std::to_string(c.K);
    const MatmulShape shape = {c.M, c.N, c.K, c.transpose_a, c.transpose_b, c.accumulate};
    benchmark::RegisterBenchmark(name.c_str(), matmul, shape)->UseManualTime()->Iterations(4);
  }
}

// Multiply-adds of the allowed (query, key) pairs: two products of width D in forward, five in backward.
void attention(benchmark::State& state, AttentionShape s, bool backward) {
  const int64_t q_size = s.B * s.Tq * s.H * s.D, kv_size = s.B * s.Tk * s.K * s.D, rows = s.B * s.H * s.Tq;
  Array q(q_size), k(kv_size), v(kv_size), y(q_size), lse(rows), dy(q_size);
  Array dq(q_size), dk(kv_size), dv(kv_size), workspace(rows);
  int64_t pairs = 0;
  for (int64_t i = 0; i < s.Tq; ++i) pairs += allowed_keys(s, i).last - allowed_keys(s, i).first;
  const double flops = double(2 * (backward ? 5 : 2) * pairs * s.D * s.B * s.H);
  double best = 1e9;
  cpu::attention_forward(y, lse, q, k, v, s);
  for (auto _ : state) {
    best = std::min(best, best_of(
                              [&] {
                                if (backward) {
                                  cpu::attention_backward(dq, dk, dv, dy, q, k, v, y, lse, workspace, s);
                                } else {
                                  cpu::attention_forward(y, lse, q, k, v, s);
                                }
                              },
                              0.05));
    state.SetIterationTime(best);
  }
  state.counters["GFLOP/s"] = flops / best * 1e-9;
  state.counters["%peak"] = 100 * flops / best / peak_flops();
}

void register_attention() {
  struct Case {
    int64_t B, Tq, Tk, H, K, D;
  };
  for (const Case& c :
       {Case{8, 64, 64, 4, 4, 32}, Case{8, 256, 256, 6, 6, 64}, Case{1, 1024, 1024, 12, 12, 64},
        Case{4, 512, 512, 8, 2, 128}, Case{1, 1, 1024, 12, 12, 64}}) {
    for (bool backward : {false, true}) {
      if (backward && c.Tq == 1) continue;
      const AttentionShape shape = {c.B, c.Tq, c.Tk, c.H, c.K, c.D, 1 / std::sqrt(float(c.D))};
      const std::string name = std::string("attention/") + (backward ? "backward" : "forward") + "/B" +
                               std::to_string(c.B) + "_T" + std::to_string(c.Tq) + "x" +
                               std::to_string(c.Tk) + "_H" + std::to_string(c.H) + "_K" +
                               std::to_string(c.K) + "_D" + std::to_string(c.D);
      benchmark::RegisterBenchmark(name.c_str(), attention, shape, backward)->UseManualTime()->Iterations(4);
    }
  }
}

// f moves `bytes` (each array it must read or write counted once); beside it a memory copy that moves as
// many.
void memory_bound(benchmark::State& state, const std::function<void()>& f, double bytes) {
  std::vector<char> from(size_t(bytes / 2), 1), to(size_t(bytes / 2));
  const size_t half = from.size() / 2;
  const auto copy = [&] {  // both threads copy, as both threads work in f
    cpu::parallel_for(2, 1, [&](int64_t part, int64_t) {
      std::memcpy(to.data() + size_t(part) * half, from.data() + size_t(part) * half, half);
    });
    benchmark::ClobberMemory();
  };
  double best = 1e9, copy_best = 1e9;
  for (auto _ : state) {
    best = std::min(best, best_of(f, 0.03));
    copy_best = std::min(copy_best, best_of(copy, 0.03));
    state.SetIterationTime(best);
  }
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["copy GB/s"] = bytes / copy_best * 1e-9;
  state.counters["ratio"] = copy_best / best;
}

void register_memory_bound(const std::string& name, std::function<void()> f, double bytes) {
  benchmark::RegisterBenchmark(name.c_str(), memory_bound, std::move(f), bytes)
      ->UseManualTime()
      ->Iterations(4);
}

// One op of every kind on a training step's activations: (512, 128), which the second-level caches hold, and
// (8192, 768).
void register_activations(int64_t N, int64_t C) {
  auto arrays = std::make_shared<std::vector<std::unique_ptr<Array>>>();
  for (int i = 0; i < 5; ++i) arrays->push_back(std::make_unique<Array>(N * C));
  const auto x = [arrays](size_t i) -> float* { return (*arrays)[i]->data; };
  const double one = 4.0 * double(N * C);  // bytes of one array
  const std::string size = "/" + std::to_string(N) + "x" + std::to_string(C);
  const int64_t n = N * C;
  register_memory_bound(
      "residual/forward" + size, [=] { cpu::residual_forward(x(0), x(1), x(2), n); }, 3 * one);
  register_memory_bound(
      "layernorm/forward" + size,
      [=] { cpu::layernorm_forward(x(0), x(3), x(4), x(1), x(2), x(2), N, C, 1e-5f); }, 2 * one);
  register_memory_bound(
      "layernorm/backward" + size,
      [=] { cpu::layernorm_backward(x(0), x(4), x(4) + C, x(1), x(2), x(3), x(3), x(3) + N, N, C); },
      4 * one);
  register_memory_bound(
      "rmsnorm/forward" + size, [=] { cpu::rmsnorm_forward(x(0), x(3), x(1), x(2), N, C, 1e-5f); }, 2 * one);
  register_memory_bound(
      "rmsnorm/backward" + size, [=] { cpu::rmsnorm_backward(x(0), x(4), x(1), x(2), x(3), x(3), N, C); },
      4 * one);
  register_memory_bound(
      "softmax/forward" + size, [=] { cpu::softmax_forward(x(0), x(1), N, C); }, 2 * one);
  register_memory_bound(
      "gelu_tanh/forward" + size, [=] { cpu::gelu_tanh_forward(x(0), x(1), n); }, 2 * one);
  register_memory_bound(
      "gelu_erf/forward" + size, [=] { cpu::gelu_erf_forward(x(0), x(1), n); }, 2 * one);
  register_memory_bound(
      "swiglu/forward" + size, [=] { cpu::swiglu_forward(x(0), x(1), x(2), n); }, 3 * one);
  register_memory_bound(
      "swiglu/backward" + size, [=] { cpu::swiglu_backward(x(0), x(1), x(2), x(3), x(4), n); }, 7 * one);
  register_memory_bound(
      "dropout/forward" + size, [=] { cpu::dropout_forward(x(0), x(1), n, 0.1f, 7); }, 2 * one);
  register_memory_bound(
      "rope/forward" + size, [=] { cpu::rope_forward(x(0), x(1), x(2), x(3), 1, N, C / 32, 32, false); },
      2 * one);
  const AdamWStep step = {
      .lr = 1e-3f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f, .t = 10};
  register_memory_bound(
      "adamw" + size, [=] { cpu::adamw_step(x(0), x(1), x(2), x(3), n, step); }, 7 * one);
  auto targets = std::make_shared<std::vector<int32_t>>(size_t(N), 3);
  register_memory_bound(
      "cross_entropy/forward" + size,
      [=] { cpu::cross_entropy_forward(x(3), x(4), x(1), targets->data(), -1, N, C); }, one);
  register_memory_bound(
      "cross_entropy/backward" + size,
      [=] { cpu::cross_entropy_backward(x(0), x(3), x(1), x(4), targets->data(), -1, N, C); }, 3 * one);
}

}  // namespace
}  // namespace chalk

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  std::printf("%d threads, %d SIMD lanes, measured peak %.0f GFLOP/s\n", omp_get_max_threads(),
              int(chalk::cpu::simd::lanes), chalk::peak_flops() * 1e-9);
  if (!chalk::openblas()) std::printf("OpenBLAS is not installed (libopenblas0): no comparison with it\n");
  chalk::register_matmuls();
  chalk::register_attention();
  chalk::register_activations(512, 128);
  chalk::register_activations(8192, 768);
  benchmark::RunSpecifiedBenchmarks();
}
