// Lesson 3: GPT-2, piece by piece.
//
// A language model is a function from token ids to one row of scores ("logits") per position: a guess at the next token.
// GPT-2 computes it in three moves: embed the ids as vectors, let a stack of blocks add to those vectors (the "residual
// stream"), and compare the result with every token's vector. models/gpt2.h is the whole model; here we walk through it.

#include <cmath>

#include "models/gpt2.h"
#include "models/sample.h"
#include "nn/adamw.h"
#include "tutorials/support/program.h"

using namespace chalk;

const std::string kText =
    "a rose is a rose is a rose. the rose is red, the violet is blue, and chalk is white on a black board. ";

const std::string kAlphabet =
    " ,.abcdefghijklmnopqrstuvwxyz";  // the tokens of this lesson: id = place in this string

static IntTensor encode(const std::string& text) {
  IntTensor ids{{1, int64_t(text.size())}, {}};
  for (char c : text) ids.values.push_back(int32_t(kAlphabet.find(c)));
  return ids;
}

static double size_of(const Tensor& x) {  // root mean square
  return std::sqrt(double(mean(mul(x, x)).item()));
}

static void walk(GPT2& model, const IntTensor& ids, Context& context) {
  const NoGrad no_grad;
  auto show = [](const std::string& what, const Tensor& x) {
    print(fmt::format("  {:<34} {:<14} rms {:.4f}\n", what, to_string(x.shape), size_of(x)));
  };
  print("From ids to logits, (B, T, C) = (1, 16, 32):\n");
  Tensor x = model.embed(ids, 0);
  show("wte[ids] + wpe[positions]", x);

  // Inside a block, hooks show what no forward() returns: all names are listed in nn/hooks.h.
  Recorder recorder(model.hooks,
                    {"h.0.attn.q", "h.0.attn.heads", "h.0.attn.out", "h.0.mlp.hidden", "h.0.mlp.out"});
  for (int64_t i = 0; i < int64_t(model.h.size()); ++i) {
    x = model.block(i).forward(x);
    show(fmt::format("after block {}", i), x);
  }
  const Tensor logits = model.head(x);
  show("ln_f, then times wteᵀ: logits", logits);
  for (const auto& [name, activation] : recorder.last) show("  hook " + name, activation);
  context.claim(logits.to_vector() == model.forward(ids).to_vector(), "the pieces make the whole");
}

// Every weight is counted by V·C + P·C + L·(12C² + 13C) + 2C. The output product adds none: its weight is wte again.
static void count(GPT2& model, Context& context) {
  const GPT2Config& c = model.config;
  const int64_t C = c.n_embd;
  const int64_t formula = c.vocab_size * C + c.n_positions * C + c.n_layer * (12 * C * C + 13 * C) + 2 * C;
  print(fmt::format("\n{} parameters; GPT-2 XL: {}\n", formula, parameter_count(gpt2_preset("gpt2-xl"))));
  context.claim(model.parameter_count() == formula, "the parameters are as many as the formula says");
}

// Slots: every product with a weight has a name and can be replaced. Here: what is block 1's attention good for?
static void slots_and_hooks(GPT2& model, const IntTensor& inputs, const std::vector<int32_t>& targets,
                            Context& context) {
  const NoGrad no_grad;
  print("\nSlots:");
  for (Slot* slot : slots_of(model, Slot::Kind::Projection)) print(" " + slot->name);
  const float before = cross_entropy(model.forward(inputs), targets).item();
  const int ticket = model.hooks.add("h.1.attn.out", [](const Tensor& x) { return scale(x, 0); });
  const float without = cross_entropy(model.forward(inputs), targets).item();
  model.hooks.remove(ticket);
  print(fmt::format("\nloss {:.3f}; with block 1's attention silenced by a hook {:.3f}\n", before, without));
  context.claim(without > before, "the trained model needs its attention");
}

static void train(GPT2& model, const IntTensor& inputs, const std::vector<int32_t>& targets,
                  Context& context) {
  AdamW optimizer(model.parameters(), {.lr = 3e-3f});
  const double guess = std::log(double(model.config.vocab_size));  // the loss of equal probabilities
  float first = 0, last = 0;
  for (int step = 0; step < 150; ++step) {
    const Tensor loss = cross_entropy(model.forward(inputs), targets);
    loss.backward();
    optimizer.step(1, clip_coefficient(gradient_norm(optimizer.parameters), 1));
    optimizer.zero_grad();
    last = loss.item();
    if (step == 0) first = last;
    if (step % 30 == 0) print(fmt::format("  step {:3}  loss {:.3f}\n", step, last));
  }
  context.claim(std::abs(first - guess) < 0.2, "before training the loss is that of a guess");
  context.claim(last < 0.5, "after training the text is nearly known by heart", fmt::format("{:.3f}", last));
}

static int lesson(Context& context) {
  // Eight windows into the text, each starting elsewhere: a place in the window does not give the character away.
  const int64_t T = 32;
  IntTensor inputs{{8, T}, {}};
  std::vector<int32_t> targets;  // at each place, the next character
  for (size_t start = 0; start < 8 * 9; start += 9) {
    const std::vector<int32_t> window = encode(kText.substr(start, size_t(T) + 1)).values;
    inputs.values.insert(inputs.values.end(), window.begin(), window.end() - 1);
    targets.insert(targets.end(), window.begin() + 1, window.end());
  }
  const int64_t V = int64_t(kAlphabet.size());
  GPT2 model({.vocab_size = V, .n_positions = T, .n_embd = 32, .n_layer = 2, .n_head = 4}, context.device);
  model.init(context.seed);
  walk(model, encode(kText.substr(0, 16)), context);
  count(model, context);
  train(model, inputs, targets, context);
  slots_and_hooks(model, inputs, targets, context);

  // Generation: the most probable next character, appended, and again (models/sample.h; a cache keeps the past's keys).
  std::string text = kText.substr(27, 9);  // " the rose"
  const SampleOptions greedy{.max_new_tokens = T - 9, .temperature = 0, .stop = {}};
  for (int32_t id : generate(model, encode(text).values, greedy)) text += kAlphabet[size_t(id)];
  print("It goes on: \"" + text + "\"\n");
  context.claim(kText.find(text) != std::string::npos, "it goes on as the text does");
  return 0;
}

int main(int argc, char** argv) {
  const std::string name = "03_gpt2_block_by_block";
  return run_program(argc, argv, {name, "lesson 3: GPT-2, piece by piece", "build/bin/" + name, {}, lesson});
}
