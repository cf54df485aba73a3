// One pair of prompts, very happy minus very sad, added to the front of a neutral request: what mood does the reply have?

#include "papers/steering/activation_addition.h"

#include "tutorials/support/mood.h"
#include "tutorials/support/steering.h"

using namespace chalk;
using namespace chalk::actadd;

// What is measured, over all models.
struct Study {
  SteeringOptions options{.out = "runs/activation_addition"};
  int64_t block = 1, samples = 1;
  Curves happy{
      "moods", "c", "Mood of the replies", "share of happy words",
      "A neutral request has a random mood: 1/6. In the other one the pair meets the adjective's place."},
      fluency{"fluency", "c", "Fluency", "perplexity of the replies under the plain model",
              "Sampled at temperature 1."},
      blocks{"blocks", "block", "Where to add", "share of happy words, asked to be afraid",
             "Entering block 0 the difference is that of two word embeddings."};
  std::vector<double> cached_equal;
};

static Addition very(const WorldModel& world, const std::string& plus, const std::string& minus,
                     int64_t block) {
  const auto prompt = [&](const std::string& mood) {
    return world.ids("<bos> <user> act as if you are very " + mood);
  };
  return activation_difference(world.model, prompt(plus), prompt(minus), block, world.id("<pad>"));
}

// Rows of the same lengths in random directions.
static Addition random_rows_like(const Addition& a) {
  Addition random = a;
  for (int64_t t = 0; t < a.length(); ++t) {
    double square = 0;
    for (int64_t j = 0; j < a.width; ++j) square += std::pow(double(a.rows[size_t(t * a.width + j)]), 2);
    const Direction r = square > 0 ? random_direction(a.width, std::sqrt(square), uint64_t(t))
                                   : Direction(size_t(a.width), 0.0);
    for (int64_t j = 0; j < a.width; ++j) random.rows[size_t(t * a.width + j)] = float(r[size_t(j)]);
  }
  return random;
}

static void measure(const WorldModel& world, Study& s) {
  const auto talk_with = [&](const Addition& a, double c, const std::string& adjective) {
    return talk(world, stimuli::mood_prompts(adjective), s.samples,
                [&](Edits& edits) { add(edits, world.model, a, c, Passes::Continue); });
  };
  const Addition a = very(world, "happy", "sad", s.block);
  // The pair whose second word is the prompt's own: at c = 1 the stream at that place becomes that of "very happy".
  const Addition own = very(world, "happy", "afraid", s.block), random = random_rows_like(own);
  for (double c : {-4.0, -2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 4.0}) {
    const auto keep = [&](const std::string& name, const Addition& rows, const std::string& adjective) {
      const Talk t = talk_with(rows, c, adjective);
      s.happy.keep(name + ": happy words", c, t.happy), s.fluency.keep(name, c, t.perplexity);
    };
    keep("neutral request, happy - sad", a, "");
    keep("asked to be afraid, happy - sad", a, "afraid");
    keep("asked to be afraid, happy - afraid", own, "afraid");
    keep("asked to be afraid, random rows", random, "afraid");
  }
  for (int64_t b = 0; b < block_count(world.model); ++b) {
    s.blocks.keep("happy - sad, c = 4", double(b),
                  talk_with(very(world, "happy", "sad", b), 4, "afraid").happy);
    s.blocks.keep("happy - afraid, c = 1", double(b),
                  talk_with(very(world, "happy", "afraid", b), 1, "afraid").happy);
  }
  std::vector<std::string> some;
  for (size_t i = 0; i < stimuli::mood_prompts().size(); i += 4) some.push_back(stimuli::mood_prompts()[i]);
  s.cached_equal.push_back(cached_equals_full(
      world, some, [&](Edits& edits, Passes passes, int64_t) { add(edits, world.model, a, 4, passes); }));
}

static int run(Study& s, Context& context) {
  Results results(context, s.options.out, "Activation addition",
                  "\"very happy\" minus \"very sad\", added to the front of a neutral request");
  for_each_model(s.options, context, [&](const WorldModel& world, const std::string&) { measure(world, s); });
  for (const Curves* curves : {&s.happy, &s.fluency, &s.blocks}) show(results, *curves);
  results.claim(lowest(s.cached_equal) == 1, "decoding with the cache writes what full recomputation writes",
                spread(s.cached_equal, 2));
  return results.save();
}

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
       .run = [&](Context& context) { return run(study, context); }});
}
