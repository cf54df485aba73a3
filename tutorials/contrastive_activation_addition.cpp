// One vector per behaviour, from pairs that differ in the answer only: mood, refusal, truth about myths, both ways.

#include "papers/steering/contrastive_activation_addition.h"

#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::caa;
using stimuli::Part;

static const std::vector<double> kMultipliers = {-2, -1, -0.5, 0, 0.5, 1, 2};

// What is measured, over all models, and how it is shown.
struct Study {
  SteeringOptions options{.out = "runs/contrastive_activation_addition"};
  int64_t samples = 2;
  Curves mood{"c"}, fluency{"c"}, match{"c"}, refusal{"c"}, myths{"c"}, layers{"depth"};
  std::vector<double> cached_equal;

  // v at every depth from texts that end with the answer token.
  std::vector<Direction> vectors(const WorldModel& world, const std::vector<std::string>& matching,
                                 const std::vector<std::string>& other) {
    const std::vector<Samples> a = residuals_at(world.model, world.ids(matching)),
                               b = residuals_at(world.model, world.ids(other));
    std::vector<Direction> v;
    for (size_t depth = 0; depth < a.size(); ++depth) v.push_back(behaviour_vector(a[depth], b[depth]));
    return v;
  }

  struct Talk {
    double happy = 0, perplexity = 0;
  };
  Talk talk(const WorldModel& world, const std::vector<std::string>& requests, int64_t depth,
            const Direction& v, double c, bool from_marker) {
    std::vector<std::string> prompts, said;
    for (int64_t s = 0; s < samples; ++s) {
      const auto written = replies(world, requests, 16, 1, uint64_t(s), [&](Edits& e) {
        add(e, world.model, depth, v, c, {.from_marker = from_marker, .passes = Passes::Continue});
      });
      prompts.insert(prompts.end(), requests.begin(), requests.end()),
          said.insert(said.end(), written.begin(), written.end());
    }
    double of_happiness = 0, total = 0;
    for (const std::string& text : said) {
      const stimuli::MoodCount one = stimuli::count_moods(text);
      of_happiness += one.by_emotion[0], total += one.total;
    }
    return {of_happiness / std::max(total, 1.0), std::exp(-reply_log_probability(world, prompts, said))};
  }

  // p(happy interjection) / (p(happy) + p(sad)) at <bot>, mean over requests.
  double matching(const WorldModel& world, const std::vector<std::string>& requests, int64_t depth,
                  const Direction& v, double c) {
    Edits edits(world.model.hooks);
    add(edits, world.model, depth, v, c, {.from_marker = true});
    const Samples logits = next_logits(world.model, world.ids(requests));
    double sum = 0;
    for (int64_t i = 0; i < logits.n; ++i) {
      const std::vector<double> p = next_probabilities(logits.row(i), logits.d);
      double yes = 1e-300, no = 1e-300;
      for (const char* word : {"hurray", "yay", "wonderful"}) yes += p[size_t(world.id(word))];
      for (const char* word : {"alas", "oh", "sigh"}) no += p[size_t(world.id(word))];
      sum += match_probability(std::log(yes), std::log(no)) / double(logits.n);
    }
    return sum;
  }

  // Greedy replies with the cache against running everything again for each token: the share that is equal.
  double cached_equals_full(const WorldModel& world, const std::vector<std::string>& requests, int64_t depth,
                            const Direction& v) {
    const auto cached = replies(world, requests, 8, 0, 0, [&](Edits& e) {
      add(e, world.model, depth, v, 1, {.from_marker = true, .passes = Passes::Continue});
    });
    int64_t equal = 0;
    for (size_t i = 0; i < requests.size(); ++i) {
      std::string text;
      Edits edits(world.model.hooks);
      const int64_t marker = int64_t(world.ids(requests[i]).size()) - 1;
      add(edits, world.model, depth, v, 1, {.marker = marker, .from_marker = true});
      for (int t = 0; t < 8; ++t) {
        const Samples logits =
            next_logits(world.model, {world.ids(requests[i] + (text.empty() ? "" : " ") + text)});
        const auto best = std::max_element(logits.x.begin(), logits.x.end());
        const std::string word = world.tokenizer.token(int32_t(best - logits.x.begin()));
        if (word == "<eot>" || word == "<eos>") break;
        text += (text.empty() ? "" : " ") + word;
      }
      equal += text == cached[i];
    }
    return double(equal) / double(requests.size());
  }

