// Every paper's core with device cuda (cusim, or a GPU), beside the same on the cpu. What an algorithm does on the host by
// design (Cholesky, searches, probes) must fetch its numbers: device memory is out of the host's reach here
// (CUSIM_STRICT=1), so a forgotten copy ends with a fault.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "models/activations.h"
#include "nn/calibration.h"
#include "papers/finetuning/lora.h"
#include "papers/finetuning/qlora.h"
#include "papers/qat/cyclic_precision.h"
#include "papers/quantization/awq.h"
#include "papers/quantization/gptq.h"
#include "papers/quantization/obq.h"
#include "papers/quantization/rtn.h"
#include "papers/steering/activation_addition.h"
#include "papers/steering/contrastive_activation_addition.h"
#include "papers/steering/inference_time_intervention.h"
#include "papers/steering/probes.h"
#include "papers/steering/refusal_direction.h"
#include "papers/steering/representation_engineering.h"
#include "tests/expect.h"
#include "tests/papers/switchable_fixture.h"

namespace chalk {
namespace {

const bool strict = setenv("CUSIM_STRICT", "1", 1) == 0;  // before cusim reads it

// Two blocks of about 10 products of 30 terms each; activations stay below 30, and each of 300 roundings errs by 2⁻²⁴.
constexpr double logit_tolerance = 30 * 300 * 6e-8;

// One architecture, twice: what cuda computes is held against the cpu.
class CudaPapers : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override { ASSERT_TRUE(strict); }
  std::unique_ptr<LanguageModel> make(Device device) const { return ModelCase{GetParam(), device}.make(); }
  bool gpt2() const { return std::string(GetParam()) == "gpt2"; }
  std::unique_ptr<LanguageModel> cpu = make(Device::CPU), cuda = make(Device::CUDA);

