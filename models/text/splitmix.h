#pragma once
// SplitMix64 (Steele, Lea, Flood 2014) and FNV-1a: the generator's only sources of chance, written out in full so that
// the same seed gives the same text in any language on any machine. The standard <random> distributions do not promise that.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace chalk {

struct SplitMix64 {
  explicit SplitMix64(uint64_t seed) : x(seed) {}

  uint64_t next() {
    x += 0x9E3779B97F4A7C15u;
    uint64_t z = x;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }

  // Uniform in 0 ... n-1, n < 2^32. The high half is used: it is scaled, so there is no modulo.
  uint64_t below(uint64_t n) { return ((next() >> 32) * n) >> 32; }

  // Uniform in [0, 1), a multiple of 2^-53.
  double unit() { return double(next() >> 11) * 0x1p-53; }

  bool coin() { return below(2) == 0; }

  template <class T>
  const T& pick(const std::vector<T>& values) {
    return values[below(values.size())];
  }

  // Fisher-Yates from the end.
  template <class T>
  void shuffle(std::vector<T>& values) {
    for (size_t i = values.size(); i-- > 1;) std::swap(values[i], values[below(i + 1)]);
  }

  // Index i with probability weights[i] / sum: the first whose running sum exceeds u = unit() * sum.
  size_t weighted(const std::vector<double>& weights) {
    double sum = 0;
    for (double w : weights) sum += w;
    const double u = unit() * sum;
    double running = 0;
    for (size_t i = 0; i < weights.size(); i++) {
      running += weights[i];
      if (running > u) return i;
    }
    return weights.size() - 1;  // u can round up to the sum itself
  }

  uint64_t x;  // the whole state
};

inline uint64_t fnv1a64(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (char c : text) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  return hash;
}

// Is the thing named `key` kept out of the training text? Depends on the name alone, never on the order of generation,
// so that a change in one document type cannot move another's held-out set.
inline bool heldout(std::string_view key, double share) {
  return SplitMix64(fnv1a64(key)).unit() < share;
}

}  // namespace chalk
