// Continues a prompt with any model that Chalk reads.

#include "models/control_vector.h"
#include "models/load.h"
#include "models/sample.h"
#include "tutorials/support/program.h"

using namespace chalk;

struct Options {
  std::string model, tokenizer, prompt, window = "error", control_vector;
  double control_strength = 1;
  SampleOptions sample{.temperature = 0.8};
  bool ignore_stop = false;
};

// The prompt's ids, with BOS where the model expects it.
static std::vector<int32_t> prompt_ids(const Tokenizer& tokenizer, const std::string& prompt) {
  std::vector<int32_t> ids = encode_with_specials(tokenizer, prompt);
  const bool has_bos = !ids.empty() && tokenizer.bos && ids.front() == *tokenizer.bos;
  if (tokenizer.add_bos && tokenizer.bos && !has_bos) ids.insert(ids.begin(), *tokenizer.bos);
  return ids;
}

static int run(const Options& options, Context& context) {
  const LoadedModel loaded = load_model(options.model, options.tokenizer, context.device);
  const Tokenizer& tokenizer = *loaded.tokenizer;
  const std::vector<int32_t> prompt = prompt_ids(tokenizer, options.prompt);
  SampleOptions sample = options.sample;
  sample.seed = context.seed;
  sample.slide = options.window == "slide";
  if (!options.ignore_stop) {  // a document ends with EOS, or where the next one's BOS begins
    if (tokenizer.eos) sample.stop.push_back(*tokenizer.eos);
    if (tokenizer.bos) sample.stop.push_back(*tokenizer.bos);
  }
  Edits edits(loaded.model->hooks);
  if (!options.control_vector.empty()) {
    add_control_vector(edits, *loaded.model, read_control_vector(options.control_vector), options.control_strength);
  }
  const std::vector<int32_t> fresh = generate(*loaded.model, prompt, sample);

  // Decoded together with the prompt: a token's text may depend on its neighbour (SentencePiece's leading space).
  std::vector<int32_t> all = prompt;
  all.insert(all.end(), fresh.begin(), fresh.end());
  const bool stopped = !fresh.empty() && ((tokenizer.eos && fresh.back() == *tokenizer.eos) ||
                                          (tokenizer.bos && fresh.back() == *tokenizer.bos));
  if (stopped) all.pop_back();
  const std::string before = tokenizer.decode(prompt), whole = tokenizer.decode(all);
  const std::string text = whole.starts_with(before) ? whole.substr(before.size()) : tokenizer.decode(fresh);
  context.result = {{"prompt_ids", prompt}, {"ids", fresh}, {"text", text}};
  if (!context.json) print(whole + "\n");
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "generate",
       .about = "continues a prompt",
       .example = "build/bin/generate --model runs/first --prompt '<bos> one day ana' --temperature 0\n"
                  "build/bin/generate --model stories260K.bin --tokenizer tok512.bin --prompt 'Once upon a time'\n"
                  "build/bin/generate --model runs/first --prompt '<bos> a voice said :' --control-vector honesty.gguf",
       .flags =
           [&](Flags& flags) {
             flags.add("--model", &o.model, "Hugging Face folder, run folder, llama2.c .bin or .gguf").required();
             flags.add("--tokenizer", &o.tokenizer, "tokenizer file (default: the model's own)");
             flags.add("--prompt", &o.prompt, "text to continue");
             flags.add("--max-new-tokens", &o.sample.max_new_tokens, "tokens to add").between(0, 1 << 30);
             flags.add("--temperature", &o.sample.temperature, "0 = always the most probable token").between(0, 100);
             flags.add("--top-k", &o.sample.top_k, "keep the k most probable tokens (0 = all)").at_least(0);
             flags.add("--top-p", &o.sample.top_p, "keep the likeliest tokens of this probability").between(0, 1);
             flags.add("--window", &o.window, "past the context: error, or slide").one_of({"error", "slide"});
             flags.add("--control-vector", &o.control_vector, "steer along it: .gguf (llama.cpp's) or .safetensors");
             flags.add("--control-strength", &o.control_strength, "factor of the control vector; negative = away from it")
                 .between(-1e6, 1e6);
             flags.add("--ignore-stop", &o.ignore_stop, "go on after the end of a document");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
