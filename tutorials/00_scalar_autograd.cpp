// Lesson 00: reverse-mode autograd on single numbers, whole, in this one file (standard library only).
//
//   build/bin/00_scalar_autograd        then set a breakpoint in backward() and walk through it
//
// Every operation remembers its inputs and how to pass a gradient back to them. backward() visits the
// operations from the result to the leaves. Three things are shown and checked: the order of that visit
// matters; the gradients are right; a small network learns XOR. The program exits with 5 if one of them does
// not hold.
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <set>
#include <vector>

// ------------------------------------------------------------------------------------------------ the engine

struct Number;
using Value = std::shared_ptr<Number>;
using Rule = std::function<void(const Number& self)>;  // adds self's share to the gradients of its inputs

struct Number {
  double value = 0;
  double grad = 0;            // dL/d(this), filled by backward()
  std::vector<Value> inputs;  // what it was computed from; empty for a leaf
  Rule give_back;
};

void nothing(const Number&) {}  // the rule of a leaf

// A rule captures its inputs but receives its own output as `self`. Capturing the output would make a cycle
// (the number owns the rule, the rule owns the number), and shared_ptrs in a cycle are never freed.
Value make(double value, std::vector<Value> inputs = {}, Rule rule = nothing) {
  return std::make_shared<Number>(Number{value, 0, inputs, rule});
}

// d(a+b)/da = 1. Every rule adds (+=): a number that is used twice collects both shares.
Value operator+(Value a, Value b) {
  return make(a->value + b->value, {a, b}, [a, b](const Number& self) {
    a->grad += self.grad;
    b->grad += self.grad;
  });
}

// d(a·b)/da = b
Value operator*(Value a, Value b) {
  return make(a->value * b->value, {a, b}, [a, b](const Number& self) {
    a->grad += self.grad * b->value;
    b->grad += self.grad * a->value;
  });
}

// d tanh(a)/da = 1 − tanh²(a), and tanh(a) is the number's own value.
Value tanh(Value a) {
  return make(std::tanh(a->value), {a},
              [a](const Number& self) { a->grad += self.grad * (1 - self.value * self.value); });
}

// Appends `node` after everything it was computed from: a topological order.
void sort_into(std::vector<Number*>& order, std::set<Number*>& seen, const Value& node) {
  if (!seen.insert(node.get()).second) return;
  for (const Value& input : node->inputs) sort_into(order, seen, input);
  order.push_back(node.get());
}

// In reverse topological order everyone who used a number has handed it its share before the number hands on
// the sum.
void backward(const Value& loss) {
  std::vector<Number*> order;
  std::set<Number*> seen;
  sort_into(order, seen, loss);
  loss->grad = 1;  // dL/dL
  for (auto node = order.rbegin(); node != order.rend(); ++node) (*node)->give_back(**node);
}

// Why sort at all? This is the walk without it, and it is wrong. With b = a + a and c = b + b it enters b
// once for each use, and each time hands on all that b has collected: a gets 8 where 4 is right.
void unsorted_backward(const Value& node) {
  node->give_back(*node);
  for (const Value& input : node->inputs) unsorted_backward(input);
}

// ------------------------------------------------------------------------------------------------ the lesson

bool claim(bool holds, const char* text, double measured) {
  std::printf("%s  %s: %g\n", holds ? "holds " : "FAILED", text, measured);
  return holds;
}

bool order_matters() {
  Value a = make(3), b = a + a, c = b + b;  // c = 4a
  backward(c);
  const bool sorted = claim(a->grad == 4, "b = a + a, c = b + b: the sorted walk finds dc/da", a->grad);
  a->grad = b->grad = 0;
  unsorted_backward(c);
  return claim(a->grad == 8, "the unsorted walk counts b twice", a->grad) && sorted;
}

// The squared error of a small network over the four cases of XOR; −1 is false, +1 is true.
// p: 4 hidden units of two weights and a bias each, then 4 output weights and their bias.
Value xor_loss(const std::vector<Value>& p) {
  Value loss = make(0);
  for (int i = 0; i < 4; i++) {
    Value x0 = make(i < 2 ? -1 : 1), x1 = make(i % 2 ? -1 : 1), out = p[16];
    for (int h = 0; h < 4; h++)
      out = out + p[12 + h] * tanh(p[3 * h] * x0 + p[3 * h + 1] * x1 + p[3 * h + 2]);
    Value error = tanh(out) + x0 * x1;  // the wanted output is −x0·x1
    loss = loss + error * error;
  }
  return loss;
}

// Central differences: (L(p+h) − L(p−h)) / 2h misses dL/dp by about h² (the series is cut) plus ε/h
// (rounding): with h = 1e-5 both are near 1e-10. A wrong rule is wrong in the first digits.
bool gradients_are_right(const std::vector<Value>& parameters) {
  backward(xor_loss(parameters));
  double worst = 0;
  for (const Value& p : parameters) {
    const double h = 1e-5, value = p->value;
    auto loss_at = [&](double moved) { return p->value = moved, xor_loss(parameters)->value; };
    worst = std::fmax(worst, std::abs(p->grad - (loss_at(value + h) - loss_at(value - h)) / (2 * h)));
    p->value = value;
    p->grad = 0;
  }
  return claim(worst < 1e-8, "largest distance of 17 gradients to finite differences", worst);
}

bool learns_xor(const std::vector<Value>& parameters) {
  for (int step = 0; step <= 400; step++) {
    Value loss = xor_loss(parameters);  // a new graph every step; the old one is freed with its last handle
    backward(loss);
    for (const Value& p : parameters) {
      p->value -= 0.1 * p->grad;
      p->grad = 0;  // backward adds: what is not cleared would count again in the next step
    }
    if (step % 100 == 0) std::printf("        step %3d  loss %.4f\n", step, loss->value);
  }
  const double loss = xor_loss(parameters)->value;
  return claim(loss < 0.1, "the network has learned XOR, its loss is below 0.1", loss);
}

int main() {
  std::vector<Value> parameters;
  for (int i = 0; i < 17; i++)
    parameters.push_back(make(std::sin(1 + i * i)));  // any start where units differ
  return order_matters() && gradients_are_right(parameters) && learns_xor(parameters) ? 0 : 5;
}

// Why does the real engine (autograd/) use one class per operation instead of closures?
//  1. In gdb, `step` on a std::function call lands in library frames, or jumps over the whole rule if those
//     are skipped. A virtual call `node->backward(dy)` is entered in one step.
//  2. What a closure has saved has no names. `print *node` shows (LayerNormNode) {x = …, weight = …, rstd = …}.
//  3. A class has a name() and inputs(): the graph can be drawn, and an error can say where it happened.
// And it works on whole tensors, one node per layer: one node per number would be billions of nodes for one
// step of GPT-2.
