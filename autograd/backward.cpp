// The backward pass: sort the graph, walk it from the loss to the leaves, release it on the way.

#include <algorithm>
#include <unordered_set>

#include "autograd/check.h"
#include "autograd/tensor.h"
#include "kernels/residual.h"

namespace chalk {
namespace {

thread_local int no_grad_depth = 0;

void check_not_released(const History& h) {
  check(!h.released,
        "backward: part of this graph was released by an earlier backward(); add the losses and call "
        "backward() "
        "once, or detach() what is used again");
}

// Appends h after everything it was made from (a topological order). Why a sort is needed: with b = a + a; c = b + b,
// b must have received both of c's contributions before its own backward runs.
// Recursive on purpose (a model records a few hundred ops); a chain of about 30,000 would exhaust the stack.
void visit(const std::shared_ptr<History>& h, std::unordered_set<History*>& seen,
           std::vector<std::shared_ptr<History>>& order) {
  if (!h || !seen.insert(h.get()).second) return;
  check_not_released(*h);
  if (h->made_by) {
    for (const Tensor& input : h->made_by->inputs()) visit(input.history, seen, order);
  }
  order.push_back(h);
}

[[noreturn]] void rethrow_with_node(const Node& node, const Tensor& dy, const std::exception& error) {
  std::string shapes;
  for (const Tensor& input : node.inputs())
    shapes += " " + (input.defined() ? to_string(input.shape) : "none");
  throw Error(fmt::format("backward of {} with inputs{} and dy {}: {}", node.name(), shapes,
                          to_string(dy.shape), error.what()));
}

}  // namespace

NoGrad::NoGrad() {
  ++no_grad_depth;
}
NoGrad::~NoGrad() {
  --no_grad_depth;
}
EnableGrad::EnableGrad() : outer_depth(no_grad_depth) {
  no_grad_depth = 0;
}
EnableGrad::~EnableGrad() {
  no_grad_depth = outer_depth;
}
bool grad_enabled() {
  return no_grad_depth == 0;
}

bool wants_grad(std::initializer_list<Tensor> inputs) {
  if (!grad_enabled()) return false;
  return std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.requires_grad(); });
}

void set_history(Tensor& y, std::shared_ptr<Node> node) {
  y.history = std::make_shared<History>();
  y.history->made_by = std::move(node);
}

float* grad_or_null(const Tensor& x) {
  return x.requires_grad() ? x.grad().data() : nullptr;
}

void run_backward(const Tensor& y, const Tensor& dy) {
  check(y.requires_grad(),
        "backward: the tensor of shape {} was not made from anything that requires a gradient",
        to_string(y.shape));
  check(dy.shape == y.shape, "backward: dy has shape {} but y has {}", to_string(dy.shape),
        to_string(y.shape));

  std::vector<std::shared_ptr<History>> order;  // inputs before outputs; y last
  std::unordered_set<History*> seen;
  visit(y.history, seen, order);

  NoGrad no_grad;  // backward kernels are not themselves differentiated
  const Tensor y_grad = y.grad();
  auto* accumulate = pick(y.device(), plain::accumulate<float>, cpu::accumulate, cuda::accumulate);
  accumulate(y_grad.data(), dy.data(), dy.numel());

  while (!order.empty()) {
    const std::shared_ptr<History> h = std::move(order.back());
    order.pop_back();
    check_not_released(
        *h);  // a checkpointed block that used an outer tensor which is no leaf walked it already
    if (!h->made_by) continue;  // a leaf keeps its gradient
    const std::shared_ptr<Node> node = std::move(h->made_by);
    h->made_by = nullptr;
    h->released = true;
    if (h->grad.defined()) {
      try {
        node->backward(h->grad);  // step in here: one step enters the op, with what it saved as named members
      } catch (const std::exception& error) {
        rethrow_with_node(*node, h->grad, error);
      }
    }
    if (!h->retain_grad) h->grad = Tensor();
    // node dies here, and with it the tensors it saved: memory falls as the walk proceeds
  }
}

void Tensor::backward() const {
  check(defined() && numel() == 1, "backward(): the loss must be one number, not shape {}", to_string(shape));
  run_backward(*this, full(shape, 1, device()));
}

}  // namespace chalk
