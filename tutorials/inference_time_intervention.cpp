// Which heads know the truth, and what happens when only they are pushed: myths against fluency.

#include "tutorials/support/inference_time_intervention_lab.h"

using namespace chalk;
using namespace chalk::iti;

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/inference_time_intervention"};
  ItiOptions iti_options;
  Curves mc2_curve{"mc2", "alpha", "Truthfulness", "MC2",
                   "Myth questions of the held-out fold, nobody named as speaker."},
      mc1_curve{"mc1", "alpha", "Truthfulness, argmax", "MC1",
                "1 only where the truth beats every other value."},
      kl_curve{"kl",
               "alpha",
               "The price",
               "KL in nats per token, all positions edited",
               "60 documents of the validation stream.",
               3},
      perplexity{"perplexity", "alpha", "The price", "perplexity of ordinary text", "The same documents."},
      by_heads{"heads_k", "K", "How many heads", "MC2 at --alpha", "Ranked by validation accuracy."};
  std::vector<double> best_head, shuffled_head, baked;
  std::vector<double> heat;  // test accuracy of every head, summed over models and folds
  int64_t heads_per_block = 0;

  struct Prompts {
    std::vector<stimuli::Prompt> myths, plain;
  };
  void sweep(const WorldModel& world, const std::string& name, const std::vector<HeadShift>& shifts,
             const Prompts& prompts, int64_t answer, const CostMeter& meter) {
    for (double alpha : {0.0, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0}) {
      Edits edits(world.model.hooks);
      add_shifts(edits, world.model, shifts, alpha,
                 {answer, Positions::kForever});  // from the answer's first token on
      const Score on_myths = score(world, prompts.myths), on_plain = score(world, prompts.plain);
      mc1_curve.keep(name + ", myths", alpha, on_myths.mc1),
          mc1_curve.keep(name + ", other facts", alpha, on_plain.mc1);
      mc2_curve.keep(name + ", myths", alpha, on_myths.mc2),
          mc2_curve.keep(name + ", other facts", alpha, on_plain.mc2);
      edits.clear();
      add_shifts(edits, world.model, shifts, alpha);  // the price is taken at all positions
      const CostMeter::Cost paid = meter.measure();
      kl_curve.keep(name, alpha, paid.kl), perplexity.keep(name, alpha, std::exp(paid.loss));
    }
  }

  void measure(const WorldModel& world) {
    const int64_t H = heads_per_block = query_heads(world.model);
    const CostMeter meter(world.model, world.ids(stimuli::ordinary_texts(world.world, 60)));
    const int64_t answer =
        int64_t(world.ids("<bos> <user> " + fact_question(world.world.facts[0]) + " <eot> <bot>").size());
    std::vector<HeadShift> last;
    double best_of_folds = 0;
    for (int fold = 0; fold < 2; ++fold) {
      const Half development = half_of(world, fold), test = half_of(world, 1 - fold);
      const auto z = head_outputs(world.model, development.answers),
                 tuning = head_outputs(world.model, development.followed);
      const auto z_test = head_outputs(world.model, test.answers);
      const auto shifts_for = [&](ItiOptions options) {
        return chosen_heads(rank_heads(z, H, development.labels, development.questions, tuning, options),
                            options);
      };
      heat.resize(z.size());
      const Labels random_labels = shuffled(development.labels, 3), random_test = shuffled(test.labels, 4);
      for (size_t i = 0; i < z.size(); ++i) {
        heat[i] += accuracy(head_probe(z[i], development.labels), z_test[i], test.labels);
        shuffled_head.push_back(accuracy(head_probe(z[i], random_labels), z_test[i], random_test));
      }
      last = shifts_for(iti_options);
      const size_t best = size_t(last[0].block * H + last[0].head);
      best_of_folds += accuracy(head_probe(z[best], development.labels), z_test[best], test.labels) / 2;
      const Prompts prompts{
          stimuli::questions(world.world, stimuli::myths_among(world.world, test.facts), Speaker::People),
          stimuli::questions(world.world, stimuli::plain_among(world.world, test.facts), Speaker::People)};
      ItiOptions options = iti_options;
      sweep(world, "mass-mean", last, prompts, answer, meter);
      options.direction = DirectionKind::ProbeWeight;
      sweep(world, "probe weight", shifts_for(options), prompts, answer, meter);
      options.direction = DirectionKind::Random;
      sweep(world, "random", shifts_for(options), prompts, answer, meter);
      sweep(world, "honest line", line_shifts(world, development.facts, iti_options), prompts, answer, meter);
      options.direction = DirectionKind::MassMean;
      for (const int64_t K : {1, 2, 4, 8}) {
        options.heads = K;
        Edits edits(world.model.hooks);
        add_shifts(edits, world.model, shifts_for(options), iti_options.alpha, {answer, Positions::kForever});
        by_heads.keep("MC2, myths", double(K), score(world, prompts.myths).mc2);
        by_heads.keep("MC2, other facts", double(K), score(world, prompts.plain).mc2);
      }
    }
    best_head.push_back(best_of_folds);
    baked.push_back(bake_difference(world, last, iti_options.alpha, half_of(world, 0).answers));
  }
};

