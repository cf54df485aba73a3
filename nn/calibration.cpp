// Which hook carries which input, and listening to it.

#include "nn/calibration.h"

#include <map>
#include <utility>

#include "autograd/check.h"

namespace chalk {
namespace {

// The slot's name after the block's prefix -> the hook's name after it.
const std::map<std::string, std::string> inputs_of_slots = {
    {"attn.c_attn", "ln_1"},
    {"attn.c_proj", "attn.heads"},
    {"mlp.c_fc", "ln_2"},
    {"mlp.c_proj", "mlp.hidden"},
    {"self_attn.q_proj", "input_layernorm"},
    {"self_attn.k_proj", "input_layernorm"},
    {"self_attn.v_proj", "input_layernorm"},
    {"self_attn.o_proj", "attn.heads"},
    {"mlp.gate_proj", "post_attention_layernorm"},
    {"mlp.up_proj", "post_attention_layernorm"},
    {"mlp.down_proj", "mlp.hidden"},
};

// "h.3.attn.c_attn" -> "h.3." and the hook's name inside the block, which is empty for a slot that no hook serves.
std::pair<std::string, std::string> find_hook(const std::string& slot_name) {
  const size_t layer = slot_name.find('.');
  const size_t end = layer == std::string::npos ? layer : slot_name.find('.', layer + 1);
  if (end == std::string::npos) return {};
  const auto place = inputs_of_slots.find(slot_name.substr(end + 1));
  if (place == inputs_of_slots.end()) return {};
  return {slot_name.substr(0, end + 1), place->second};
}

}  // namespace

std::string input_hook(const std::string& slot_name) {
  const auto [prefix, name] = find_hook(slot_name);
  check(!name.empty(), "calibration: no hook carries the input of slot {}", slot_name);
  return prefix + name;
}

std::vector<std::vector<std::string>> slots_by_input(Module& module) {
  std::vector<std::vector<std::string>> sets;
  for (const Slot* slot : slots_of(module, Slot::Kind::Projection)) {
    if (find_hook(slot->name).second.empty()) continue;
    const bool same = !sets.empty() && input_hook(sets.back().back()) == input_hook(slot->name);
    if (!same) sets.emplace_back();
    sets.back().push_back(slot->name);
  }
  return sets;
}

InputObserver::InputObserver(Hooks& hooks, const std::vector<std::string>& slots, InputVisitor visitor)
    : hooks(hooks) {
  for (const std::string& slot : slots) {
    tickets.push_back(hooks.add(input_hook(slot), [slot, visitor](const Tensor& x) {
      const Tensor host = x.device() == Device::CUDA ? x.to(Device::CPU) : x;
      const int64_t in = x.dim(-1);
      visitor(slot, host.data(), x.numel() / in, in);
      return x;
    }));
  }
}

InputObserver::~InputObserver() {
  for (int ticket : tickets) hooks.remove(ticket);
}

void SlotInputs::append(const float* more, int64_t more_tokens, int64_t width) {
  check(in == 0 || in == width, "calibration: inputs of width {} after inputs of width {}", width, in);
  in = width;
  tokens += more_tokens;
  x.insert(x.end(), more, more + more_tokens * width);
}

}  // namespace chalk
