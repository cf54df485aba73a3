// The angles of rotary position embeddings: frequencies, their scaling rules, the tables of cos and sin.

#include "kernels/rope.h"

#include <cmath>

namespace chalk {

// Llama-3.1's rule for one frequency: short wavelengths are kept, long ones divided by `factor`, with
// a blend between.
static double llama3_frequency(double f, const FrequencyScaling& scaling) {
  const double wavelength = 2 * 3.141592653589793 / f;
  const double low = scaling.low_freq_factor, high = scaling.high_freq_factor;
  if (wavelength < scaling.original_context / high) return f;
  if (wavelength > scaling.original_context / low) return f / scaling.factor;
  // s = (original/w − low) / (high − low)      f' = (1 − s) · f/factor + s · f
  const double s = (scaling.original_context / wavelength - low) / (high - low);
  return (1 - s) * f / scaling.factor + s * f;
}

void rope_frequencies(double* frequencies, int64_t D, double theta, const FrequencyScaling& scaling) {
  for (int64_t i = 0; i < D / 2; ++i) {
    // f_i = theta^(−2i/D)
    const double f = std::pow(theta, -2.0 * double(i) / double(D));
    switch (scaling.type) {
      case FrequencyScaling::Type::None:
        frequencies[i] = f;
        break;
      case FrequencyScaling::Type::Linear:  // positions divided by `factor` (position interpolation)
        frequencies[i] = f / scaling.factor;
        break;
      case FrequencyScaling::Type::Llama3:
        frequencies[i] = llama3_frequency(f, scaling);
        break;
    }
  }
}

void rope_table(float* cos, float* sin, const int32_t* positions, int64_t T, const double* frequencies,
                int64_t D) {
  const int64_t half = D / 2;
  for (int64_t t = 0; t < T; ++t) {
    for (int64_t i = 0; i < half; ++i) {
      const double angle = double(positions[t]) * frequencies[i];
      cos[t * half + i] = float(std::cos(angle));
      sin[t * half + i] = float(std::sin(angle));
    }
  }
}

}  // namespace chalk