static Table beside_the_paper(const Study& study) {
  const auto shift = [](const Curves& curves) {
    return spread(curves.at("mass-mean, myths", 0), 2) + " -> " +
           spread(curves.at("mass-mean, myths", 15), 2);
  };
  return {
      .header = {"figure", "paper", "here"},
      .rows = {{"best head, held-out accuracy", "about .83 (LLaMA-7B)", spread(study.best_head, 2)},
               {"all heads, shuffled labels", "", spread(study.shuffled_head, 2)},
               {"MC1 at alpha 15", ".257 -> .259 (LLaMA-7B), .34 -> .40 (2-chat-7B)", shift(study.mc1_curve)},
               {"MC2 at alpha 15", ".51 -> .58 (LLaMA-2-chat-7B)", shift(study.mc2_curve)},
               {"KL at alpha 15", ".40 (LLaMA-7B), .65 (2-chat-7B)",
                spread(study.kl_curve.at("mass-mean", 15), 2)}}};
}

static int run(Study& study, Context& context) {
  Results results(context, study.options.out, "Inference-time intervention",
                  fmt::format("{} heads, shifted by alpha standard deviations", study.iti_options.heads));
  for_each_model(study.options, context,
                 [&](const WorldModel& world, const std::string&) { study.measure(world); });
  for (double& sum : study.heat) sum /= double(2 * study.best_head.size());
  results.plot("heads", head_map(study.heat, study.heads_per_block), "Mean over models and the two folds.");
  for (const Curves* curves :
       {&study.mc2_curve, &study.mc1_curve, &study.kl_curve, &study.perplexity, &study.by_heads})
    show(results, *curves);
  results.table("Beside the paper", beside_the_paper(study), "TruthfulQA there, fifteen myths here.");
  // Three standard errors of a coin over the 60 statements of a fold: 0.5 + 3 √(¼ / 60).
  const double chance = 0.5 + 3 * std::sqrt(0.25 / 60);
  results.claim(lowest(study.best_head) > chance,
                fmt::format("the best head tells true from false on unseen facts: above {:.2f}", chance),
                spread(study.best_head, 2));
  results.claim(highest(study.baked) < 1e-3, "the edit baked into a bias equals the hook",
                fmt::format("largest logit difference {:.1e}", highest(study.baked)));
  context.result["best_head"] = study.best_head;
  return results.save();
}

int main(int argc, char** argv) {
  Study study;
  return run_program(
      argc, argv,
      {.name = "inference_time_intervention",
       .about = "shifts the heads that know the truth",
       .example = "build/bin/inference_time_intervention --seeds 3",
       .flags =
           [&](Flags& flags) {
             add_steering_flags(flags, study.options);

             flags.add("--heads", &study.iti_options.heads, "heads that are edited, K").between(0, 1 << 20);
             flags
                 .add("--alpha", &study.iti_options.alpha,
                      "strength of the bake-in and of the sweep over K, in standard deviations")
                 .between(-1e6, 1e6);
           },
       .run = [&](Context& context) { return run(study, context); }});
}
