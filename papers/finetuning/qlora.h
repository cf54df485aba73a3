#pragma once
// QLoRA: Efficient Finetuning of Quantized LLMs (Dettmers, Pagnoni, Holtzman, Zettlemoyer 2023, arXiv 2305.14314)
//
// 1. Claim. A model whose weights are frozen in 4 bits can be fine-tuned as well as in 16 bits, if small float matrices
//    beside every projection do the learning: what rounding has spoiled, they repair. A 65B model then needs 48 GB instead of
//    780. Three things make it so: a 4-bit code book for weights that look normal (NF4), scales that are themselves
//    stored in 8 bits (double quantization), and optimiser states that move to the host when the device is full (paging).
//
// 2. Idea.
//      for (Slot& slot : every projection but lm_head) {
//        slot.layer = NF4Linear(slot.layer);           // 4.127 bits a weight, frozen
//        slot.layer = LoraLinear(slot.layer, rank);    // B · A beside it, float, learns
//      }
//      loss.backward();                                // dx goes through the widened weight; no gradient is kept for it
//      PagedAdamW(all A and B).step();
//
// 3. Glossary.   paper             here
//      W                 weight of a projection: (out, in) here, its transpose in the equations
//      W^NF4             NF4Matrix::codes, two to a byte
//      c2                NF4Matrix::absmax_codes: the scales of blocks of 64 weights, 8 bits each
//      c1                NF4Matrix::absmax_scales: one float per 256 of them; their mean is absmax_mean
//      L1, L2            LoraLinear::A (r, in), B (out, r): the paper's, transposed
//      s                 LoraOptions::scaling() = alpha / r
//      Q_N               normal_quantile
//
// 4. Equations.
//   Eq. (1)  codes = round(127 / absmax(X) · X) = round(c · X)                          test: Qlora.AbsmaxInt8
//   Eq. (2)  X ≈ codes / c                                                               test: Qlora.AbsmaxInt8
//   Eq. (3)  Y = X W + s · X L1 L2                                                       test: Qlora.TwoPathsByHand
//   Eq. (4)  q_i = ½ (Q_N(i/(2^k+1)) + Q_N((i+1)/(2^k+1))): the idea, not the table      test: Qlora.PrintedCodeBook
//   Eq. (5)  Y = X · doubleDequant(c1, c2, W^NF4) + s · X L1 L2                          test: Qlora.TwoPathsByHand
//   Eq. (6)  doubleDequant(c1, c2, W) = dequant(dequant(c1, c2), W)                      test: Qlora.DoubleDequantByHand
//   E1  4 + 8/64 + 32/(64 · 256) = 4.127 bits a weight                                   test: NF4.BitsPerWeight
//   E2  bytes of base, adapters, gradients, moments                                      test: Qlora.MemoryAgainstTheAllocator
//   E3  a page is moved, never changed: paged AdamW = AdamW                              test: PagedAdamWTest.BitIdenticalUnderAnyEvictionOrder
//
// 5. Deviations.
//      paper says                       code does                              why
//      code book by Eq. (4)             the authors' table                     their library builds it otherwise: two half-ranges
//                                                                              of quantiles, 8 above zero, 7 below, and 0
//      Eq. (5) without s                with s                                 so does the authors' code, and Eq. (3)
//      "FP8" for the second level       the dynamic 8-bit map                  so does the authors' code: it is no IEEE float
//      products in bf16                 in float                               Chalk's engine is float32; storage is what counts here
//      16-bit base for comparison       weights rounded to bf16, held in float the same
//      paging by the GPU driver         PagePool (nn/paged_adamw.h)            unified memory needs a GPU; the moves are the same
//      warm-up 3 %                      3 %, then constant                     (the authors' trainer may ignore its warm-up)
//
// 7. What the tests prove (tests/papers/qlora_test.cpp, tests/nn/nf4_test.cpp, lora_test.cpp, paged_adamw_test.cpp). The table is
//    the published one and its construction gives it to 3e-7; rounding is to the nearest number, twice is once, the largest weight of
//    a block is exact; 4.5 and 4.127 bits are what is held; the layer equals Eq. (5) written out; only adapters get gradients and
//    the one to x is that of the widened weight; training leaves the packed base bit-identical; paging changes no bit.

#include <algorithm>
#include <cmath>
#include <functional>

#include "kernels/memory.h"
#include "models/io/dtype.h"
#include "models/train.h"
#include "nn/lora.h"
#include "nn/paged_adamw.h"

