// Whole training steps (forward, backward, AdamW) and decoding, on the fixed workloads of docs/performance.md.
// Counters: tokens/s, GF/s by 6·N + 12·L·d·T floating-point operations per token, and the peak bytes of tensors.

#include <benchmark/benchmark.h>

#include "kernels/memory.h"
#include "kernels/philox.h"
#include "models/gpt2.h"
#include "models/llama.h"
#include "models/sample.h"
#include "models/train.h"

namespace chalk {
namespace {

using benchmark::Counter;

struct Workload {
  const char* name;
  int64_t layers, width, heads, context, rows, vocabulary;
};

const Workload kTraining[] = {
    {"p1m", 4, 128, 4, 128, 16, 512},
    {"p3m", 4, 256, 4, 256, 8, 512},
    {"small512", 6, 384, 6, 256, 8, 512},
    {"small4096", 6, 384, 6, 256, 8, 4096},
    {"gpt2_124m", 12, 768, 12, 64, 4, 50257},
};

Batch random_batch(const Workload& w) {
  Batch batch;
  batch.B = w.rows, batch.T = w.context;
  for (int64_t i = 0; i < w.rows * w.context; ++i) {
    batch.ids.push_back(int32_t(random_word(1, uint64_t(i)) % uint64_t(w.vocabulary)));
    batch.targets.push_back(int32_t(random_word(2, uint64_t(i)) % uint64_t(w.vocabulary)));
    batch.weights.push_back(1);
  }
  return batch;
}

void train_step(benchmark::State& state, const Workload& w) {
  GPT2Config config;
  config.vocab_size = w.vocabulary, config.n_positions = w.context, config.n_embd = w.width;
  config.n_layer = w.layers, config.n_head = w.heads;
  GPT2 model(config, Device::CPU);
  model.init(1);
  Trainer trainer(model, {});
  const Batch batch = random_batch(w);
  auto next = [&](int64_t) { return batch; };
  reset_peak_memory();
  trainer.train_step(next);  // page faults and the allocator's first requests
  for (auto _ : state) trainer.train_step(next);

  const double tokens = double(w.rows * w.context);
  const double weights = double(model.parameter_count() - w.context * w.width);
  const double flop = (6 * weights + 12 * double(w.layers * w.width * w.context)) * tokens;
  state.counters["tokens/s"] = Counter(tokens, Counter::kIsIterationInvariantRate);
  state.counters["GF/s"] = Counter(flop * 1e-9, Counter::kIsIterationInvariantRate);
  state.counters["peak_MB"] = double(memory_counters().peak_bytes) * 1e-6;
}

// L110 of docs/performance.md: a LLaMA of 109.5 M weights in float32; every token reads each of them once.
void decode(benchmark::State& state) {
  Llama model(llama_preset("stories110m"), Device::CPU);
  model.init(1);
  const SampleOptions options{.max_new_tokens = 32, .temperature = 0};
  for (auto _ : state) benchmark::DoNotOptimize(generate(model, {1}, options));
  const double bytes = 4.0 * double(model.parameter_count()) * 32;
  state.counters["tokens/s"] = Counter(32, Counter::kIsIterationInvariantRate);
  state.counters["GB/s"] = Counter(bytes * 1e-9, Counter::kIsIterationInvariantRate);
}

}  // namespace
}  // namespace chalk

int main(int argc, char** argv) {
  for (const chalk::Workload& w : chalk::kTraining) {
    benchmark::RegisterBenchmark((std::string("train/") + w.name).c_str(),
                                 [&w](auto& state) { chalk::train_step(state, w); })
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
  benchmark::RegisterBenchmark("decode/L110_fp32", chalk::decode)->Unit(benchmark::kMillisecond)->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}
