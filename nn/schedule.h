#pragma once
// Learning-rate schedules: a pure function of the step, as a factor of the peak rate.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "autograd/check.h"

namespace chalk {

struct Schedule {
  enum class Kind { Constant, Cosine, Linear, WSD } kind = Kind::Cosine;
  int64_t warmup = 0;  // steps from 0 to the peak
  int64_t total = 1;   // steps in all
  double floor = 0.1;  // factor at the end
  double decay_fraction =
      0.2;  // WSD (warm-up, stable, decay): the share of the steps after warm-up that decay, at the end

  // step counts from 0; warm-up's first step already has factor 1/warmup.
  double factor(int64_t step) const {
    if (step < warmup) return double(step + 1) / double(warmup);
    const double progress =
        std::min(1.0, double(step - warmup) / double(std::max<int64_t>(total - warmup, 1)));
    switch (kind) {
      case Kind::Constant:
        return 1;
      case Kind::Cosine:
        return floor + (1 - floor) * 0.5 * (1 + std::cos(3.141592653589793 * progress));
      case Kind::Linear:
        return 1 - (1 - floor) * progress;
      case Kind::WSD: {
        const double start = 1 - decay_fraction;
        return progress <= start ? 1 : 1 - (1 - floor) * (progress - start) / decay_fraction;
      }
    }
    return 1;
  }
};

inline Schedule::Kind schedule_by_name(const std::string& name) {
  if (name == "constant") return Schedule::Kind::Constant;
  if (name == "cosine") return Schedule::Kind::Cosine;
  if (name == "linear") return Schedule::Kind::Linear;
  if (name == "wsd") return Schedule::Kind::WSD;
  throw UsageError("unknown schedule \"" + name + "\"; known are constant, cosine, linear, wsd");
}

}  // namespace chalk
