#pragma once
// A projection whose input is divided channel by channel first: y = inner(x / s).
//
// Scaling papers (AWQ, SmoothQuant) multiply column c of a weight by s_c and must divide the input by it. Usually the
// division hides in the layer before (models/folding.h); behind a GELU, which is not homogeneous, it stays visible: here.

#include "autograd/check.h"
#include "autograd/ops.h"
#include "nn/slots.h"

namespace chalk {

struct InputScaledProjection : Projection {
  std::unique_ptr<Layer> inner;
  Tensor scales;   // (in), the s above; not trained
  Tensor inverse;  // (in), 1 / s

  // Throws Error when `inner` is not a projection or a scale is not a positive finite number.
  InputScaledProjection(std::unique_ptr<Layer> inner, const std::vector<float>& s, Device device);

  Tensor forward(const Tensor& x) override { return inner->forward(mul(x, inverse)); }
  int64_t in_features() const override { return scales.numel(); }
  int64_t out_features() const override { return dynamic_cast<Projection&>(*inner).out_features(); }
  // The scales are listed too, so that a checkpoint writer that does not know them refuses the model.
  void visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) override {
    inner->visit_parameters(prefix, visitor);
    visitor(prefix + "input_scales", scales);
  }
  void visit_slots(const SlotVisitor& visitor) override { inner->visit_slots(visitor); }
};

inline InputScaledProjection::InputScaledProjection(std::unique_ptr<Layer> layer, const std::vector<float>& s,
                                                    Device device)
    : inner(std::move(layer)) {
  const auto* projection = dynamic_cast<Projection*>(inner.get());
  check(projection != nullptr, "input scales: the layer is not a projection");
  check(int64_t(s.size()) == projection->in_features(), "input scales: {} scales for {} inputs", s.size(),
        projection->in_features());
  std::vector<float> reciprocal(s.size());
  for (size_t c = 0; c < s.size(); ++c) {
    reciprocal[c] = 1 / s[c];
    check(s[c] > 0 && reciprocal[c] > 0 && reciprocal[c] * 0 == 0, "input scales: scale {} is {}", c, s[c]);
  }
  scales = Tensor::from({int64_t(s.size())}, s, device);
  inverse = Tensor::from({int64_t(s.size())}, reciprocal, device);
}

}  // namespace chalk
