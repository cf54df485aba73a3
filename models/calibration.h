#pragma once
// A model worked on block by block, as GPTQ, AWQ and EfficientQAT do: sample text goes through the embedding once, then
// through one block at a time, so that only one block's activations are in memory.
//
//   BlockWalk walk(model, batches);
//   for (; !walk.done(); walk.advance()) {                      // advance() runs the block as it is now: quantized
//     for (const auto& slots : slots_by_input(walk.block())) {  // true-sequential: {q, k, v}, {o}, {gate, up}, {down}
//       walk.observe(slots, add_to_hessians);
//       quantize(slots);
//     }
//   }
//
// AWQ carries the original block's outputs forward instead:
//   std::vector<Tensor> next = walk.outputs();   change the block ...   walk.advance(std::move(next));

#include <map>

#include "models/language_model.h"
#include "nn/calibration.h"

namespace chalk {

struct BlockWalk {
  // Embeds the batches, each (B, T). Throws Error on no batches, a model in training mode, or ids that it does not know;
  // UsageError on more positions than its context has.
  BlockWalk(LanguageModel& model, const std::vector<IntTensor>& batches);

  LanguageModel& model;
  int64_t index = 0;           // of the block at hand
  std::vector<Tensor> inputs;  // (B, T, C), one per batch: what enters it

  bool done() const { return index == int64_t(model.blocks().size()); }
  Block& block() const { return model.block(index); }

  // Runs all batches through the block and tells `visitor` what enters the slots named; the outputs are dropped.
  void observe(const std::vector<std::string>& slots, const InputVisitor& visitor);
  // The same, kept: whole inputs by slot name. Slots that share an input have a copy each; ask for one of them.
  std::map<std::string, SlotInputs> collect(const std::vector<std::string>& slots);
  // What the block, as it is now, makes of the inputs: (B, T, C), one per batch. No history is recorded.
  std::vector<Tensor> outputs();
  // On to the next block. Its inputs are the block's outputs as it is now, or `next`.
  void advance() { advance(outputs()); }
  void advance(std::vector<Tensor> next);
};

// `count` windows of T tokens at random places of a tokenised text, in batches of at most `batch` (the last may be
// smaller): calibration text. The same seed gives the same windows. Throws UsageError if the text is shorter than T.
std::vector<IntTensor> random_windows(const std::vector<int32_t>& tokens, int64_t count, int64_t T,
                                      uint64_t seed, int64_t batch = 8);

}  // namespace chalk
