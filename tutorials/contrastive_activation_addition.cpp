// One vector per behaviour, from pairs that differ in the answer only: mood, refusal, truth about myths, both ways.

#include "tutorials/support/contrastive_activation_addition_lab.h"

using namespace chalk;
using namespace chalk::caa;
using stimuli::Part;

static const std::vector<double> kMultipliers = {-2, -1, -0.5, 0, 0.5, 1, 2};

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/contrastive_activation_addition"};
  int64_t samples = 2;
  Curves layers{"layers", "depth", "Choosing the layer",
                "P(happy) at c = 1 minus c = -1, validation requests", "The layer with the largest spread."},
      mood{"mood", "c", "Mood of the replies", "share of happy words", "Chance is 1/6."},
      fluency{"fluency", "c", "Fluency", "perplexity of the replies under the plain model",
              "Sampled at temperature 1."},
      match{"match", "c", "Two-way choice", "P(happy) against P(sad) at <bot>", "The paper's measure."},
      refusal{"refusal", "c", "Refusal", "share refused", "Reported; see refusal_direction."},
      myths{"myths", "c", "Myths", "P(true)", "Reported: the size of the effect depends on the seed."};
  std::vector<double> cached_equal;
};

// Pairs differ in the reply's first word (the paper), or in the instruction, read at <bot>.
static void measure_mood(const WorldModel& world, Study& s, Context& context) {
  Texts yes, no;
  for (const std::string& request : mood_part(Part::Train)) {
    for (const auto& [a, b] : {std::pair{"hurray", "alas"}, {"yay", "sigh"}})
      yes.push_back(request + " " + a), no.push_back(request + " " + b);
  }
  const std::vector<Direction> told =
      vectors(world, mood_part(Part::Train, "happy"), mood_part(Part::Train, "sad"));
  const Texts requests = mood_part(Part::Test);
  for (const auto& [name, v] :
       {std::pair{std::string("answer"), vectors(world, yes, no)}, {"instruction", told}}) {
    const int64_t depth = choose_depth(world, name, v, s.layers);
    context.say(fmt::format("mood, pairs by {}: depth {}, chosen on validation requests", name, depth));
    const Direction ours = v[size_t(depth)], random = random_like(ours, 7);
    const auto talk_with = [&](const Direction& added, double c, bool from_marker) {
      return talk(world, requests, s.samples, [&](Edits& e) {
        add(e, world.model, depth, added, c, {.from_marker = from_marker, .passes = Passes::Continue});
      });
    };
    for (double c : kMultipliers) {
      const Talk at = talk_with(ours, c, true), after = talk_with(ours, c, false),
                 noise = talk_with(random, c, true);
      s.mood.keep(name + ", from the marker on", c, at.happy);
      s.mood.keep(name + ", after the marker", c, after.happy);
      s.mood.keep(name + ", random", c, noise.happy);
      s.fluency.keep(name + ", from the marker on", c, at.perplexity);
      s.fluency.keep(name + ", random", c, noise.perplexity);
      s.match.keep(name, c, matching(world, requests, depth, ours, c));
      s.match.keep(name + ", random", c, matching(world, requests, depth, random, c));
    }
    s.cached_equal.push_back(
        cached_equals_full(world, requests, [&](Edits& e, Passes passes, int64_t prompt) {
          add(e, world.model, depth, ours, 1, {.marker = prompt - 1, .from_marker = true, .passes = passes});
        }));
  }
}

static void measure_refusal_and_myths(const WorldModel& world, Study& s) {
  const auto facts = [&](Part part) { return stimuli::facts_of(world.world, part); };
  Texts sorry, ok, with, without;
  for (const stimuli::Request& q : stimuli::requests(Part::Train, true))
    sorry.push_back(q.text + " sorry"), ok.push_back(q.text + " ok");
  for (const stimuli::Pair& pair : stimuli::honest_line_pairs(world.world, facts(Part::Train)))
    with.push_back(pair.positive), without.push_back(pair.negative);
  const std::vector<Direction> refuse = vectors(world, sorry, ok), honest = vectors(world, with, without);
  const auto myths =
      stimuli::questions(world.world, stimuli::myths_among(world.world, facts(Part::Test)), Speaker::People);
  for (double c : kMultipliers) {
    for (const int64_t depth : {2, 3}) {
      const auto adding = [&](const Direction& v, int64_t marker) {
        return [&world, &v, depth, c, marker](Edits& e) {
          add(e, world.model, depth, v, c, {.marker = marker, .from_marker = true});
        };
      };
      const auto refused = [&](bool forbidden) {
        return under(world, adding(refuse[size_t(depth)], -1),
                     [&] { return reply_shares(world, stimuli::requests(Part::Test, forbidden)).refused; });
      };
      const auto truth = [&](const Direction& v) {
        return under(world, adding(v, 0), [&] { return mean_p_true(world, myths); });
      };
      s.refusal.keep(fmt::format("allowed requests refused, depth {}", depth), c, refused(false));
      s.refusal.keep(fmt::format("forbidden requests refused, depth {}", depth), c, refused(true));
      s.myths.keep(fmt::format("P(true) on myths, depth {}", depth), c, truth(honest[size_t(depth)]));
      s.myths.keep(fmt::format("random, depth {}", depth), c, truth(random_like(honest[size_t(depth)], 3)));
    }
  }
}

static int run(Study& s, Context& context) {
  Results results(context, s.options.out, "Contrastive activation addition",
                  "Behaviour vectors from pairs that differ in the answer only");
  for_each_model(s.options, context, [&](const WorldModel& world, const std::string&) {
    measure_mood(world, s, context), measure_refusal_and_myths(world, s);
  });
  for (const Curves* curves : {&s.layers, &s.mood, &s.fluency, &s.match, &s.refusal, &s.myths})
    show(results, *curves);
  results.claim(lowest(s.cached_equal) == 1, "decoding with the cache writes what full recomputation writes",
                spread(s.cached_equal, 2));
  return results.save();
}

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
                      .run = [&](Context& context) { return run(study, context); }});
}
