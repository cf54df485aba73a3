// Lesson 1: tensors, ops, and what backward() does.
//
// Chalk's engine has three kinds of things. A Tensor is a handle to numbers. An op is a function that makes a new Tensor
// and, when a gradient will be wanted, leaves behind a Node: what it did, and what it must remember to undo it. backward()
// walks those nodes from the loss to the leaves. autograd/tensor.h is the whole surface, 100 lines; this lesson tries each.
//
// Run it, then run it under a debugger: `gdb --args build/bin/01_tensors --device plain`, `break MulNode::backward`, `run`,
// and at the stop `print *this` shows a and b, the tensors that the node kept.

#include "autograd/ops.h"
#include "autograd/print.h"
#include "kernels/memory.h"
#include "tutorials/support/program.h"

using namespace chalk;

// A tensor is two shared pointers and a shape: copying it copies no numbers.
static void handles(Context& context) {
  const Tensor a = Tensor::from({2, 3}, {1, 2, 3, 4, 5, 6}, context.device);
  const Tensor same = a, own = a.clone();
  a.data()[0] = 100;
  print("a after a.data()[0] = 100:\n" + to_text(a));
  context.claim(same.data()[0] == 100 && own.data()[0] == 1,
                "a copied handle sees the change, a clone does not");

  // Row-major and contiguous, always: number (i, j) of (2, 3) stands at 3i + j. So a reshape shares, a transpose copies.
  const Tensor column = reshape(a, {6, 1}), turned = transpose(a);
  print("transpose(a):\n" + to_text(turned));
  context.claim(column.data() == a.data(), "reshape shares the numbers");
  context.claim(turned.data()[1] == a.data()[3], "transpose moves number (1, 0) to (0, 1)");
}

// Fit t = 2x + 1 by its squared error, and check the gradient against the formula on paper:
//   L = Σ (w x_i + c − t_i)² / n      dL/dw = Σ 2 (w x_i + c − t_i) x_i / n      dL/dc = Σ 2 (w x_i + c − t_i) / n
static void gradients(Context& context) {
  const Device device = context.device;
  const Tensor x = Tensor::from({4, 1}, {-1, 0, 1, 2}, device),
               minus_t = Tensor::from({4, 1}, {1, -1, -3, -5}, device);
  Tensor w = Tensor::from({1, 1}, {0.5f}, device), c = Tensor::from({1}, {0}, device);
  w.set_requires_grad();  // a leaf: ops made from it are recorded, and backward() fills its grad()
  c.set_requires_grad();

  const Tensor error = add(linear(x, w, c), minus_t);  // (4, 1)
  const Tensor loss = mean(mul(error, error));         // ()
  print("The graph behind the loss, for `dot -Tpng` (boxes are ops, ovals are leaves):\n" + graph_dot(loss));
  loss.backward();

  double dw = 0, dc = 0;
  for (int64_t i = 0; i < 4; ++i) {
    const double e = 0.5 * double(x.data()[i]) + double(minus_t.data()[i]);
    dw += 2 * e * double(x.data()[i]) / 4;
    dc += 2 * e / 4;
  }
  print(fmt::format("dL/dw = {:.6f} (on paper {:.6f}), dL/dc = {:.6f} (on paper {:.6f})\n\n", w.grad().item(),
                    dw, c.grad().item(), dc));
  context.claim(std::abs(w.grad().item() - dw) < 1e-6 && std::abs(c.grad().item() - dc) < 1e-6,
                "backward() gives the gradient on paper");
}

// Every backward adds. In b = a + a, a is used twice and each use brings a share; and b must have both of its own shares
// before it passes them on, which is why the walk sorts the graph first (autograd/backward.cpp, visit()).
static void adding(Context& context) {
  Tensor a = Tensor::from({1}, {3}, context.device);
  a.set_requires_grad();
  const Tensor b = add(a, a), c = add(b, b);  // c = 4a
  c.backward();
  print(fmt::format("c = (a + a) + (a + a): dc/da = {}\n", a.grad().item()));
  context.claim(a.grad().item() == 4, "four uses give a gradient of 4");

  mul(a, a).backward();  // another loss: 2a more
  context.claim(a.grad().item() == 4 + 6, "a second backward() adds to the first until zero_grad()");
  a.zero_grad();

  const Tensor twice = scale(a, 2);
  mul(twice, twice.detach()).backward();  // detach(): the same numbers, cut from the graph
  print(fmt::format("d(2a · detach(2a))/da = {}, not 24: one arm was cut\n", a.grad().item()));
  context.claim(a.grad().item() == 12, "detach() stops the gradient");
  const NoGrad no_grad;  // while it lives, ops record nothing: for evaluation and generation
  context.claim(!scale(a, 2).requires_grad(), "NoGrad records nothing");
}

// The graph keeps every tensor that a backward will need. backward() lets go of them one by one.
static void memory(Context& context) {
  Tensor x = Tensor::full({256, 1024}, 0.1f, context.device);  // 1 MiB
  x.set_requires_grad();
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = silu(y);
  const Tensor loss = sum(y);
  y = {};
  const double before = double(memory_counters().live_bytes) / (1 << 20);
  loss.backward();
  const double after = double(memory_counters().live_bytes) / (1 << 20);
  print(
      fmt::format("ten ops on 1 MiB: {:.1f} MiB alive before backward(), {:.1f} after (x and its gradient)\n",
                  before, after));
  context.claim(before > 10.9 && after < 2.1, "backward() releases the graph as it goes");
}

static int lesson(Context& context) {
  handles(context);
  gradients(context);
  adding(context);
  memory(context);
  return 0;
}

int main(int argc, char** argv) {
  const Program program{"01_tensors",
                        "lesson 1: tensors, ops, and what backward() does",
                        "build/bin/01_tensors --device plain",
                        {},
                        lesson};
  return run_program(argc, argv, program);
}