namespace chalk {

// ---- 6. the code. Section 2 of the paper: block-wise quantization and its inverse ----

struct AbsmaxInt8 {
  std::vector<int> codes;  // −127 … 127
  double c = 0;            // the "quantization constant"
};

inline AbsmaxInt8 quantize_int8(const std::vector<float>& x) {
  double largest = 0;
  for (float v : x) largest = std::max(largest, std::abs(double(v)));
  AbsmaxInt8 q;
  q.c = largest > 0 ? 127 / largest : 1;
  for (float v : x) q.codes.push_back(int(std::nearbyint(q.c * double(v))));  // Eq. (1)
  return q;
}

inline std::vector<float> dequantize_int8(const AbsmaxInt8& q) {
  std::vector<float> x;
  for (int code : q.codes) x.push_back(float(code / q.c));  // Eq. (2)
  return x;
}

// ---- section 3: 4-bit NormalFloat ----

// Q_N(p): the number that a standard normal variable stays below with probability p, 0 < p < 1. Bisection of its Φ.
inline double normal_quantile(double p) {
  double low = -40, high = 40;
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2, phi = 0.5 * std::erfc(-middle / std::sqrt(2.0));
    (phi < p ? low : high) = middle;
  }
  return (low + high) / 2;
}

// The code book that the paper prints: 2^bits − 1 numbers, the averages of neighbouring quantiles, scaled to [−1, 1]. It is
// symmetric. With 4 bits 0 is the eighth of 15; nn/nf4.cpp holds the 16 numbers that were really used.
inline std::vector<double> printed_code_book(int bits) {
  const int n = 1 << bits;
  std::vector<double> q;
  for (int i = 1; i < n; ++i) {
    q.push_back(
        0.5 * (normal_quantile(double(i) / (n + 1)) + normal_quantile(double(i + 1) / (n + 1))));  // Eq. (4)
  }
  const double largest = q.back();
  for (double& number : q) number /= largest;
  return q;
}

// ---- section 3: double quantization, read back in two steps ----

// (rows, columns), written out; the kernels do the same a block at a time.
inline std::vector<float> double_dequant(const NF4Matrix& matrix) {
  const NF4Matrix host = matrix.to(Device::CPU);
  const NF4Weight w = host.view();
  std::vector<float> absmax, weight;
  for (int64_t k = 0; k < matrix.blocks(); ++k) {
    absmax.push_back(nf4_scale(w, k));  // dequant(c1, c2): map[code] · c1 + mean
  }
  for (int64_t i = 0; i < matrix.count(); ++i) {
    weight.push_back(w.book[nf4_code(w.codes, i)] * absmax[size_t(i / w.block)]);  // Eq. (6)
  }
  return weight;
}

// ---- section 3: the layer ----

// y (N, out) of x (N, in): what LoraLinear over NF4Linear computes, written out as one sum over both paths.
inline std::vector<float> qlora_by_hand(const std::vector<float>& x, const NF4Matrix& matrix,
                                        const LoraLinear& lora) {
  const int64_t in = matrix.columns, out = matrix.rows, rank = lora.options.rank, N = int64_t(x.size()) / in;
  const std::vector<float> weight = double_dequant(matrix), A = lora.A.to_vector(), B = lora.B.to_vector();
  const double s = lora.options.scaling();
  std::vector<double> y(size_t(N * out), 0.0);
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t o = 0; o < out; ++o) {
      double& sum = y[size_t(n * out + o)];
      for (int64_t i = 0; i < in; ++i) {
        double update = 0;  // (L1 L2)_io
        for (int64_t r = 0; r < rank; ++r)
          update += double(A[size_t(r * in + i)]) * double(B[size_t(o * rank + r)]);
        // Eq. (3), with the widened weight in place of W, is Eq. (5).
        sum += double(x[size_t(n * in + i)]) * (double(weight[size_t(o * in + i)]) + s * update);
      }
    }
  }
  return {y.begin(), y.end()};
}

// ---- the method ----

// How the frozen base is stored.
enum class BaseStorage { Float32, BFloat16, FourBit };

struct QloraOptions {
  BaseStorage storage = BaseStorage::FourBit;  // BFloat16: the LoRA that QLoRA is compared with
  NF4Options quantization = {};                // NF4, blocks of 64, double quantization in blocks of 256
  LoraOptions lora{.rank = 64, .alpha = 16};  // dropout: 0.1 up to 13B, 0.05 above, 0 in the script's default
  std::vector<std::string> targets =
      {};  // none: every projection but lm_head, which the paper finds essential
  AdamW::Options adamw{.lr = 2e-4f, .beta1 = 0.9f, .beta2 = 0.999f, .weight_decay = 0};
  PagedOptions paging = {};    // budget 0: all moments stay on the device
  double clip = 0.3;           // largest gradient norm
  double warmup_share = 0.03;  // of the steps; constant learning rate after it
  int64_t steps = 1875;
  uint64_t seed = 0;  // of A and of dropout
};

inline void round_projections_to_bf16(Module& model) {
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    auto* linear = dynamic_cast<Linear*>(slot->layer.get());
    if (!linear || slot->name == "lm_head") continue;
    const Tensor& weight = linear->weight;
    std::vector<float> numbers = weight.to_vector();
    for (float& w : numbers) w = bf16_to_float(float_to_bf16(w));
    weight.copy_from(Tensor::from(weight.shape, numbers, weight.device()));
  }
}

