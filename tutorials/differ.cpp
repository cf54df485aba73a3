// Runs one model on two devices and names the first activation on which they disagree.

#include "autograd/check.h"
#include "kernels/cuda/runtime.h"
#include "models/compare_devices.h"
#include "models/load.h"
#include "tutorials/support/program.h"
#include "tutorials/support/table.h"

using namespace chalk;

struct Options {
  std::string model, tokenizer, prompt = "The quick brown fox", against = "plain";
  bool gradients = false, all = false;
};

static Device second_device(const std::string& name) {
  if (name != "cuda") return name == "cpu" ? Device::CPU : Device::Plain;
  try {
    cuda::device_description();
  } catch (const std::runtime_error& reason) {
    throw BackendUnavailable(fmt::format("--against cuda: {}", reason.what()));
  }
  return Device::CUDA;
}

static std::string title(const ActivationDifference& d) {
  return (d.gradient ? "gradient of " : "") + d.name;
}

static int run(const Options& o, Context& context) {
  const Device other = second_device(o.against);
  const LoadedModel first = load_model(o.model, o.tokenizer, context.device),
                    second = load_model(o.model, o.tokenizer, other);
  std::vector<int32_t> ids = encode_with_specials(*first.tokenizer, o.prompt);
  if (ids.empty()) throw UsageError("--prompt: holds no token");
  const IntTensor batch{{1, int64_t(ids.size())}, ids};
  const auto differences = compare_devices(*first.model, *second.model, batch, o.gradients);
  const ActivationDifference* found = first_disagreement(differences);

  Table table{{"activation", "of the tolerance", "at", device_name(context.device), device_name(other)}};
  context.result = {{"tokens", ids.size()},
                    {"compared", differences.size()},
                    {"first", found ? Json(title(*found)) : Json()},
                    {"activations", Json::array()}};
  double largest = 0;
  for (const ActivationDifference& d : differences) {
    largest = std::max(largest, d.share);
    context.result["activations"].push_back(without_nan({{"name", d.name},
                                                         {"gradient", d.gradient},
                                                         {"share", d.share},
                                                         {"index", d.index},
                                                         {"a", d.a},
                                                         {"b", d.b}}));
    if (o.all || d.disagrees())
      table.rows.push_back({title(d), fmt::format("{:.4f}", d.share), std::to_string(d.index),
                            fmt::format("{:.6g}", d.a), fmt::format("{:.6g}", d.b)});
  }
  if (!context.json && !table.rows.empty()) print(to_text(table));
  context.claim(!found,
                fmt::format("{} and {} agree on all {} arrays", device_name(context.device), o.against,
                            differences.size()),
                found ? "the first that differs is " + title(*found)
                      : fmt::format("at most {:.4f} of the tolerance", largest));
  return 0;
}

int main(int argc, char** argv) {
  Options o;
  return run_program(
      argc, argv,
      {.name = "differ",
       .about = "names the first activation on which two devices disagree",
       .example =
           "build/bin/differ --model runs/demo --prompt '<bos> one day ana' --device cpu --against cuda\n"
           "build/bin/differ --model runs/demo --device plain --against cpu --gradients --all",
       .flags =
           [&](Flags& flags) {
             flags.add("--model", &o.model, "Hugging Face folder, run folder, llama2.c .bin or .gguf")
                 .required();
             flags.add("--tokenizer", &o.tokenizer, "tokenizer file (default: the model's own)");
             flags.add("--prompt", &o.prompt, "text to run");
             flags.add("--against", &o.against, "the second device").one_of({"plain", "cpu", "cuda"});
             flags.add("--gradients", &o.gradients, "also compare the gradients of the next-token loss");
             flags.add("--all", &o.all, "list every activation, not only those that differ");
           },
       .run = [&](Context& context) { return run(o, context); }});
}
