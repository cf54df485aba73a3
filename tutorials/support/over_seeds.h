#pragma once
// One number measured at several seeds (or on several models): a vector with one value each.

#include <string>
#include <vector>

namespace chalk {

double mean_of(const std::vector<double>& values);  // 0 when there is none
double lowest(const std::vector<double>& values);   // NaN when there is none
double highest(const std::vector<double>& values);  // NaN when there is none
std::vector<double> difference(const std::vector<double>& a,
                               const std::vector<double>& b);  // a − b, seed by seed

// Mean, lowest and highest: "0.612 (0.604..0.620)"; of one value "0.612"; of none "-".
std::string spread(const std::vector<double>& values, int decimals = 3);

}  // namespace chalk