// Freezes the model, stores its projections as asked (lm_head, embeddings and norms stay float), and adds the adapters.
// Until the first step the model computes what its stored weights say: B is zero.
inline std::vector<LoraLinear*> prepare_qlora(LanguageModel& model, const QloraOptions& options) {
  if (options.storage == BaseStorage::FourBit) quantize_projections(model, options.quantization);
  if (options.storage == BaseStorage::BFloat16) round_projections_to_bf16(model);
  return attach_lora(model, options.lora, options.targets, options.seed, &model.training);
}

// Merging without loss: each adapted projection becomes a plain float Linear of its widened weight + s · B · A. The 4-bit
// alternative is merge_lora(), which rounds that sum to the code book again (nn/lora.h).
inline void merge_into_float(Module& model) {
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    const auto* lora = dynamic_cast<const LoraLinear*>(slot->layer.get());
    if (!lora) continue;
    auto dense = std::make_unique<Linear>(
        Tensor::from({lora->out_features(), lora->in_features()}, dense_weight(*lora), lora->A.device()));
    if (const auto* packed = dynamic_cast<const NF4Linear*>(lora->base.get())) dense->bias = packed->bias;
    if (const auto* linear = dynamic_cast<const Linear*>(lora->base.get())) dense->bias = linear->bias;
    slot->layer = std::move(dense);
  }
}

struct QloraRun {
  std::vector<double> losses;  // of each step's batch
  PageCounters pages;
  int64_t peak_bytes = 0;  // of the caching allocator, activations included
};

// Trains the adapters. batch(i) is the i-th batch; on_step(step, loss) is called after each update, and stops when false.
inline QloraRun train_adapters(LanguageModel& model, const QloraOptions& options,
                               const std::function<Batch(int64_t)>& batch,
                               const std::function<bool(int64_t step, double loss)>& on_step = {}) {
  Trainer trainer(model, {.clip = options.clip,
                          .schedule = "constant",
                          .warmup = int64_t(std::ceil(options.warmup_share * double(options.steps))),
                          .steps = options.steps,
                          .seed = options.seed});
  // The trainer's own AdamW makes way for the paged one: only where the moments live differs.
  auto owned = std::make_unique<PagedAdamW>(trainer.parameters, options.adamw, options.paging);  // E3
  const PagedAdamW& optimizer = *owned;
  trainer.optimizers.clear();
  trainer.optimizers.push_back(std::move(owned));

  QloraRun run;
  reset_peak_memory();
  for (int64_t step = 0; step < options.steps; ++step) {
    run.losses.push_back(trainer.train_step(batch).loss);
    if (on_step && !on_step(step, run.losses.back())) break;
  }
  run.pages = optimizer.counters();
  run.peak_bytes = memory_counters().peak_bytes;
  return run;
}

// ---- section 3, "Memory": the arithmetic, from sizes alone ----

struct QloraMemory {
  int64_t weights = 0;         // numbers in the quantized projections
  int64_t packed_bytes = 0;    // what they take in 4 bits, constants included
  int64_t other_bytes = 0;     // embeddings, head, norms, biases: float
  int64_t adapter_bytes = 0;   // A and B, float
  int64_t gradient_bytes = 0;  // of A and B only
  int64_t moment_bytes = 0;    // m and v of A and B that may be on the device
  int64_t total() const { return packed_bytes + other_bytes + adapter_bytes + gradient_bytes + moment_bytes; }
};

// Of a float model, before prepare_qlora; every projection but lm_head carries an adapter.
inline QloraMemory predict_memory(LanguageModel& model, const QloraOptions& options) {
  QloraMemory memory;
  const NF4Options& q = options.quantization;
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) {
    if (slot->name == "lm_head") continue;
    const int64_t in = slot->projection().in_features(), out = slot->projection().out_features();
    const int64_t n = in * out, blocks = (n + q.block - 1) / q.block;
    const int64_t constants =
        q.double_quantize ? blocks + 4 * ((blocks + q.absmax_block - 1) / q.absmax_block) + 4 : 4 * blocks;
    memory.weights += n;
    memory.packed_bytes += (n + 1) / 2 + constants;              // E1: 4.127 bits · n / 8
    memory.adapter_bytes += 4 * options.lora.rank * (in + out);  // E2
  }
  memory.other_bytes = 4 * (model.parameter_count() - memory.weights);
  memory.gradient_bytes = memory.adapter_bytes;
  const int64_t moments = 2 * memory.adapter_bytes, budget = options.paging.budget_bytes;
  memory.moment_bytes = budget > 0 ? std::min(moments, budget) : moments;
  return memory;
}

// Fine-tuning all weights in 16 bits: weight 2 + gradient 2 + two float moments 8 = 12 bytes each (65B: 780 GB).
inline int64_t full_finetuning_bytes(int64_t parameters) {
  return 12 * parameters;
}

}  // namespace chalk
