#pragma once
// Steering the mood of replies: what both papers that add a vector to it measure.

#include "models/world_behaviour.h"

namespace chalk {

struct Talk {
  double happy = 0, sad = 0;  // shares of the mood words
  double perplexity = 0;      // of the replies under the model without the edit
};
// `samples` replies to each request, at temperature 1. `edit` as in replies().
Talk talk(const WorldModel& world, const std::vector<std::string>& requests, int64_t samples,
          const std::function<void(Edits&)>& edit);

// Greedy replies of up to 8 tokens with the cache against running everything again for each token: the share of requests
// whose replies are equal. steer() adds the edit for one text whose prompt has so many tokens.
double cached_equals_full(const WorldModel& world, const std::vector<std::string>& requests,
                          const std::function<void(Edits&, Passes, int64_t prompt_tokens)>& steer);

}  // namespace chalk
