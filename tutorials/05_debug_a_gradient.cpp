// Lesson 5: finding a wrong gradient.
//
// A wrong forward shows at once. A wrong backward trains anyway, only worse, and nobody is told. Here is an op with two
// classic mistakes, and the three tools that find them: gradcheck, a hook with print(), and the debugger.
//
// The op is soft-capping (Gemma 2's):  y = cap · tanh(x / cap)      dx = dy · (1 − (y / cap)²)
// It bounds logits to ±cap and leaves small ones alone.

#include "autograd/gradcheck.h"
#include "autograd/print.h"
#include "models/gpt2.h"
#include "tutorials/support/program.h"

using namespace chalk;

enum class Mistake { None, Formula, Overwrites };

// A node: what backward() must remember, by name, so that a debugger shows it. y is saved without its history: a node that
// held its own output would keep itself alive for ever.
struct SoftCapNode : Node {
  Tensor x, y;
  float cap = 1;
  Mistake mistake = Mistake::None;

  const char* name() const override { return "soft_cap"; }
  std::vector<Tensor> inputs() const override { return {x}; }
  void backward(const Tensor& dy) override {
    float* dx = x.grad().data();
    for (int64_t i = 0; i < x.numel(); ++i) {
      const float t = mistake == Mistake::Formula ? y.data()[i] : y.data()[i] / cap;
      const float d = dy.data()[i] * (1 - t * t);
      dx[i] = mistake == Mistake::Overwrites ? d : dx[i] + d;
    }
  }
};

static Tensor soft_cap(const Tensor& x, float cap, Mistake mistake) {
  Tensor y = Tensor::empty(x.shape, x.device());
  for (int64_t i = 0; i < x.numel(); ++i) y.data()[i] = cap * std::tanh(x.data()[i] / cap);
  if (wants_grad({x})) {
    auto node = std::make_shared<SoftCapNode>();
    node->x = x, node->y = y.detach(), node->cap = cap, node->mistake = mistake;
    set_history(y, node);
  }
  return y;
}

// Tool 1. gradcheck shakes every input by ±h and compares what the output did with what backward() said.
// It is as good as the function it is given: an op alone never sees two gradients arrive at one tensor.
static double check(const std::string& what, Mistake mistake, bool x_used_twice, Context& context) {
  const Tensor x = Tensor::from({4}, {-1.5f, -0.2f, 0.6f, 2}, context.device);
  const GradcheckResult result = gradcheck(
      [&](const std::vector<Tensor>& in) {
        const Tensor y = soft_cap(in[0], 3, mistake);
        return x_used_twice ? add(y, in[0]) : y;  // the residual stream does this to every block
      },
      {x});
  print(fmt::format("  {:<44} {}\n", what, result.message()));
  return result.worst;
}

static void with_gradcheck(Context& context) {
  print("Tool 1, gradcheck (values of order 1: below 1e-3 is rounding, above is a mistake):\n");
  const double right = check("right", Mistake::None, true, context);
  const double formula = check("forgot to divide by cap", Mistake::Formula, false, context);
  const double alone = check("= instead of +=, op alone", Mistake::Overwrites, false, context);
  const double twice = check("= instead of +=, x used twice", Mistake::Overwrites, true, context);
  context.claim(right < 1e-3 && formula > 1e-2, "the right formula passes, the wrong one is caught");
  context.claim(alone < 1e-3 && twice > 1e-2, "the wrong += is caught only where x is used twice");
}

// Tool 2. In a model: a hook swaps the op in at a named place; retain_grad() keeps the gradient there for printing.
static void in_a_model(Context& context) {
  const IntTensor ids{{1, 8}, {3, 1, 4, 1, 5, 9, 2, 6}};
  auto gradient = [&](Mistake mistake) {
    GPT2 model({.vocab_size = 10, .n_positions = 8, .n_embd = 8, .n_layer = 2, .n_head = 2}, context.device);
    model.init(context.seed);
    Tensor stream;  // what enters the op
    model.hooks.add("h.0.resid_post", [&](const Tensor& x) {
      stream = scale(x, 20);
      stream.retain_grad();
      return soft_cap(stream, 3, mistake);
    });
    cross_entropy(model.forward(ids), ids.values).backward();
    return stream.grad();
  };
  const Tensor right = gradient(Mistake::None), wrong = gradient(Mistake::Formula);
  print("\nTool 2, a hook: dL/dx below block 0, right\n" + to_text(right, 2) + "and wrong\n" +
        to_text(wrong, 2));
  double apart = 0, size = 0;
  for (int64_t i = 0; i < right.numel(); ++i) {
    apart += std::abs(double(wrong.data()[i]) - double(right.data()[i]));
    size += std::abs(double(right.data()[i]));
  }
  print(fmt::format("wrong by {:.0f} %, and nothing crashed: the model would only learn worse\n",
                    100 * apart / size));
  context.claim(apart > 0.1 * size, "the gradients differ by more than a tenth");
}

static int lesson(Context& context) {
  with_gradcheck(context);
  in_a_model(context);
  print(R"(
Tool 3, the debugger, at the moment the wrong number is made:
  make DEBUG=1 BUILD=build-debug build-debug/bin/05_debug_a_gradient
  gdb --args build-debug/bin/05_debug_a_gradient --device plain
  break SoftCapNode::backward
  run
  continue                         # the first stop is the right op, the second the wrong formula
  print *this                      # cap = 3, and x and y with their shapes: what forward saved
  print x.storage->data[0]@4       # the numbers (or: call chalk::print(x))
  next, next, next, print t        # t = y, not y / cap: the mistake
)");
  return 0;
}

int main(int argc, char** argv) {
  const std::string name = "05_debug_a_gradient";
  return run_program(argc, argv, {name, "lesson 5: a wrong gradient", "build/bin/" + name, {}, lesson});
}