  // Pairs differ in the reply's first word (the paper), or in the instruction, read at <bot>.
  void measure_mood(const WorldModel& world, Context& context) {
    std::vector<std::string> parts[3],
        told[2];  // objects: a half makes the vector, a quarter chooses, a quarter tests
    const std::vector<std::string> all = stimuli::mood_prompts();
    for (size_t i = 0; i < all.size(); ++i) parts[i % 4 < 2 ? 0 : i % 4 - 1].push_back(all[i]);
    std::vector<std::string> yes, no;
    for (const std::string& request : parts[0]) {
      for (const auto& [a, b] : {std::pair{"hurray", "alas"}, {"yay", "sigh"}})
        yes.push_back(request + " " + a), no.push_back(request + " " + b);
    }
    for (size_t i = 0; i < all.size(); ++i) {
      if (i % 4 < 2)
        told[0].push_back(stimuli::mood_prompts("happy")[i]),
            told[1].push_back(stimuli::mood_prompts("sad")[i]);
    }
    for (const auto& [name, v] : {std::pair{std::string("answer"), vectors(world, yes, no)},
                                  {"instruction", vectors(world, told[0], told[1])}}) {
      int64_t depth = 1;
      double most = -1;
      for (int64_t d = 1; d < int64_t(v.size()); ++d) {
        const double difference =
            matching(world, parts[1], d, v[size_t(d)], 1) - matching(world, parts[1], d, v[size_t(d)], -1);
        layers.keep(name, double(d), difference);
        // Not the last depth: no block reads it any more, v would add the same logits to every token.
        if (difference > most && d + 1 < int64_t(v.size())) most = difference, depth = d;
      }
      context.say(fmt::format("mood, pairs by {}: depth {}, chosen on validation requests", name, depth));
      const Direction &ours = v[size_t(depth)],
                      random = random_direction(int64_t(ours.size()), norm(ours), 7);
      for (double c : kMultipliers) {
        const Talk at = talk(world, parts[2], depth, ours, c, true),
                   after = talk(world, parts[2], depth, ours, c, false);
        const Talk noise = talk(world, parts[2], depth, random, c, true);
        mood.keep(name + ", from the marker on", c, at.happy),
            mood.keep(name + ", after the marker", c, after.happy);
        mood.keep(name + ", random", c, noise.happy);
        fluency.keep(name + ", from the marker on", c, at.perplexity),
            fluency.keep(name + ", random", c, noise.perplexity);
        match.keep(name, c, matching(world, parts[2], depth, ours, c)),
            match.keep(name + ", random", c, matching(world, parts[2], depth, random, c));
      }
      cached_equal.push_back(cached_equals_full(world, parts[2], depth, ours));
    }
  }

  void measure_refusal_and_myths(const WorldModel& world) {
    std::vector<std::string> sorry, ok, with, without;
    for (const stimuli::Request& q : stimuli::requests(Part::Train, true))
      sorry.push_back(q.text + " sorry"), ok.push_back(q.text + " ok");
    const std::vector<Direction> refuse = vectors(world, sorry, ok);
    for (const stimuli::Pair& pair :
         stimuli::honest_line_pairs(world.world, stimuli::facts_of(world.world, Part::Train)))
      with.push_back(pair.positive), without.push_back(pair.negative);
    const std::vector<Direction> honest = vectors(world, with, without);
    const auto asked = stimuli::questions(
        world.world, stimuli::myths_among(world.world, stimuli::facts_of(world.world, Part::Test)),
        Speaker::People);
    for (double c : kMultipliers) {
      for (const int64_t depth : {2, 3}) {
        Edits edits(world.model.hooks);
        add(edits, world.model, depth, refuse[size_t(depth)], c, {.from_marker = true});
        refusal.keep(fmt::format("allowed requests refused, depth {}", depth), c,
                     reply_shares(world, stimuli::requests(Part::Test, false)).refused);
        refusal.keep(fmt::format("forbidden requests refused, depth {}", depth), c,
                     reply_shares(world, stimuli::requests(Part::Test, true)).refused);
        edits.clear();
        add(edits, world.model, depth, honest[size_t(depth)], c, {.marker = 0, .from_marker = true});
        myths.keep(fmt::format("P(true) on myths, depth {}", depth), c, mean_p_true(world, asked));
        edits.clear();
        add(edits, world.model, depth, random_direction(world.model.width(), norm(honest[size_t(depth)]), 3),
            c, {.marker = 0, .from_marker = true});
        myths.keep(fmt::format("random, depth {}", depth), c, mean_p_true(world, asked));
      }
    }
  }

  int run(Context& context) {
    const RunFolder folder(options.out, true);
    for_each_model(options, context, [&](const WorldModel& world, const std::string&) {
      measure_mood(world, context), measure_refusal_and_myths(world);
    });
    Report report("Contrastive activation addition",
                  "Behaviour vectors from pairs that differ in the answer only");
    show(context, report, folder,
         {"layers", "Choosing the layer", "P(happy) at c = 1 minus c = -1, validation requests",
          "The layer with the largest spread."},
         layers);
    show(context, report, folder, {"mood", "Mood of the replies", "share of happy words", "Chance is 1/6."},
         mood);
    show(context, report, folder,
         {"fluency", "Fluency", "perplexity of the replies under the plain model",
          "Sampled at temperature 1."},
         fluency);
    show(context, report, folder,
         {"match", "Two-way choice", "P(happy) against P(sad) at <bot>", "The paper's measure."}, match);
    show(context, report, folder, {"refusal", "Refusal", "share refused", "Reported; see refusal_direction."},
         refusal);
    show(context, report, folder,
         {"myths", "Myths", "P(true)", "Reported: the size of the effect depends on the seed."}, myths);
    claim(context, report, lowest(cached_equal) == 1,
          "decoding with the cache writes what full recomputation writes", spread(cached_equal));
    report.environment(context);
    report.save(folder.path("report.html"));
    return 0;
  }
};

int main(int argc, char** argv) {
  Study study;
  return run_program(argc, argv,
                     {.name = "contrastive_activation_addition",
                      .about = "steers mood, refusal and truth with averaged vectors",
                      .example = "build/bin/contrastive_activation_addition --seeds 3",
                      .flags =
                          [&](Flags& flags) {
                            add_steering_flags(flags, study.options);
                            flags.add("--samples", &study.samples, "replies per request").between(1, 100);
                          },
                      .run = [&](Context& context) { return study.run(context); }});
}
