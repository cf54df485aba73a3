#pragma once
// Counter-based random numbers (Philox 4x32-10; Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"):
// number i of a stream is a pure function of (seed, i). No state, so every backend, thread and resumed run agrees.

#include <array>
#include <cmath>
#include <cstdint>

namespace chalk {

// Four random words for one counter value. (constexpr also lets a GPU kernel call it.)
constexpr std::array<uint32_t, 4> philox(uint64_t seed, uint64_t counter) {
  uint32_t c0 = uint32_t(counter), c1 = uint32_t(counter >> 32), c2 = 0, c3 = 0;
  uint32_t k0 = uint32_t(seed), k1 = uint32_t(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t(0xD2511F53u) * c0;
    const uint64_t p1 = uint64_t(0xCD9E8D57u) * c2;
    c0 = uint32_t(p1 >> 32) ^ c1 ^ k0;
    c1 = uint32_t(p1);
    c2 = uint32_t(p0 >> 32) ^ c3 ^ k1;
    c3 = uint32_t(p0);
    k0 += 0x9E3779B9u;  // the golden ratio and √3 − 1: the "Weyl" key schedule
    k1 += 0xBB67AE85u;
  }
  return {c0, c1, c2, c3};
}

// Word i of the stream.
inline uint32_t random_word(uint64_t seed, uint64_t i) {
  return philox(seed, i / 4)[i % 4];
}

// Uniform in [0, 1): 24 bits, exact in float.
constexpr float uniform_of_word(uint32_t word) {
  return float(word >> 8) * 0x1p-24f;
}
inline float random_uniform(uint64_t seed, uint64_t i) {
  return uniform_of_word(random_word(seed, i));
}

// Standard normal by Box–Muller: numbers 2j and 2j + 1 share one pair of uniforms.
inline float random_normal(uint64_t seed, uint64_t i) {
  const std::array<uint32_t, 4> words = philox(seed, i / 2);
  const double u1 = (double(words[0]) + 1) * 0x1p-32;  // (0, 1]: log(0) cannot happen
  const double u2 = double(words[1]) * 0x1p-32;
  const double radius = std::sqrt(-2 * std::log(u1)), angle = 6.283185307179586 * u2;
  return float(i % 2 == 0 ? radius * std::cos(angle) : radius * std::sin(angle));
}

// A seed for a named use of a seed (dropout of layer 3 at step 17, ...), unrelated to its neighbours.
inline uint64_t derive_seed(uint64_t seed, uint64_t use) {
  const std::array<uint32_t, 4> words = philox(seed, use);
  return uint64_t(words[2]) << 32 | words[3];
}

}  // namespace chalk