  static std::vector<float> logits(LanguageModel& model) {
    const NoGrad no_grad;
    return model.forward(some_ids(2, 6)).to_vector();
  }
  void expect_same_logits(double tolerance = logit_tolerance) const {
    EXPECT_TRUE(all_near(logits(*cuda), logits(*cpu), tolerance));
  }
  // Runs `steer` on both models: the logits agree (directions are sums of residuals, hence the 4), and have moved.
  template <class Steer>
  void expect_same_steering(Steer steer) const {
    const std::vector<float> before = logits(*cuda);
    Edits on_cpu(cpu->hooks), on_cuda(cuda->hooks);
    steer(*cpu, on_cpu);
    steer(*cuda, on_cuda);
    expect_same_logits(4 * logit_tolerance);
    EXPECT_NE(logits(*cuda), before);
  }
};
INSTANTIATE_TEST_SUITE_P(Architectures, CudaPapers, testing::Values("gpt2", "llama"),
                         [](const auto& info) { return std::string(info.param); });

// Texts of six tokens; those of the second class begin with another word.
std::vector<Ids> texts(int32_t first) {
  std::vector<Ids> all;
  for (uint64_t i = 0; i < 8; ++i) {
    all.push_back(some_ids(1, 6, 50 + i).values);
    all.back()[3] = first;
  }
  return all;
}

// ---- quantization ----

TEST_P(CudaPapers, Rtn) {
  for (int bits : {3, 4, 8}) {
    const RtnOptions options{.quantizer = {.bits = bits, .group_size = 4}};
    const RoundedModel a(*cpu, options), b(*cuda, options);
    for (size_t i = 0; i < a.layers.size(); ++i)
      EXPECT_EQ(b.layers[i].matrix.codes, a.layers[i].matrix.codes);
    expect_same_logits();
  }
}

// Inputs differ in their last bits, so a number that lies almost halfway between two codes may go the other way: few do.
TEST_P(CudaPapers, Gptq) {
  const std::vector<IntTensor> text = {some_ids(8, 12, 1)};
  const gptq::Options options{.quantizer = {.bits = 3}};
  const gptq::ModelResult a = gptq::quantize_model(*cpu, text, options),
                          b = gptq::quantize_model(*cuda, text, options);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  double error = 0, rounding = 0;
  size_t different = 0, total = 0;
  for (size_t i = 0; i < a.layers.size(); ++i) {
    const QuantizedMatrix &p = a.layers[i].matrix, &q = b.layers[i].matrix;
    for (size_t k = 0; k < p.codes.size(); ++k) different += p.codes[k] != q.codes[k];
    total += p.codes.size();
    error += b.reports[i].error, rounding += b.reports[i].rtn_error;
    EXPECT_EQ(float_linear(find_slot(*cuda, b.layers[i].slot)).weight.to_vector(), dequantize(q));
  }
  EXPECT_LE(different, total / 50);
  EXPECT_LT(error, rounding);
}

TEST_P(CudaPapers, ObqOnInputsThatWereSeenOnTheDevice) {
  const std::string slot = cuda->block_prefix(0) + (gpt2() ? "attn.c_attn" : "self_attn.q_proj");
  std::vector<double> hessians[2];
  for (LanguageModel* model : {cpu.get(), cuda.get()}) {
    const NoGrad no_grad;
    const InputObserver observer(model->hooks, {slot},
                                 [&](const std::string&, const float* x, int64_t tokens, int64_t in) {
                                   hessians[model == cuda.get()] = obq::hessian_of(x, tokens, in);
                                 });
    model->forward(some_ids(4, 8));
  }
  const Linear& linear = float_linear(find_slot(*cuda, slot));
  const int64_t R = linear.out_features(), C = linear.in_features();
  const std::vector<float> w = linear.weight.to_vector();
  const obq::Options options{.quantizer = {.bits = 3}, .damping = 0.01};
  const obq::Result a = obq::quantize(w.data(), R, C, hessians[0], options),
                    b = obq::quantize(w.data(), R, C, hessians[1], options);
  size_t different = 0;
  for (size_t k = 0; k < a.weight.codes.size(); ++k) different += a.weight.codes[k] != b.weight.codes[k];
  EXPECT_LE(different, a.weight.codes.size() / 50);
}

// The loss of plain rounding, α = 0, knows no ties: weights are the same bits, so only the layer's arithmetic differs.
TEST_P(CudaPapers, Awq) {
  const AwqOptions options{.bits = 4, .group_size = 4};
  const AwqResult a = quantize_awq(*cpu, some_ids(2, 6), options),
                  b = quantize_awq(*cuda, some_ids(2, 6), options);
  ASSERT_EQ(a.searches.size(), b.searches.size());
  for (size_t i = 0; i < a.searches.size(); ++i) {
    if (a.searches[i].losses.empty()) continue;
    EXPECT_NEAR(b.searches[i].losses[0], a.searches[i].losses[0], 1e-3 * a.searches[i].losses[0]);
    EXPECT_LE(b.searches[i].loss, b.searches[i].losses[0]);
  }
  EXPECT_EQ(a.layers.size(), b.layers.size());
  for (float v : logits(*cuda)) EXPECT_TRUE(std::isfinite(v));
}

// ---- fine-tuning and training ----

// Losses of some steps. The first is one forward pass; from then on AdamW's early steps are lr · sign(g), and a gradient near 0
// may flip: see tests/models/cuda_model_test.cpp.
void expect_same_curve(const std::vector<double>& cuda, const std::vector<double>& cpu, double first,
                       double later) {
  ASSERT_EQ(cuda.size(), cpu.size());
  EXPECT_NEAR(cuda[0], cpu[0], first);
  for (size_t i = 1; i < cpu.size(); ++i) EXPECT_NEAR(cuda[i], cpu[i], later) << "step " << i;
  EXPECT_LT(cuda.back(), cuda.front());
}
Batch one_batch(int64_t) {
  return small_batch();
}

TEST_P(CudaPapers, LoraTrainsMergesAndUnmerges) {
  const LoraFinetuneOptions options{.lora = {.rank = 2, .alpha = 4}, .lr = 1e-2, .warmup = 1, .steps = 4};
  expect_same_curve(finetune_lora(*cuda, options, one_batch), finetune_lora(*cpu, options, one_batch), 1e-5,
                    2e-3);
  const std::vector<float> apart = logits(*cuda);
  merge_finetuned(*cuda);
  EXPECT_TRUE(all_near(logits(*cuda), apart, logit_tolerance));
  for (Slot* slot : slots_of(*cuda, Slot::Kind::Projection)) {
    if (auto* lora = dynamic_cast<LoraLinear*>(slot->layer.get())) lora->unmerge();
  }
  EXPECT_TRUE(all_near(logits(*cuda), apart, logit_tolerance));
}

TEST_P(CudaPapers, QloraTrainsOnFourBits) {
  QloraOptions options{.quantization = {.block = 8, .absmax_block = 4}, .lora = {.rank = 2, .alpha = 4}};
  options.adamw.lr = 1e-2f, options.steps = 4;
  options.paging = {.page_size = 16, .budget_bytes = 16 * 4 * 4};  // four pages: most of them travel
  prepare_qlora(*cpu, options);
  const std::vector<LoraLinear*> adapters = prepare_qlora(*cuda, options);
  expect_same_logits();
  // One layer, written out on the host.
  const LoraLinear& lora = *adapters[0];
  const NF4Matrix& matrix = static_cast<NF4Linear&>(*lora.base).weight;
  EXPECT_EQ(double_dequant(matrix), dequantize(matrix));
  const QloraRun run = train_adapters(*cuda, options, one_batch);
  expect_same_curve(run.losses, train_adapters(*cpu, options, one_batch).losses, 1e-5, 2e-3);
  EXPECT_GT(run.pages.evictions, 0);
  merge_into_float(*cuda);
  for (float v : logits(*cuda)) EXPECT_TRUE(std::isfinite(v));
}

TEST_P(CudaPapers, LoraOnBFloat16Weights) {
  for (LanguageModel* model : {cpu.get(), cuda.get()}) round_projections_to_bf16(*model);
  expect_same_logits();
}

// At 8 bits an activation that lies almost halfway between two codes may go the other way: it moves by 1/255 of its token's
// range, below 8 · 2, and a logit by that times a few weights of size 0.3. A loss is a mean over 19 tokens.
constexpr double flipped_code = 16.0 / 255;

TEST_P(CudaPapers, CyclicPrecision) {
  CyclicModel a = make_cyclic(*cpu), b = make_cyclic(*cuda);
  const CyclicSchedule schedule{.low = 4, .high = 8, .cycles = 1, .total = 5};
  const TrainOptions training{.lr = 1e-2, .warmup = 1, .steps = 5};
  Trainer on_cpu(*cpu, training), on_cuda(*cuda, training);
  std::vector<double> losses[2];
  for (int step = 0; step < 5; ++step) {
    losses[0].push_back(cyclic_train_step(a, on_cpu, schedule, 8, one_batch).loss);
    losses[1].push_back(cyclic_train_step(b, on_cuda, schedule, 8, one_batch).loss);
  }
  expect_same_curve(losses[1], losses[0], flipped_code, 2 * flipped_code);
}

TEST_P(CudaPapers, SwitchablePrecision) {
  for (bool nested : {false, true}) {
    const std::unique_ptr<LanguageModel> p = make(Device::CPU), q = make(Device::CUDA);
    const SwitchableOptions options{.widths = {4, 8, 16}, .nested_grid = nested};
    SwitchableModel a = make_switchable(*p, options), b = make_switchable(*q, options);
    const Batch batch = small_batch();
    EXPECT_TRUE(all_near(logits_at(b, 16, batch), logits_at(a, 16, batch), logit_tolerance));
    for (int bits : {4, 8})
      EXPECT_TRUE(all_near(logits_at(b, bits, batch), logits_at(a, bits, batch), 4 * flipped_code)) << bits;
    const SwitchableTraining training{.steps = 3, .warmup = 0, .lr = 1e-2};
    SwitchableTrainer trainer(b, training), on_cpu(a, training);
    for (int step = 0; step < 3; ++step) {
      const std::vector<double> cuda_losses = trainer.train_step(batch),
                                cpu_losses = on_cpu.train_step(batch);
      EXPECT_TRUE(std::isfinite(cuda_losses.back()));
      EXPECT_NEAR(cuda_losses[0], cpu_losses[0], step == 0 ? 1e-5 : 2 * flipped_code);
    }
  }
}

// ---- steering ----

TEST_P(CudaPapers, ActivationAddition) {
  const auto steer = [](LanguageModel& model, Edits& edits) {
    const actadd::Addition a = actadd::activation_difference(model, {1, 2, 3}, {1, 9}, 1, 5);
    actadd::add(edits, model, a, 2);
  };
  expect_same_steering(steer);
}

TEST_P(CudaPapers, ContrastiveActivationAddition) {
  const auto steer = [](LanguageModel& model, Edits& edits) {
    const Direction v =
        caa::behaviour_vector(residuals_at(model, texts(3))[1], residuals_at(model, texts(4))[1]);
    caa::add(edits, model, 1, v, 1.5, {.marker = 1, .project_first = true});
  };
  expect_same_steering(steer);
}

TEST_P(CudaPapers, InferenceTimeIntervention) {
  std::vector<Ids> all = texts(3);
  const std::vector<Ids> other = texts(4);
  all.insert(all.end(), other.begin(), other.end());
  Labels labels;
  std::vector<int> question;
  for (int i = 0; i < 16; ++i) labels.push_back(i < 8), question.push_back(i % 8);
  std::vector<iti::HeadShift> shifts[2];
  for (LanguageModel* model : {cpu.get(), cuda.get()}) {
    const std::vector<Samples> heads = iti::head_outputs(*model, all);
    std::vector<iti::HeadShift> ranked =
        iti::rank_heads(heads, iti::query_heads(*model), labels, question, heads, {});
    // By place, not by accuracy: two heads may tie on the one and not on the other.
    std::sort(ranked.begin(), ranked.end(), [](const auto& a, const auto& b) {
      return std::pair(a.block, a.head) < std::pair(b.block, b.head);
    });
    shifts[model == cuda.get()] = ranked;
  }
  const auto steer = [&](LanguageModel& model, Edits& edits) {
    iti::add_shifts(edits, model, shifts[&model == cuda.get()], 2);
  };
  expect_same_steering(steer);
  for (LanguageModel* model : {cpu.get(), cuda.get()}) iti::bake_in(*model, shifts[model == cuda.get()], 2);
  expect_same_logits(4 * logit_tolerance);
}

TEST_P(CudaPapers, Probes) {
  Direction found[2];
  for (LanguageModel* model : {cpu.get(), cuda.get()}) {
    const Samples x = concatenate(residuals_at(*model, texts(3))[2], residuals_at(*model, texts(4))[2]);
    Labels y(16, 0);
    std::fill(y.begin(), y.begin() + 8, 1);
    const Direction d = difference_of_means(x, y);
    found[model == cuda.get()] = d;
    for (const probes::Estimator& e : probes::estimators()) EXPECT_TRUE(std::isfinite(e.fit(x, y).bias)) << e.name;
  }
  for (size_t j = 0; j < found[0].size(); ++j) EXPECT_NEAR(found[1][j], found[0][j], logit_tolerance);
}

TEST_P(CudaPapers, RefusalDirection) {
  const auto steer = [](LanguageModel& model, Edits& edits) {
    std::vector<refusal::Candidate> all = refusal::candidates(model, texts(3), texts(4), 2);
    refusal::score(model, all.back(), texts(3), texts(4), {7, 8});
    refusal::add_ablation(edits, model, all.back().direction);
  };
  expect_same_steering(steer);
  for (LanguageModel* model : {cpu.get(), cuda.get()})
    refusal::orthogonalise(*model, random_direction(model->width(), 1, 3));
  expect_same_logits();
}

TEST_P(CudaPapers, RepresentationEngineering) {
  const auto steer = [](LanguageModel& model, Edits& edits) {
    const Samples a = residuals_at(model, texts(3))[1], b = residuals_at(model, texts(4))[1];
    const repe::ReadingVector v =
        repe::read_pairs(repe::shuffled_pairs(a, b, 1), {.reader = repe::Reader::ClusterMean});
    repe::add_control(edits, model, {{1, v.controller(1)}});
  };
  expect_same_steering(steer);
  const auto contrast = [](LanguageModel& model) {
    return repe::contrast_logits(model, texts(3)[0], texts(3)[1], texts(4)[2],
                                 {.blocks = {0}, .alpha = 0.5, .tokens = 2})
        .to_vector();
  };
  EXPECT_TRUE(all_near(contrast(*cuda), contrast(*cpu), 4 * logit_tolerance));
}

}  // namespace
}  // namespace chalk
