// One pair of prompts, very happy minus very sad, added to the front of a neutral request: what mood does the reply have?

#include "papers/steering/activation_addition.h"

#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::actadd;

// What is measured, over all models, and how it is shown.
struct Study {
  SteeringOptions options{.out = "runs/activation_addition"};
  int64_t block = 1, samples = 1;
  Curves happy{"c"}, sad{"c"}, fluency{"c"}, blocks{"block"};
  std::vector<double> cached_equal;

  struct Talk {
    double happy = 0, sad = 0, perplexity = 0;
  };

  Talk talk(const WorldModel& world, const Addition* a, double c, const std::string& adjective = "") {
    std::vector<std::string> prompts, said;
    stimuli::MoodCount count{std::vector<double>(6, 0.0), 0};
    for (int64_t s = 0; s < samples; ++s) {
      const std::vector<std::string> again = stimuli::mood_prompts(adjective);
      const std::vector<std::string> written = replies(world, again, 16, 1, uint64_t(s), [&](Edits& e) {
        if (a) add(e, world.model, *a, c, Passes::Continue);
      });
      prompts.insert(prompts.end(), again.begin(), again.end()),
          said.insert(said.end(), written.begin(), written.end());
    }
    for (const std::string& text : said) {
      const stimuli::MoodCount one = stimuli::count_moods(text);
      for (size_t e = 0; e < 6; ++e) count.by_emotion[e] += one.by_emotion[e];
      count.total += one.total;
    }
    const double total = std::max(count.total, 1.0);
    return {count.by_emotion[0] / total, count.by_emotion[1] / total,
            std::exp(-reply_log_probability(world, prompts, said))};
  }

  // Greedy replies with the cache against running everything again for each token: the share that is equal.
  double cached_equals_full(const WorldModel& world, const Addition& a, double c) {
    int64_t equal = 0, count = 0;
    const std::vector<std::string> prompts = stimuli::mood_prompts();
    const auto cached =
        replies(world, prompts, 8, 0, 0, [&](Edits& e) { add(e, world.model, a, c, Passes::Continue); });
    for (size_t i = 0; i < prompts.size(); i += 4, ++count) {
      std::string text;
      for (int t = 0; t < 8; ++t) {
        Edits edits(world.model.hooks);
        add(edits, world.model, a, c);
        const Samples logits =
            next_logits(world.model, {world.ids(prompts[i] + (text.empty() ? "" : " ") + text)});
        const std::string word = world.tokenizer.token(
            int32_t(std::max_element(logits.x.begin(), logits.x.end()) - logits.x.begin()));
        if (word == "<eot>" || word == "<eos>") break;
        text += (text.empty() ? "" : " ") + word;
      }
      equal += text == cached[i];
    }
    return double(equal) / double(count);
  }

  void measure(const WorldModel& world) {
    const Ids plus = world.ids("<bos> <user> act as if you are very happy"),
              minus = world.ids("<bos> <user> act as if you are very sad");
    const Addition a = activation_difference(world.model, plus, minus, block, world.id("<pad>"));
    // The pair whose second word is the prompt's own: at c = 1 the stream at that place becomes that of "very happy".
    const Addition own = activation_difference(
        world.model, plus, world.ids("<bos> <user> act as if you are very afraid"), block, world.id("<pad>"));
    Addition random = own;
    const int64_t C = a.width;  // rows of the same length as ours, in random directions
    for (int64_t t = 0; t < a.length(); ++t) {
      double square = 0;
      for (int64_t j = 0; j < C; ++j) square += std::pow(double(own.rows[size_t(t * C + j)]), 2);
      const Direction r =
          square > 0 ? random_direction(C, std::sqrt(square), uint64_t(t)) : Direction(size_t(C), 0.0);
      for (int64_t j = 0; j < C; ++j) random.rows[size_t(t * C + j)] = float(r[size_t(j)]);
    }
    for (double c : {-4.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0}) {
      const auto keep = [&](const std::string& name, const Addition& rows, const std::string& adjective) {
        const Talk t = talk(world, &rows, c, adjective);
        happy.keep(name + ": happy words", c, t.happy), fluency.keep(name, c, t.perplexity);
      };
      keep("neutral request, happy - sad", a, "");
      keep("asked to be afraid, happy - sad", a, "afraid");
      keep("asked to be afraid, happy - afraid", own, "afraid");
      keep("asked to be afraid, random rows", random, "afraid");
    }
    for (int64_t b = 0; b < block_count(world.model); ++b) {
      const Addition other = activation_difference(world.model, plus, minus, b, world.id("<pad>"));
      const Addition other_own = activation_difference(
          world.model, plus, world.ids("<bos> <user> act as if you are very afraid"), b, world.id("<pad>"));
      blocks.keep("happy - sad, c = 4", double(b), talk(world, &other, 4, "afraid").happy);
      blocks.keep("happy - afraid, c = 1", double(b), talk(world, &other_own, 1, "afraid").happy);
    }
    cached_equal.push_back(cached_equals_full(world, a, 4));
  }

  int run(Context& context) {
    const RunFolder folder(options.out, true);
    for_each_model(options, context, [&](const WorldModel& world, const std::string&) { measure(world); });
    Report report("Activation addition",
                  "\"very happy\" minus \"very sad\", added to the front of a neutral request");
    show(context, report, folder,
         {"moods", "Mood of the replies", "share of happy words",
          "A neutral request has a random mood: 1/6. In the other one the pair meets the adjective's place."},
         happy);
    show(context, report, folder,
         {"fluency", "Fluency", "perplexity of the replies under the plain model",
          "Sampled at temperature 1."},
         fluency);
    show(context, report, folder,
         {"blocks", "Where to add", "share of happy words, asked to be afraid",
          "Entering block 0 the difference is that of two word embeddings."},
         blocks);
    claim(context, report, lowest(cached_equal) == 1,
          "decoding with the cache writes what full recomputation writes", spread(cached_equal));
    report.environment(context);
    report.save(folder.path("report.html"));
    return 0;
  }
};

int main(int argc, char** argv) {
  Study study;
  return run_program(
      argc, argv,
      {.name = "activation_addition",
       .about = "steers the mood of replies with one pair of prompts",
       .example = "build/bin/activation_addition --seeds 3",
       .flags =
           [&](Flags& flags) {
             add_steering_flags(flags, study.options);
             flags.add("--block", &study.block, "block whose input is changed").between(0, 1000);
             flags.add("--samples", &study.samples, "replies per request (40 requests)").between(1, 100);
           },
       .run = [&](Context& context) { return study.run(context); }});
}
