// One model, stored in different ways, in one table: what each method loses, weighs and how fast it decodes.

#include <filesystem>

#include "kernels/memory.h"
#include "models/io/file.h"
#include "models/llama.h"
#include "nn/group_quant_linear.h"
#include "tutorials/support/measured_model.h"
#include "tutorials/support/method_table.h"
#include "tutorials/support/report.h"
#include "tutorials/support/storage_methods.h"

using namespace chalk;

struct Options {
  ModelChoice choice;
  std::string out = "runs/compare", random;
  StorageOptions storage;
  int64_t decode_tokens = 48;
};

// Random weights of a published size: good for speed and memory, not for loss.
static MeasuredModel random_model(const std::string& size, Context& context) {
  LlamaConfig config;
  config.vocab_size = 32000;
  config.hidden_size = size == "42M" ? 512 : 768;
  config.intermediate_size = size == "42M" ? 1376 : 2048;
  config.num_hidden_layers = size == "42M" ? 8 : 12;
  config.num_attention_heads = config.num_key_value_heads = config.hidden_size / 64;
  config.max_position_embeddings = 1024, config.tie_word_embeddings = true;
  auto model = std::make_unique<Llama>(config, context.device);
  model->init(context.seed);
  MeasuredModel m;
  m.loaded.model = std::move(model);
  m.name = "random, " + size;
  return m;
}

// "RTN, 4 bits" -> "RTN__4_bits"
static std::string file_name(std::string name) {
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

static MethodRow measure(const StorageMethod& method, MeasuredModel& m, const Options& o, Context& context) {
  const std::string& name = method.name;
  MethodRow row{.name = name};
  const std::string folder = o.random.empty() ? o.out + "/" + file_name(name) : "";
  LanguageModel& model = *m.loaded.model;
  for (const QuantizedWeight& layer : method.apply(m, folder))
    put_quantized(find_slot(model, layer.slot), layer.matrix);
  release_cached_memory();  // of the float weights
  if (m.loss) row.losses.push_back(m.loss(model));
  row.weigh(model, name == "float32" ? 32 : 16);
  row.tokens_per_second = decode_speed(model, o.decode_tokens);
  context.say(fmt::format("{:<16} {:.1f} tokens/s", name, row.tokens_per_second));
  if (!folder.empty() && is_folder(folder)) {
    row.disk = weight_file_bytes(folder);
    // Folders keep what stays float in half precision, a relative error of 2^-11: far below 0.002 nats.
    const double again = m.loss(*load_model(folder, "", context.device).model);
    context.claim(std::abs(again - row.losses[0]) < 0.002,
                  name + ": loaded from its folder, the loss is the same",
                  fmt::format("{:+.5f}", again - row.losses[0]));
  }
  return row;
}

static int run(Options& o, Context& context) {
  o.storage.has_text = o.random.empty();
  const std::vector<StorageMethod> methods = storage_methods(o.storage);
  std::vector<MethodRow> rows;
  for (const StorageMethod& method : methods) {  // folders of an earlier run, perhaps of other bits
    if (o.random.empty()) std::filesystem::remove_all(o.out + "/" + file_name(method.name));
  }
  MeasuredModel subject = o.random.empty() ? open_measured_model(o.choice, context) : MeasuredModel{};
  for (const StorageMethod& method : methods) {
    MeasuredModel m;
    if (o.random.empty()) {
      m = {.loaded = load_model(subject.loaded.path, o.choice.tokenizer, context.device),
           .name = subject.name,
           .calibration = subject.calibration,
           .loss = subject.loss};
    } else {
      m = random_model(o.random, context);
    }
    rows.push_back(measure(method, m, o, context));
  }
  const Table table = method_table(rows);
  if (!context.json) print(to_text(table));
  Report report("One model, stored in different ways",
                o.random.empty() ? subject.name : "random weights, " + o.random);
  report.table(
      table,
      "Bits are per parameter of the whole model; embeddings, norms and head count 16 (float32: 32) bits.");
  if (o.random.empty()) report.plot(method_bars(rows, "What it loses"), "Against the float model, one seed.");
  report.environment(context);
  report.save(o.out + "/report.html");
  for (const MethodRow& row : rows) context.result["rows"].push_back(to_json(row));
  context.claim(rows[0].memory > rows.back().memory, "4 bits need less memory than 32",
                human_bytes(double(rows.back().memory)));
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "compare",
       .about = "one table over the ways to store a model's weights: loss, bits, bytes, speed",
       .example = "build/bin/compare --bits 3\nbuild/bin/compare --random 110M",
       .flags =
           [&](Flags& flags) {
             add_model_flags(flags, o.choice);
             flags
                 .add("--random", &o.random,
                      "no trained model: random weights of this size, speed and memory only")
                 .one_of({"", "42M", "110M"});
             flags.add("--bits", &o.storage.bits, "of the methods that have a choice").between(2, 8);
             flags.add("--group", &o.storage.group, "inputs that share a scale").at_least(16);
             flags.add("--head", &o.storage.head, "also quantize the output product (RTN and NF4)");
             flags.add("--decode-tokens", &o.decode_tokens, "tokens written to measure the speed")
                 .at_least(2);
             flags.add("--out", &o.out, "folder for the saved models and the report");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
