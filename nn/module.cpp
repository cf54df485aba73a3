// The walks over a module's parameters.

#include "nn/module.h"

#include <unordered_map>
#include <unordered_set>

namespace chalk {

std::vector<NamedTensor> Module::parameters(const std::string& prefix) {
  std::vector<NamedTensor> list;
  std::unordered_set<const Storage*> seen;
  visit_parameters(prefix, [&](const std::string& name, Tensor& parameter) {
    if (seen.insert(parameter.storage.get()).second) list.push_back({name, parameter});
  });
  return list;
}

int64_t Module::parameter_count() {
  int64_t count = 0;
  for (const NamedTensor& p : parameters()) count += p.tensor.numel();
  return count;
}

void Module::set_requires_grad(bool on) {
  // Two handles of one tied parameter must go on sharing one history, or its gradient would be split between them.
  std::unordered_map<const Storage*, Tensor> first;
  visit_parameters("", [&](const std::string&, Tensor& parameter) {
    auto [place, is_new] = first.emplace(parameter.storage.get(), parameter);
    if (is_new) {
      if (on != parameter.requires_grad()) parameter.set_requires_grad(on);
      place->second = parameter;
    }
    parameter.history = place->second.history;
  });
}

void Module::zero_grad() {
  visit_parameters("", [](const std::string&, Tensor& parameter) { parameter.zero_grad(); });
}

}  // namespace chalk
