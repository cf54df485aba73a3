// SHA-256. Source: FIPS 180-4, sections 4.1.2, 5 and 6.2; names as there.
#include "models/io/sha256.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>

#include "autograd/check.h"

namespace chalk {
namespace {

// The first 32 bits of the fractional part of the `root`-th root (2 or 3) of the first primes. Long double
// holds the 32 bits behind the point and the few before it with 20 bits to spare.
template <size_t N>
std::array<uint32_t, N> fractions_of_roots(int root) {
  std::array<uint32_t, N> bits;
  size_t found = 0;
  for (int n = 2; found < N; n++) {
    bool is_prime = true;
    for (int d = 2; d * d <= n; d++) is_prime = is_prime && n % d != 0;
    if (!is_prime) continue;
    const long double x = root == 2 ? std::sqrt((long double)n) : std::cbrt((long double)n);
    bits[found++] = uint32_t((x - std::floor(x)) * 4294967296.0L);
  }
  return bits;
}

using State = std::array<uint32_t, 8>;

void add_block(State& H, const uint8_t* block) {
  static const std::array<uint32_t, 64> K = fractions_of_roots<64>(3);
  uint32_t W[64];
  for (int t = 0; t < 16; t++) {
    W[t] = uint32_t(block[4 * t]) << 24 | block[4 * t + 1] << 16 | block[4 * t + 2] << 8 | block[4 * t + 3];
  }
  for (int t = 16; t < 64; t++) {
    const uint32_t s0 = std::rotr(W[t - 15], 7) ^ std::rotr(W[t - 15], 18) ^ W[t - 15] >> 3;
    const uint32_t s1 = std::rotr(W[t - 2], 17) ^ std::rotr(W[t - 2], 19) ^ W[t - 2] >> 10;
    W[t] = s1 + W[t - 7] + s0 + W[t - 16];
  }
  auto [a, b, c, d, e, f, g, h] = H;
  for (int t = 0; t < 64; t++) {
    const uint32_t S1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
    const uint32_t S0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
    const uint32_t T1 = h + S1 + ((e & f) ^ (~e & g)) + K[t] + W[t];
    const uint32_t T2 = S0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g, g = f, f = e, e = d + T1;
    d = c, c = b, b = a, a = T1 + T2;
  }
  const State added = {a, b, c, d, e, f, g, h};
  for (int i = 0; i < 8; i++) H[i] += added[i];
}

}  // namespace

std::string sha256(std::string_view bytes) {
  State H = fractions_of_roots<8>(2);
  const size_t whole = bytes.size() / 64 * 64;
  for (size_t i = 0; i < whole; i += 64) add_block(H, reinterpret_cast<const uint8_t*>(bytes.data()) + i);
  // The rest, one bit 1, zeros up to 8 bytes before a full block, and the length in bits, big-endian.
  std::string tail(bytes.substr(whole));
  tail += char(0x80);
  while (tail.size() % 64 != 56) tail += '\0';
  for (int shift = 56; shift >= 0; shift -= 8) tail += char(uint64_t(bytes.size()) * 8 >> shift);
  for (size_t i = 0; i < tail.size(); i += 64)
    add_block(H, reinterpret_cast<const uint8_t*>(tail.data()) + i);
  std::string digest;
  for (const uint32_t word : H) digest += fmt::format("{:08x}", word);
  return digest;
}

}  // namespace chalk
