// Rewrites a checkpoint in another format: what transformers, llama.cpp or llama2.c can read.

#include "autograd/check.h"
#include "models/io/gguf_model.h"
#include "models/io/gguf_tokenizer.h"
#include "models/io/huggingface.h"
#include "models/io/llama2c.h"
#include "models/load.h"
#include "tutorials/support/program.h"
#include "tutorials/support/table.h"

using namespace chalk;

struct Options {
  std::string model, tokenizer, to = "hf", out, dtype = "f32";
  bool no_tokenizer = false;
};

static UsageError bad_dtype(const Options& options, const std::string& expected) {
  return UsageError("--dtype " + options.dtype + ": " + options.to + " takes " + expected);
}

static void write_hf(const Options& options, const Checkpoint& checkpoint, const Tokenizer* tokenizer) {
  HfWriteOptions write{.dtype = DType::F32};
  if (options.dtype == "f16") write.dtype = DType::F16;
  if (options.dtype == "bf16") write.dtype = DType::BF16;
  if (options.dtype.starts_with("q")) throw bad_dtype(options, "f32, f16 or bf16");
  write_hf_folder(options.out, checkpoint, write);
  if (tokenizer) tokenizer->save(options.out);
}

static void write_gguf(const Options& options, const Checkpoint& checkpoint, const Tokenizer* tokenizer) {
  GgmlType type = GgmlType::F32;
  if (options.dtype == "f16") type = GgmlType::F16;
  if (options.dtype == "bf16") type = GgmlType::BF16;
  if (options.dtype == "q8_0") type = GgmlType::Q8_0;
  if (options.dtype == "q4_0") type = GgmlType::Q4_0;
  write_gguf_model(options.out, checkpoint, type, tokenizer ? tokenizer_to_gguf(*tokenizer) : GgufMetadata{});
}

static int run(const Options& options, Context& context) {
  const std::string newest = newest_checkpoint(options.model);
  Checkpoint checkpoint = read_checkpoint(newest.empty() ? options.model : newest);
  dequantize_weights(checkpoint);  // of a GPTQ or AWQ folder
  std::unique_ptr<Tokenizer> tokenizer;
  if (!options.no_tokenizer && options.to != "llama2c") tokenizer = find_tokenizer(checkpoint, options.tokenizer);
  if (!tokenizer) context.say("the weights alone are written, no tokenizer");
  if (options.to == "hf") {
    write_hf(options, checkpoint, tokenizer.get());
  } else if (options.to == "gguf") {
    write_gguf(options, checkpoint, tokenizer.get());
  } else {
    if (options.dtype != "f32") throw bad_dtype(options, "f32");
    write_llama2c(options.out, checkpoint);
    context.say("a llama2.c file holds no tokenizer: keep tokenizer.bin beside it");
  }
  int64_t parameters = 0;
  for (const NamedArray& weight : checkpoint.weights) parameters += int64_t(weight.data.size());
  context.result = {{"model", checkpoint.path}, {"out", options.out},     {"format", options.to},
                    {"dtype", options.dtype},   {"parameters", parameters}, {"tokenizer", tokenizer != nullptr}};
  if (!context.json) {
    print(fmt::format("{}: {} parameters of {} as {} {}\n", options.out, human_count(double(parameters)), checkpoint.path,
                      options.to, options.dtype));
  }
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "convert",
       .about = "writes a model in another format: Hugging Face folder, GGUF or llama2.c",
       .example = "build/bin/convert --model runs/first --to gguf --dtype q8_0 --out first-q8_0.gguf\n"
                  "build/bin/convert --model stories260K.bin --tokenizer tok512.bin --to hf --out stories260K",
       .flags =
           [&](Flags& flags) {
             flags.add("--model", &o.model, "Hugging Face folder, run folder, llama2.c .bin or .gguf").required();
             flags.add("--tokenizer", &o.tokenizer, "tokenizer file (default: the model's own)");
             flags.add("--no-tokenizer", &o.no_tokenizer, "leave it out: GGUF cannot hold words or characters");
             flags.add("--to", &o.to, "format to write").one_of({"hf", "gguf", "llama2c"});
             flags.add("--out", &o.out, "folder (hf) or file to write").required();
             flags.add("--dtype", &o.dtype, "of the matrices; q8_0 and q4_0: GGUF only")
                 .one_of({"f32", "f16", "bf16", "q8_0", "q4_0"});
           },
       .run = [&](Context& context) { return run(o, context); }});
}
