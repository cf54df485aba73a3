#include "tutorials/support/over_seeds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace chalk {

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / double(std::max<size_t>(1, values.size()));
}

double lowest(const std::vector<double>& values) {
  return values.empty() ? NAN : *std::min_element(values.begin(), values.end());
}

double highest(const std::vector<double>& values) {
  return values.empty() ? NAN : *std::max_element(values.begin(), values.end());
}

std::vector<double> difference(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> result;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) result.push_back(a[i] - b[i]);
  return result;
}

std::string spread(const std::vector<double>& values, int decimals) {
  if (values.empty()) return "-";
  const std::string mean = fmt::format("{:.{}f}", mean_of(values), decimals);
  if (values.size() == 1) return mean;
  return fmt::format("{} ({:.{}f}..{:.{}f})", mean, lowest(values), decimals, highest(values), decimals);
}

}  // namespace chalk
