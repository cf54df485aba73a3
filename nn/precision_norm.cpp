#include "nn/precision_norm.h"

#include "autograd/check.h"
#include "nn/layernorm.h"
#include "nn/rmsnorm.h"

namespace chalk {

static std::unique_ptr<Layer> copy_of_norm(const Layer& norm) {
  if (const auto* layernorm = dynamic_cast<const LayerNorm*>(&norm)) {
    auto copy =
        std::make_unique<LayerNorm>(layernorm->weight.numel(), layernorm->eps, layernorm->weight.device());
    copy->weight.copy_from(layernorm->weight), copy->bias.copy_from(layernorm->bias);
    return copy;
  }
  const auto* rmsnorm = dynamic_cast<const RMSNorm*>(&norm);
  check(rmsnorm != nullptr, "private norms: the slot holds neither a LayerNorm nor an RMSNorm");
  auto copy = std::make_unique<RMSNorm>(rmsnorm->weight.numel(), rmsnorm->eps, rmsnorm->weight.device());
  copy->weight.copy_from(rmsnorm->weight);
  return copy;
}

PrecisionNorm::PrecisionNorm(std::unique_ptr<Layer> norm, const std::vector<int>& widths) {
  for (int width : widths) {
    if (width < 16) norms[width] = copy_of_norm(*norm);
  }
  norms[16] = std::move(norm);
}

void PrecisionNorm::visit_parameters(const std::string& prefix, const ParameterVisitor& visitor) {
  for (auto& [width, norm] : norms) {
    norm->visit_parameters(width == 16 ? prefix : prefix + "bits_" + std::to_string(width) + ".", visitor);
  }
}

}  // namespace chalk
