// Carrying sample text through a model, block by block.

#include "models/calibration.h"

#include <algorithm>

#include "autograd/check.h"
#include "kernels/philox.h"

namespace chalk {

BlockWalk::BlockWalk(LanguageModel& model, const std::vector<IntTensor>& batches) : model(model) {
  check(!batches.empty(), "calibration: no text to run");
  check(!model.training,
        "calibration: the model is in training mode, so dropout would change its activations");
  NoGrad no_grad;
  for (const IntTensor& ids : batches) {
    check(ids.shape.size() == 2, "calibration: ids have shape {}, expected (B, T)", to_string(ids.shape));
    if (ids.shape[1] > model.context_length()) {
      throw UsageError(fmt::format("calibration: sequences of {} tokens do not fit the model's context of {}",
                                   ids.shape[1], model.context_length()));
    }
    inputs.push_back(model.embed(ids, 0));
  }
}

void BlockWalk::observe(const std::vector<std::string>& slots, const InputVisitor& visitor) {
  NoGrad no_grad;
  InputObserver observer(model.hooks, slots, visitor);
  for (const Tensor& x : inputs) block().forward(x);
}

std::map<std::string, SlotInputs> BlockWalk::collect(const std::vector<std::string>& slots) {
  std::map<std::string, SlotInputs> kept;
  observe(slots, [&](const std::string& slot, const float* x, int64_t tokens, int64_t in) {
    kept[slot].append(x, tokens, in);
  });
  return kept;
}

std::vector<Tensor> BlockWalk::outputs() {
  NoGrad no_grad;
  std::vector<Tensor> out;
  for (const Tensor& x : inputs) out.push_back(block().forward(x));
  return out;
}

void BlockWalk::advance(std::vector<Tensor> next) {
  check(!done(), "calibration: the walk is past the last block");
  check(next.size() == inputs.size(), "calibration: {} inputs given for {} batches", next.size(),
        inputs.size());
  inputs = std::move(next);
  ++index;
}

std::vector<IntTensor> random_windows(const std::vector<int32_t>& tokens, int64_t count, int64_t T,
                                      uint64_t seed, int64_t batch) {
  if (count < 1 || T < 1 || batch < 1 || int64_t(tokens.size()) < T) {
    throw UsageError(
        fmt::format("calibration: {} windows of {} tokens from a text of {}", count, T, tokens.size()));
  }
  const auto places = uint64_t(int64_t(tokens.size()) - T + 1);
  std::vector<IntTensor> batches;
  for (int64_t i = 0; i < count; ++i) {
    if (i % batch == 0) batches.push_back({{0, T}, {}});
    const auto place = int64_t(derive_seed(seed, uint64_t(i)) % places);
    IntTensor& ids = batches.back();
    ids.shape[0] += 1;
    ids.values.insert(ids.values.end(), tokens.begin() + place, tokens.begin() + place + T);
  }
  return batches;
}

}  // namespace chalk
