#pragma once
// One number measured at several seeds: its mean, and how far the seeds lie apart.

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

namespace chalk {

struct OverSeeds {
  std::vector<double> values;

  void add(double value) { values.push_back(value); }
  double mean() const {
    return std::accumulate(values.begin(), values.end(), 0.0) / double(std::max<size_t>(1, values.size()));
  }
  double min() const { return *std::min_element(values.begin(), values.end()); }
  double max() const { return *std::max_element(values.begin(), values.end()); }

  // "0.612 (0.604 to 0.620)"; one seed: "0.612"; none: "-"
  std::string text(int decimals = 3) const {
    if (values.empty()) return "-";
    if (values.size() == 1) return fmt::format("{:.{}f}", mean(), decimals);
    return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", mean(), decimals, min(), decimals, max(), decimals);
  }
};

// a − b, seed by seed.
inline OverSeeds difference(const OverSeeds& a, const OverSeeds& b) {
  OverSeeds result;
  for (size_t i = 0; i < std::min(a.values.size(), b.values.size()); ++i)
    result.add(a.values[i] - b.values[i]);
  return result;
}

}  // namespace chalk
