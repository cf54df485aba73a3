// Registering hooks and passing activations through them.

#include "nn/hooks.h"

#include <algorithm>

#include "autograd/check.h"

namespace chalk {

int Hooks::add(const std::string& name, Edit edit) {
  const bool known = std::find(names.begin(), names.end(), name) != names.end();
  check(known, "no activation is called {}; this model has {}", name, fmt::join(names, " "));
  edits[name].push_back({next_ticket, std::move(edit)});
  return next_ticket++;
}

void Hooks::remove(int ticket) {
  for (auto place = edits.begin(); place != edits.end();) {
    std::erase_if(place->second, [&](const Entry& entry) { return entry.ticket == ticket; });
    place = place->second.empty() ? edits.erase(place) : std::next(place);
  }
}

Tensor Hooks::pass(const std::string& prefix, const char* name, const Tensor& x) const {
  if (edits.empty()) return x;  // the usual case costs one comparison, no string
  auto place = edits.find(prefix + name);
  if (place == edits.end()) return x;
  Tensor y = x;
  for (const Entry& entry : place->second) {
    y = entry.edit(y);
    check(y.defined() && y.shape == x.shape,
          "hook {}{}: the replacement has shape {} but the activation has {}", prefix, name,
          to_string(y.shape), to_string(x.shape));
  }
  return y;
}

Recorder::Recorder(Hooks& hooks, const std::vector<std::string>& names) : hooks(hooks) {
  for (const std::string& name : names) {
    tickets.push_back(hooks.add(name, [this, name](const Tensor& x) {
      last[name] = x.detach();
      return x;
    }));
  }
}

Recorder::~Recorder() {
  for (int ticket : tickets) hooks.remove(ticket);
}

}  // namespace chalk
