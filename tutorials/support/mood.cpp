#include "tutorials/support/mood.h"

#include <algorithm>
#include <cmath>

namespace chalk {

Talk talk(const WorldModel& world, const std::vector<std::string>& requests, int64_t samples,
          const std::function<void(Edits&)>& edit) {
  std::vector<std::string> prompts, said;
  for (int64_t s = 0; s < samples; ++s) {
    const std::vector<std::string> written = replies(world, requests, 16, 1, uint64_t(s), edit);
    prompts.insert(prompts.end(), requests.begin(), requests.end());
    said.insert(said.end(), written.begin(), written.end());
  }
  double happy = 0, sad = 0, total = 0;
  for (const std::string& text : said) {
    const stimuli::MoodCount count = stimuli::count_moods(text);
    happy += count.by_emotion[0], sad += count.by_emotion[1], total += count.total;
  }
  total = std::max(total, 1.0);
  return {happy / total, sad / total, std::exp(-reply_log_probability(world, prompts, said))};
}

// The greedy reply of at most `tokens` tokens, without a cache.
static std::string full_reply(const WorldModel& world, const std::string& request, int tokens,
                              const std::function<void(Edits&, Passes, int64_t prompt_tokens)>& steer) {
  std::string text = request;
  for (int t = 0; t < tokens; ++t) {
    Edits edits(world.model.hooks);
    steer(edits, Passes::WholeTexts, int64_t(world.ids(request).size()));
    const Samples logits = next_logits(world.model, {world.ids(text)});
    const auto best = std::max_element(logits.x.begin(), logits.x.end());
    const std::string word = world.tokenizer.token(int32_t(best - logits.x.begin()));
    if (word == "<eot>" || word == "<eos>") break;
    text += " " + word;
  }
  return text.substr(std::min(text.size(), request.size() + 1));
}

double cached_equals_full(const WorldModel& world, const std::vector<std::string>& requests,
                          const std::function<void(Edits&, Passes, int64_t prompt_tokens)>& steer) {
  double equal = 0;
  for (const std::string& request : requests) {
    const std::vector<std::string> cached = replies(world, {request}, 8, 0, 0, [&](Edits& edits) {
      steer(edits, Passes::Continue, int64_t(world.ids(request).size()));
    });
    equal += full_reply(world, request, 8, steer) == cached[0];
  }
  return equal / double(requests.size());
}

}  // namespace chalk
