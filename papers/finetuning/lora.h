#pragma once
// LoRA: Low-Rank Adaptation of Large Language Models (Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen 2021,
// arXiv 2106.09685); and rsLoRA (Kalajdzievski 2023), its scale for large ranks.
//
// 1. Claim. To teach a trained model a new task it is enough to learn a correction of low rank to its weight matrices. With
//    the weights themselves frozen, less than 1 % of the parameters learn, the optimiser's memory shrinks as much, quality is that of full
//    fine-tuning, and since the correction can be added to the weights afterwards, inference costs nothing.
//
// 2. Idea.
//      model.set_requires_grad(false);
//      for (Slot& slot : chosen projections) slot.layer = LoraLinear(slot.layer, rank);   // y = base(x) + s · B A x
//      train as always;                     // gradients reach A and B only
//      save A, B, alpha, rank;              // a few hundred KB: one base, many adapters
//      slot.layer = W + s · B A;            // or merge
//
// 3. Glossary.   paper        here
//      W0           LoraLinear::base, (out, in), any projection
//      A, B         LoraLinear::A (r, in), B (out, r)
//      ΔW           LoraLinear::delta() = s · B A
//      r, α         LoraOptions::rank, alpha;  s = scaling()
//      h            y
//
// 4. Equations. (E: our labels; the paper numbers only E1 and the loss.)
//   E1  y = W0 x + b + s · B A dropout(x), s = α / r                 test: LoraPaper.ForwardByHand
//   E2  A ~ U(−1/√in, 1/√in), B = 0: the start is the base           test: LoraTest.StartsAsTheBaseBitForBit
//   E3  dB = s g (A x)ᵀ, dA = s Bᵀ g xᵀ, dx += s Aᵀ Bᵀ g             test: LoraPaper.GradientsByHand
//   E4  merged W = W0 + s · B A; unmerged W0 = W − s · B A           test: LoraTest.MergedEqualsTwoPaths
//   E5  rsLoRA: s = α / √r, equal to E1 at r = 1                     test: Lora.RankStabilizedScaleWithRankOneIsLora
//   E6  r · (in + out) numbers learn per matrix (or part of one)     test: LoraPaper.CountsWhatLearns
//
// 5. Deviations.
//      paper says                    code does                       why
//      A Gaussian                    uniform in ±1/√in               so does the authors' code (Kaiming with a = √5); they note that it
//                                                                    should not matter
//      only attention's q and v      any projection, default all     QLoRA found that all are needed to match full fine-tuning
//      fused q, k, v in parts        targets "c_attn.q", "c_attn.v"  default is one A and B for all of c_attn, as in PEFT, which reads parts
//                                                                    as one adapter of rank P · r with zeros in B (models/lora_adapter.h)
//      weight decay 0.01             0 by default                    a frozen base must not be decayed; on A and B it is allowed
//
// 7. What the tests prove (tests/papers/lora_test.cpp, tests/nn/lora_test.cpp, tests/models/io/peft_test.cpp). The layer and its gradients
//    equal E1 and E3 written out; at the start it is the base bit for bit, and only B moves first; the merged weight gives the same
//    outputs and comes apart again; ΔW has rank r at most; counts; q and v of GPT-2's fused projection move and k does not; the base is bit-identical after training; PEFT
//    computes the same logits from the files.

#include <string>
#include <vector>

#include "models/train.h"
#include "nn/lora.h"

namespace chalk {

// ---- 6. the code. The layer, written out ----

// The numbers of one adapted projection, and what they do to one x.
struct LoraByHand {
  int64_t in, out, rank;
  double s;                      // α / r, or α / √r: LoraOptions::scaling()  (E5)
  std::vector<double> W0, A, B;  // (out, in), (r, in), (out, r)

  explicit LoraByHand(const LoraLinear& layer)
      : in(layer.in_features()),
        out(layer.out_features()),
        rank(layer.options.rank),
        s(layer.options.scaling()) {
    const std::vector<float> w = dense_weight(*layer.base), a = layer.A.to_vector(), b = layer.B.to_vector();
    W0.assign(w.begin(), w.end()), A.assign(a.begin(), a.end()), B.assign(b.begin(), b.end());
  }

