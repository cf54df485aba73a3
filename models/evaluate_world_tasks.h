#pragma once
// Multiple choice about Creature Town in the form of the well-known benchmarks, so that acc, acc_norm and acc_token can be
// compared on a model that was trained in minutes.
#include <vector>

#include "models/evaluate_files.h"
#include "models/text/world.h"

namespace chalk {

// 500 examples each:
//   world_piqa       what a goal needs, the right tool or a wrong one; one of the two carries a color, so lengths differ
//   world_arc        a fact, four values to choose from, honest speaker
//   world_hellaswag  four endings of a story: right, wrong name, wrong possessive, wrong object or color
std::vector<Task> world_tasks(const World& world, int64_t count = 500, uint64_t seed = kWorldEvaluationSeed);

// Words to ids of world_vocabulary(), <bos> in front.
TextEncoder world_encoder();

}  // namespace chalk
