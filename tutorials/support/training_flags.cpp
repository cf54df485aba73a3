// The flags and presets of a training run.

#include "tutorials/support/training.h"

namespace chalk {
namespace {

void add_model_flags(Flags& flags, TrainSettings& s) {
  flags.add("--model", &s.model, "architecture").one_of({"gpt2", "llama"});
  flags.add("--layers", &s.layers, "transformer blocks").between(1, 1000);
  flags.add("--heads", &s.heads, "attention heads").between(1, 1024);
  flags.add("--kv-heads", &s.kv_heads, "key/value heads (llama; 0 = as many as heads)").between(0, 1024);
  flags.add("--width", &s.width, "channels of the residual stream").between(2, 65536);
  flags.add("--hidden", &s.hidden, "channels inside the MLP (0 = the architecture's rule)")
      .between(0, 1 << 20);
  flags.add("--context", &s.context, "tokens per row").between(2, 1 << 20);
  flags.add("--dropout", &s.dropout, "on the embedding and both residual branches").between(0, 0.99);
  flags.add("--tie", &s.tie, "the output product shares the embedding");
  flags.add("--init-std", &s.init_std, "standard deviation of fresh matrices (llama)").between(0, 10);
  flags.add("--init-embedding-std", &s.init_embedding_std, "the same of the embedding (llama)")
      .between(0, 10);
}

void add_optimizer_flags(Flags& flags, TrainOptions& o) {
  flags.add("--steps", &o.steps, "updates in all, also with --resume").at_least(1);
  flags.add("--accumulation", &o.accumulation, "batches per update").between(1, 1 << 20);
  flags.add("--precision", &o.precision, "of the products in training; the weights stay fp32")
      .one_of({"fp32", "tf32", "bf16"});
  flags.add("--optimizer", &o.optimizer, "adamw, muon (adamw for the rest) or sgd")
      .one_of({"adamw", "muon", "sgd"});
  flags.add("--lr", &o.lr, "peak learning rate of AdamW or SGD").between(0, 100);
  flags.add("--muon-lr", &o.muon_lr, "peak learning rate of Muon").between(0, 100);
  flags.add("--beta1", &o.beta1, "AdamW").between(0, 0.9999);
  flags.add("--beta2", &o.beta2, "AdamW").between(0, 0.99999);
  flags.add("--weight-decay", &o.weight_decay, "on matrices (AdamW, SGD)").between(0, 10);
  flags.add("--muon-weight-decay", &o.muon_weight_decay, "on Muon's matrices").between(0, 10);
  flags.add("--momentum", &o.momentum, "SGD").between(0, 0.9999);
  flags.add("--clip", &o.clip, "largest gradient norm (0 = no clipping)").between(0, 1e9);
  flags.add("--schedule", &o.schedule, "of the learning rate")
      .one_of({"cosine", "linear", "wsd", "constant"});
  flags.add("--warmup", &o.warmup, "steps up to the peak").at_least(0);
  flags.add("--lr-floor", &o.lr_floor, "share of the peak at the end").between(0, 1);
}

void add_presets(Flags& flags) {
  // nanoGPT's small CPU setting: validation loss about 1.9 on Tiny Shakespeare's characters.
  const Json one_minute = {{"layers", 4},   {"heads", 4}, {"width", 128},  {"context", 64}, {"batch", 12},
                           {"steps", 2000}, {"lr", 1e-3}, {"beta2", 0.99}, {"warmup", 100}};
  flags.preset("1min", one_minute, "0.8 M parameters, 2000 steps of 768 tokens");
  Json ten_minutes = one_minute;
  ten_minutes.update(
      {{"layers", 6}, {"heads", 6}, {"width", 192}, {"context", 128}, {"batch", 16}, {"steps", 4000}});
  flags.preset("10min", ten_minutes, "2.7 M parameters, 4000 steps of 2048 tokens");
  Json one_hour = one_minute;
  one_hour.update(
      {{"layers", 6}, {"heads", 6}, {"width", 384}, {"context", 256}, {"batch", 16}, {"steps", 3000}});
  flags.preset("1h", one_hour, "10.7 M parameters, 3000 steps of 4096 tokens");
  Json world = {{"layers", 4},
                {"heads", 4},
                {"width", 128},
                {"context", 64},
                {"batch", 8},
                {"steps", 15625},
                {"optimizer", "muon"},
                {"lr", 2e-3},
                {"muon-lr", 4e-3},
                {"beta1", 0.9},
                {"beta2", 0.98},
                {"weight-decay", 0.01},
                {"muon-weight-decay", 0.05},
                {"clip", 1.0},
                {"warmup", 40},
                {"lr-floor", 0.05},
                {"init-std", 0.04},
                {"init-embedding-std", 0.02},
                {"answer-weight", 4}};
  flags.preset("world", world, "the full recipe of docs/world.md: 8.0 M positions");
  // The document types that are learned first. Hidden voices, truth judgement and code need the whole recipe.
  world.update(
      {{"steps", 4000},
       {"answer-weight", 2},
       {"types",
        {"story", "agree", "talk", "feel", "goal", "arith", "persona", "qa", "request", "style", "turns"}}});
  flags.preset("world-small", world, "a quarter of it: stories, facts, speakers, rules, emotions, sums");
  Json gpt2 = world;
  gpt2.update({{"model", "gpt2"}, {"layers", 3}, {"width", 64}, {"steps", 2000}});
  flags.preset("world-gpt2", gpt2,
               "the same for a small GPT-2, half as long: what quantization-aware training starts from");
}

}  // namespace

void add_training_flags(Flags& flags, TrainSettings& s) {
  flags.add("--corpus", &s.corpus, "\"world\" (generated) or a text file");
  flags.add("--tokenizer", &s.tokenizer,
            "char, word, bpe:N or a path (default: word for the world, char for a file)");
  flags.add("--out", &s.out, "folder of the run");
  flags.add("--resume", &s.resume, "go on from the newest checkpoint in --out");
  flags.add("--batch", &s.batch, "rows per batch, of all ranks together").between(1, 1 << 20);
  flags.add("--data-parallel", &s.data_parallel, "started by mpirun: its processes share the rows of each batch");
  flags.add("--answer-weight", &s.answer_weight, "loss weight of the world's answer tokens").between(0, 1000);
  flags.add("--mark-class-word", &s.mark_class_word, "a refusal's class word counts as an answer token");
  flags.add("--mark-story-object", &s.mark_story_object, "so does the object at the end of a story");
  flags.add("--documents", &s.documents, "of the world").between(100, 10'000'000);
  flags.add("--types", &s.types, "only these document types of the world (docs/world.md), one flag each");
  flags.add("--eval-every", &s.eval_every, "steps between validations (0 = ten in the run)").at_least(0);
  flags.add("--save-every", &s.save_every, "steps between checkpoints (0 = at each validation)").at_least(0);
  add_model_flags(flags, s);
  add_optimizer_flags(flags, s.train);
  add_presets(flags);
}

TrainSettings training_preset(const std::string& name) {
  TrainSettings settings;
  Flags flags;
  add_training_flags(flags, settings);
  const char* arguments[] = {"train", "--preset", name.c_str()};
  flags.parse(3, arguments);
  return settings;
}

}  // namespace chalk
