// One model, stored in different ways, in one table: what each method loses, weighs and how fast it decodes.

#include <filesystem>
#include <set>

#include "kernels/memory.h"
#include "models/io/file.h"
#include "models/llama.h"
#include "nn/nf4_linear.h"
#include "papers/quantization/awq.h"
#include "papers/quantization/gptq.h"
#include "papers/quantization/rtn.h"
#include "tutorials/support/measured_model.h"
#include "tutorials/support/method_table.h"
#include "tutorials/support/report.h"

using namespace chalk;

struct Options {
  ModelChoice choice;
  std::string out = "runs/compare", random;
  int64_t bits = 4, group = 64, decode_tokens = 48;
  bool head = false;
};

// Quantizes the model and saves it below `folder` where its community has a format (an empty folder: do not save). Returns
// the codes that are to be packed into its slots; none when the model is already as it should be.
using Method = std::function<std::vector<QuantizedWeight>(MeasuredModel& m, const std::string& folder)>;

static QuantizerOptions grid_of(const Options& o, int bits) {
  return {.bits = bits, .grid = Grid::GptqAsymmetric, .group_size = o.group};
}

static void save_gptq(MeasuredModel& m, const Options& o, int bits,
                      const std::vector<QuantizedWeight>& layers, const std::string& folder) {
  const GptqConfig config{.bits = bits, .group_size = o.group, .sym = false, .version = 2};
  if (!folder.empty()) save_gptq_model(*m.loaded.model, *m.loaded.tokenizer, layers, config, folder);
}

static std::vector<QuantizedWeight> apply_float(MeasuredModel& m, const std::string& folder) {
  if (!folder.empty()) save_model(*m.loaded.model, *m.loaded.tokenizer, folder);
  return {};
}

static std::vector<QuantizedWeight> apply_rtn(MeasuredModel& m, const Options& o, int bits,
                                              const std::string& folder) {
  std::vector<QuantizedWeight> layers;
  for (Slot* slot : rtn_slots(*m.loaded.model, o.head)) {
    layers.push_back(
        {slot->name, round_layer(slot->name, float_linear(*slot).weight, grid_of(o, bits)).matrix});
  }
  save_gptq(m, o, bits, layers, o.head ? "" : folder);  // GPTQ folders leave the head in half precision
  return layers;
}

static std::vector<QuantizedWeight> apply_gptq(MeasuredModel& m, const Options& o,
                                               const std::string& folder) {
  const gptq::Options options{
      .quantizer = grid_of(o, int(o.bits)), .true_sequential = true, .half_scales = true};
  std::vector<QuantizedWeight> layers = gptq::quantize_model(*m.loaded.model, m.calibration, options).layers;
  save_gptq(m, o, int(o.bits), layers, folder);
  return layers;
}

static std::vector<QuantizedWeight> apply_awq(MeasuredModel& m, const Options& o, const std::string& folder) {
  IntTensor text = m.calibration[0];
  for (size_t i = 1; i < m.calibration.size(); ++i) {
    text.shape[0] += m.calibration[i].shape[0];
    text.values.insert(text.values.end(), m.calibration[i].values.begin(), m.calibration[i].values.end());
  }
  const AwqOptions options{.bits = int(o.bits), .group_size = o.group, .short_groups = true};
  const AwqResult result = quantize_awq(*m.loaded.model, text, options);
  if (o.bits == 4)
    save_awq_model(*m.loaded.model, *m.loaded.tokenizer, result.layers, folder);  // files hold 4 bits
  std::vector<QuantizedWeight> layers;
  for (const auto& [slot, matrix] : result.layers) layers.push_back({slot, matrix});
  return layers;
}

// No folder: PEFT adapters name their base model.
static std::vector<QuantizedWeight> apply_nf4(MeasuredModel& m, const Options& o) {
  for (Slot* slot : rtn_slots(*m.loaded.model, o.head)) {
    slot->layer = std::make_unique<NF4Linear>(float_linear(*slot), NF4Options{.block = o.group});
  }
  return {};
}

static std::vector<std::pair<std::string, Method>> methods_of(const Options& o) {
  std::vector<std::pair<std::string, Method>> methods = {{"float32", apply_float}};
  const auto add = [&](const std::string& name, Method method) {
    methods.push_back({name, std::move(method)});
  };
  for (int bits : std::set<int>{8, int(o.bits)}) {
    add(fmt::format("RTN, {} bits", bits),
        [&o, bits](auto& m, auto& folder) { return apply_rtn(m, o, bits, folder); });
  }
  if (o.random.empty()) {  // these need text
    add(fmt::format("GPTQ, {} bits", o.bits),
        [&o](auto& m, auto& folder) { return apply_gptq(m, o, folder); });
    add(fmt::format("AWQ, {} bits", o.bits), [&o](auto& m, auto& folder) { return apply_awq(m, o, folder); });
  }
  add("NF4", [&o](auto& m, auto&) { return apply_nf4(m, o); });
  return methods;
}

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

static MethodRow measure(const std::string& name, const Method& method, MeasuredModel& m, const Options& o,
                         Context& context) {
  MethodRow row{.name = name};
  const std::string folder = o.random.empty() ? o.out + "/" + file_name(name) : "";
  LanguageModel& model = *m.loaded.model;
  for (const QuantizedWeight& layer : method(m, folder))
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

static int run(const Options& o, Context& context) {
  std::vector<MethodRow> rows;
  for (const auto& [name, method] : methods_of(o)) {  // folders of an earlier run, perhaps of other bits
    if (o.random.empty()) std::filesystem::remove_all(o.out + "/" + file_name(name));
  }
  MeasuredModel subject = o.random.empty() ? open_measured_model(o.choice, context) : MeasuredModel{};
  for (const auto& [name, method] : methods_of(o)) {
    MeasuredModel m;
    if (o.random.empty()) {
      m = {.loaded = load_model(subject.loaded.path, o.choice.tokenizer, context.device),
           .name = subject.name,
           .calibration = subject.calibration,
           .loss = subject.loss};
    } else {
      m = random_model(o.random, context);
    }
    rows.push_back(measure(name, method, m, o, context));
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
             flags.add("--bits", &o.bits, "of the methods that have a choice").between(2, 8);
             flags.add("--group", &o.group, "inputs that share a scale").at_least(16);
             flags.add("--head", &o.head, "also quantize the output product (RTN and NF4)");
             flags.add("--decode-tokens", &o.decode_tokens, "tokens written to measure the speed")
                 .at_least(2);
             flags.add("--out", &o.out, "folder for the saved models and the report");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