  // A x, (r)
  std::vector<double> thin(const std::vector<double>& x) const {
    std::vector<double> z(size_t(rank), 0.0);
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t i = 0; i < in; ++i) z[size_t(r)] += A[size_t(r * in + i)] * x[size_t(i)];
    }
    return z;
  }

  std::vector<double> forward(const std::vector<double>& x) const {
    const std::vector<double> z = thin(x);
    std::vector<double> y(size_t(out), 0.0);
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t i = 0; i < in; ++i) y[size_t(o)] += W0[size_t(o * in + i)] * x[size_t(i)];
      for (int64_t r = 0; r < rank; ++r) y[size_t(o)] += s * B[size_t(o * rank + r)] * z[size_t(r)];  // E1
    }
    return y;
  }

  struct Gradients {
    std::vector<double> dx, dA, dB;  // (in), (r, in), (out, r)
  };

  // Of one x, from g = dL/dy (out).
  Gradients backward(const std::vector<double>& x, const std::vector<double>& g) const {
    const std::vector<double> z = thin(x);
    std::vector<double> back(size_t(rank), 0.0);  // Bᵀ g
    Gradients d{std::vector<double>(size_t(in)), std::vector<double>(A.size()),
                std::vector<double>(B.size())};
    for (int64_t o = 0; o < out; ++o) {
      for (int64_t r = 0; r < rank; ++r) {
        back[size_t(r)] += B[size_t(o * rank + r)] * g[size_t(o)];
        d.dB[size_t(o * rank + r)] = s * g[size_t(o)] * z[size_t(r)];  // E3: dB = s g (A x)ᵀ
      }
      for (int64_t i = 0; i < in; ++i) d.dx[size_t(i)] += W0[size_t(o * in + i)] * g[size_t(o)];
    }
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t i = 0; i < in; ++i) {
        d.dA[size_t(r * in + i)] = s * back[size_t(r)] * x[size_t(i)];   // E3: dA = s Bᵀ g xᵀ
        d.dx[size_t(i)] += s * A[size_t(r * in + i)] * back[size_t(r)];  // E3: dx += s Aᵀ Bᵀ g
      }
    }
    return d;
  }
};

// ---- the method ----

struct LoraFinetuneOptions {
  LoraOptions lora{.rank = 8, .alpha = 16};
  std::vector<std::string> targets =
      {};                   // slot names or their last components; none: every projection but lm_head
  double lr = 3e-3;         // of AdamW; LoRA takes larger rates than full fine-tuning
  double weight_decay = 0;  // on A and B
  double clip = 1;
  std::string schedule = "linear";  // warm-up, then linearly to a tenth
  int64_t warmup = 20, steps = 300;
  uint64_t seed = 0;  // of A, and of dropout
};

inline TrainOptions train_options(const LoraFinetuneOptions& o) {
  return {.lr = o.lr,
          .beta2 = 0.999,
          .weight_decay = o.weight_decay,
          .clip = o.clip,
          .schedule = o.schedule,
          .warmup = o.warmup,
          .steps = o.steps,
          .seed = o.seed};
}

// How many numbers would learn.
inline int64_t lora_parameter_count(const std::vector<Projection*>& adapted, int64_t rank) {
  int64_t count = 0;
  for (const Projection* p : adapted) count += rank * (p->in_features() + p->out_features());  // E6
  return count;
}

// Trains whatever learns in the model; the loss of each step's batch.
inline std::vector<double> train_steps(LanguageModel& model, const LoraFinetuneOptions& options,
                                       const std::function<Batch(int64_t)>& batch) {
  Trainer trainer(model, train_options(options));
  std::vector<double> losses;
  for (int64_t step = 0; step < options.steps; ++step) losses.push_back(trainer.train_step(batch).loss);
  return losses;
}

// Freezes the model, attaches the adapters (E2: the model computes the same as before), trains them.
inline std::vector<double> finetune_lora(LanguageModel& model, const LoraFinetuneOptions& options,
                                         const std::function<Batch(int64_t)>& batch) {
  attach_lora(model, options.lora, options.targets, options.seed, &model.training);
  return train_steps(model, options, batch);
}

// Adds the correction to the weights; the model is then an ordinary one and can be saved as such.
inline MergeLoss merge_finetuned(LanguageModel& model) {
  return merge_lora(model);  // E4
}

}  // namespace chalk
