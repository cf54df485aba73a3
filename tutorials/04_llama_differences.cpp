// Lesson 4: what LLaMA changed, one difference at a time, each measured.
//
// LLaMA is GPT-2 with four parts exchanged: RMSNorm for LayerNorm, rotated queries and keys for learned positions, a gated
// MLP for a plain one, and fewer key/value heads than query heads; and it drops the biases. None of them is needed to
// understand the others, so each section below looks at one, alone.

#include <cmath>

#include "kernels/memory.h"
#include "models/llama.h"
#include "nn/init.h"
#include "tutorials/support/program.h"

using namespace chalk;

static Tensor noise(Shape shape, uint64_t seed, Device device) {
  Tensor x = Tensor::empty(std::move(shape), device);
  init_normal(x, 1, seed, "noise");
  return x;
}

static double distance(const Tensor& a, const Tensor& b) {  // root mean square of a − b
  const Tensor difference = add(a, scale(b, -1));
  return std::sqrt(double(mean(mul(difference, difference)).item()));
}

// LayerNorm takes the mean away and divides by the spread; RMSNorm only divides by the length. Both ignore how long x is;
// only LayerNorm ignores a shift. Without the mean there is one sum less to make, and no bias to keep.
static void norms(Context& context) {
  const int64_t C = 64;
  const Device device = context.device;
  const Tensor x = noise({8, C}, 1, device), gain = Tensor::full({C}, 1, device), bias({C}, device);
  const Tensor five = Tensor::full({1}, 5, device);
  const double layer_scaled = distance(layernorm(scale(x, 100), gain, bias), layernorm(x, gain, bias));
  const double rms_scaled = distance(rmsnorm(scale(x, 100), gain), rmsnorm(x, gain));
  const double layer_shifted = distance(layernorm(add(x, five), gain, bias), layernorm(x, gain, bias));
  const double rms_shifted = distance(rmsnorm(add(x, five), gain), rmsnorm(x, gain));
  print("1. The norm: how far the output moves when x becomes 100 x, and x + 5\n");
  print(fmt::format("{:>26}{:>14.6f}{:>14.6f}\n", "LayerNorm", layer_scaled, layer_shifted));
  print(fmt::format("{:>26}{:>14.6f}{:>14.6f}\n\n", "RMSNorm", rms_scaled, rms_shifted));
  context.claim(layer_scaled < 1e-3 && rms_scaled < 1e-3, "both norms ignore the scale of x");
  context.claim(layer_shifted < 1e-3 && rms_shifted > 0.1, "only LayerNorm ignores a shift");
}

// GPT-2 adds a learned vector per position to x. RoPE adds nothing: it turns each pair of channels of q and k by an angle
// that grows with the position, so that a score q·k knows how far apart the two tokens stand, and nothing else.
static void positions(Context& context) {
  const int64_t D = 32;
  const Tensor q = noise({1, 1, D}, 2, context.device), k = noise({1, 1, D}, 3, context.device);
  auto score = [&](int32_t q_position, int32_t k_position) {
    auto turned = [&](const Tensor& x, int32_t at) {
      return rope(x, make_rope_table({at}, D, 10000, {}, false, context.device), 1);
    };
    return double(sum(mul(turned(q, q_position), turned(k, k_position))).item());
  };
  print("2. Positions: the score q·k after rotation\n");
  double spread = 0;
  for (int32_t apart : {0, 1, 4}) {
    print(fmt::format("{:>23} {}", apart, "apart"));
    for (int32_t at : {0, 10, 1000}) {
      print(fmt::format("   k at {:4}: {:8.4f}", at, score(at + apart, at)));
      spread = std::max(spread, std::abs(score(at + apart, at) - score(apart, 0)));
    }
    print("\n");
  }
  print("\n");
  context.claim(spread < 1e-3, "the score depends on the distance alone",
                fmt::format("spread {:.1e}", spread));
}

// Three matrices instead of two: down(silu(gate(x)) · up(x)). At a hidden width of 8C/3 instead of 4C they hold as many
// numbers. Real models round the width up to a multiple the hardware likes (llama_ffn_width()).
static void gates(Context& context) {
  const int64_t C = 384;
  const int64_t plain = 2 * C * 4 * C, gated = 3 * C * (8 * C / 3),
                wide = 3 * 4096 * llama_ffn_width(4096, 256);
  print(fmt::format("3. The MLP at C = {}: {} numbers in GPT-2's, {} in the gated one; LLaMA-7B's has {}\n",
                    C, plain, gated, wide));
  const Tensor up = Tensor::full({1}, 3, context.device);
  for (float gate : {-8.0f, 0.0f, 8.0f})
    print(fmt::format("   gate {:4}: lets through {:8.4f} of up = 3\n", gate,
                      swiglu(Tensor::full({1}, gate, context.device), up).item()));
  context.claim(plain == gated, "two matrices of 4C equal three of 8C/3");
}

// In generation every layer keeps the keys and values of all earlier tokens. Query heads can share them: K heads of keys
// and values for H heads of queries (K = H: GPT-2's way; K = 1: one for all). The cache shrinks by H/K.
static void shared_heads(Context& context) {
  print("\n4. The cache of 1024 tokens, 8 query heads\n");
  std::vector<double> bytes;
  for (int64_t K : {8, 2, 1}) {
    LlamaConfig config;
    config.vocab_size = 100, config.hidden_size = 64, config.intermediate_size = 128,
    config.num_hidden_layers = 2;
    config.num_attention_heads = 8, config.num_key_value_heads = K, config.max_position_embeddings = 1024;
    Llama model(config, context.device);
    model.init(context.seed);
    const NoGrad no_grad;
    const int64_t before = memory_counters().live_bytes;
    KVCache cache = model.make_cache();
    model.forward({{1, 1}, {7}}, &cache);
    bytes.push_back(double(memory_counters().live_bytes - before));
    print(fmt::format("   {} key/value heads: {:7.0f} KiB, {} parameters\n", K, bytes.back() / 1024,
                      model.parameter_count()));
  }
  const double gib = 2.0 * 80 * 8 * 128 * 2 * 4096 / (1 << 30);  // k and v, layers, K, D, bytes, tokens
  print(fmt::format("   LLaMA-2-70B, 4096 tokens in 16 bits: {:.2f} GiB; were K = H = 64: {:.0f} GiB\n", gib,
                    8 * gib));
  context.claim(std::abs(bytes[0] / bytes[1] - 4) < 0.1 && std::abs(bytes[0] / bytes[2] - 8) < 0.3,
                "the cache shrinks by H/K");
}

static int lesson(Context& context) {
  norms(context);
  positions(context);
  gates(context);
  shared_heads(context);
  return 0;
}

int main(int argc, char** argv) {
  const std::string name = "04_llama_differences";
  return run_program(argc, argv, {name, "lesson 4: LLaMA's differences", "build/bin/" + name, {}, lesson});
}
