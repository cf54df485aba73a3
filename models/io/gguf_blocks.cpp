#include "models/io/gguf_blocks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "autograd/check.h"
#include "models/io/dtype.h"

namespace chalk {
namespace {

constexpr GgmlTypeInfo kTypes[] = {
    {GgmlType::F32, "F32", 1, 4},       {GgmlType::F16, "F16", 1, 2},
    {GgmlType::BF16, "BF16", 1, 2},     {GgmlType::F64, "F64", 1, 8},
    {GgmlType::I8, "I8", 1, 1},         {GgmlType::I16, "I16", 1, 2},
    {GgmlType::I32, "I32", 1, 4},       {GgmlType::I64, "I64", 1, 8},
    {GgmlType::Q4_0, "Q4_0", 32, 18},   {GgmlType::Q4_1, "Q4_1", 32, 20},
    {GgmlType::Q5_0, "Q5_0", 32, 22},   {GgmlType::Q5_1, "Q5_1", 32, 24},
    {GgmlType::Q8_0, "Q8_0", 32, 34},   {GgmlType::Q2_K, "Q2_K", 256, 84},
    {GgmlType::Q3_K, "Q3_K", 256, 110}, {GgmlType::Q4_K, "Q4_K", 256, 144},
    {GgmlType::Q5_K, "Q5_K", 256, 176}, {GgmlType::Q6_K, "Q6_K", 256, 210},
};

float load_half(const uint8_t* bytes) {
  uint16_t half;
  std::memcpy(&half, bytes, 2);
  return half_to_float(half);
}

void store_half(uint8_t* bytes, float value) {
  const uint16_t half = float_to_half(value);
  std::memcpy(bytes, &half, 2);
}

// ---- 32 weights a block
// --------------------------------------------------------------------------------------------

void decode_q8_0(const uint8_t* block, float* weights) {
  const float d = load_half(block);
  for (int j = 0; j < 32; ++j) weights[j] = d * static_cast<int8_t>(block[2 + j]);
}

void encode_q8_0(const float* weights, uint8_t* block) {
  float largest = 0.0f;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::fabs(weights[j]));
  const float d = largest / 127.0f;
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  store_half(block, d);
  for (int j = 0; j < 32; ++j) {
    // q = round(x / d), halves away from zero. The clamp only acts where 1/d overflows (d below 2⁻¹²⁸).
    const float q = std::round(weights[j] * inverse);
    block[2 + j] = static_cast<uint8_t>(static_cast<int8_t>(q > -127.0f ? std::min(q, 127.0f) : -127.0f));
  }
}

// Nibbles of a 32-weight block: byte j holds weight j below and weight j + 16 above.
int nibble(const uint8_t* nibbles, int j) {
  return j < 16 ? nibbles[j] & 15 : nibbles[j - 16] >> 4;
}

void set_nibble(uint8_t* nibbles, int j, int q) {
  if (j < 16)
    nibbles[j] = static_cast<uint8_t>(q);
  else
    nibbles[j - 16] |= static_cast<uint8_t>(q << 4);
}

// Q4_0 and Q5_0: codes 0..2c around the centre c, 8 or 16.  Q4_1 and Q5_1: codes from a minimum m.
// Q5 keeps the fifth bit of weight j as bit j of one 32-bit word in front of the nibbles.
struct Codes {
  int q[32];
};

Codes load_codes(const uint8_t* bytes, bool five_bits) {
  uint32_t high = 0;
  if (five_bits) std::memcpy(&high, bytes, 4);
  const uint8_t* nibbles = bytes + (five_bits ? 4 : 0);
  Codes codes;
  for (int j = 0; j < 32; ++j) codes.q[j] = nibble(nibbles, j) | static_cast<int>(high >> j & 1) << 4;
  return codes;
}

void store_codes(const Codes& codes, uint8_t* bytes, bool five_bits) {
  uint32_t high = 0;
  for (int j = 0; j < 32; ++j) high |= static_cast<uint32_t>(codes.q[j] >> 4) << j;
  if (five_bits) std::memcpy(bytes, &high, 4);
  uint8_t* nibbles = bytes + (five_bits ? 4 : 0);
  for (int j = 0; j < 32; ++j) set_nibble(nibbles, j, codes.q[j] & 15);
}

// Truncation into 0..largest. A NaN (0 · infinity, in a block so small that 1/d overflows) becomes 0.
int truncated(float level, int largest) {
  if (!(level > 0.0f)) return 0;
  return level >= static_cast<float>(largest) ? largest : static_cast<int>(level);
}

void decode_centred(const uint8_t* block, float* weights, bool five_bits) {
  const float d = load_half(block);
  const int centre = five_bits ? 16 : 8;
  const Codes codes = load_codes(block + 2, five_bits);
  for (int j = 0; j < 32; ++j) weights[j] = d * static_cast<float>(codes.q[j] - centre);
}

// d = (the weight of largest magnitude, with its sign) / −centre: that weight gets code 0 and is exact but
// for the rounding of d; on the other side codes end one short. q = int(x/d + centre + ½).
void encode_centred(const float* weights, uint8_t* block, bool five_bits) {
  const int centre = five_bits ? 16 : 8;
  float extreme = 0.0f;
  for (int j = 0; j < 32; ++j)
    if (std::fabs(weights[j]) > std::fabs(extreme)) extreme = weights[j];
  const float d = extreme / static_cast<float>(-centre);
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  Codes codes;
  for (int j = 0; j < 32; ++j)
    codes.q[j] = truncated(weights[j] * inverse + (static_cast<float>(centre) + 0.5f), 2 * centre - 1);
  store_half(block, d);
  store_codes(codes, block + 2, five_bits);
}

void decode_with_min(const uint8_t* block, float* weights, bool five_bits) {
  const float d = load_half(block), m = load_half(block + 2);
  const Codes codes = load_codes(block + 4, five_bits);
  for (int j = 0; j < 32; ++j) weights[j] = d * static_cast<float>(codes.q[j]) + m;
}

// m = min, d = (max − min) / levels, q = int((x − m)/d + ½).
void encode_with_min(const float* weights, uint8_t* block, bool five_bits) {
  const int levels = five_bits ? 31 : 15;
  float min = weights[0], max = weights[0];
  for (int j = 1; j < 32; ++j) min = std::min(min, weights[j]), max = std::max(max, weights[j]);
  const float d = (max - min) / static_cast<float>(levels);
  const float inverse = d != 0.0f ? 1.0f / d : 0.0f;
  Codes codes;
  for (int j = 0; j < 32; ++j) codes.q[j] = truncated((weights[j] - min) * inverse + 0.5f, levels);
  store_half(block, d);
  store_half(block + 2, min);
  store_codes(codes, block + 4, five_bits);
}

// ---- 256 weights a block ("K-quants"): sub-blocks whose scales are quantised themselves
// -----------------------------

void decode_q2_k(const uint8_t* block, float* weights) {
  const uint8_t* scales = block;      // 16: low nibble scale, high nibble min
  const uint8_t* codes = block + 16;  // 64 bytes of four 2-bit codes
  const float d = load_half(block + 80), dmin = load_half(block + 82);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128,
              shift = i % 128 / 32 * 2;  // 32 bytes serve 128 weights, 32 weights for each bit pair
    const int q = codes[half * 32 + i % 32] >> shift & 3;
    const uint8_t sub_block = scales[i / 16];
    weights[i] = d * static_cast<float>(sub_block & 15) * static_cast<float>(q) -
                 dmin * static_cast<float>(sub_block >> 4);
  }
}

// Scale k of the sixteen 6-bit scales in 12 bytes: low 4 bits in the nibbles of bytes 0-7, high 2 bits in
// bytes 8-11.
int q3_k_scale(const uint8_t* packed, int k) {
  const int low = k < 8 ? packed[k] & 15 : packed[k - 8] >> 4;
  const int high = packed[8 + k % 4] >> (2 * (k / 4)) & 3;
  return (low | high << 4) - 32;
}

void decode_q3_k(const uint8_t* block, float* weights) {
  const uint8_t* high_bits = block;   // 32 bytes; bit i/32 of byte i%32 belongs to weight i
  const uint8_t* codes = block + 32;  // 64 bytes of four 2-bit codes, as in Q2_K
  const uint8_t* scales = block + 96;
  const float d = load_half(block + 108);
  for (int i = 0; i < 256; ++i) {
    const int low = codes[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int high = high_bits[i % 32] >> (i / 32) & 1;
    const int q = low | high << 2;  // 0..7
    weights[i] = d * static_cast<float>(q3_k_scale(scales, i / 16)) * static_cast<float>(q - 4);
  }
}

// Scale and min k of the eight pairs of 6-bit numbers in the 12 bytes b.
struct ScaleMin {
  int scale, min;
};

ScaleMin k4_scale_min(const uint8_t* b, int k) {
  if (k < 4) return {b[k] & 63, b[k + 4] & 63};
  return {(b[k + 4] & 15) | (b[k - 4] >> 6) << 4, b[k + 4] >> 4 | (b[k] >> 6) << 4};
}

// Q4_K and Q5_K. 32 nibble bytes serve two sub-blocks of 32 weights: low nibbles the first, high nibbles the
// second.
void decode_q4_k(const uint8_t* block, float* weights, bool five_bits) {
  const float d = load_half(block), dmin = load_half(block + 2);
  const uint8_t* scales = block + 4;
  const uint8_t* high_bits = block + 16;  // Q5_K: bit k of byte i%32 for weight i of sub-block k
  const uint8_t* nibbles = block + (five_bits ? 48 : 16);
  for (int k = 0; k < 8; ++k) {
    const ScaleMin pair = k4_scale_min(scales, k);
    const float scale = d * static_cast<float>(pair.scale), min = dmin * static_cast<float>(pair.min);
    for (int l = 0; l < 32; ++l) {
      int q = nibbles[k / 2 * 32 + l] >> (k % 2 * 4) & 15;
      if (five_bits) q |= (high_bits[l] >> k & 1) << 4;
      weights[k * 32 + l] = scale * static_cast<float>(q) - min;
    }
  }
}

// Each half of 128 weights has 64 nibble bytes, 32 bytes of four 2-bit high parts and 8 scales.
void decode_q6_k(const uint8_t* block, float* weights) {
  const uint8_t* nibbles = block;
  const uint8_t* high_parts = block + 128;
  const uint8_t* scales = block + 192;  // int8, one for 16 weights
  const float d = load_half(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int low = nibbles[half * 64 + quarter % 2 * 32 + l] >> (quarter / 2 * 4) & 15;
    const int high = high_parts[half * 32 + l] >> (2 * quarter) & 3;
    const int q = low | high << 4;  // 0..63
    weights[i] = d * static_cast<float>(static_cast<int8_t>(scales[i / 16])) * static_cast<float>(q - 32);
  }
}

void decode_block(GgmlType type, const uint8_t* block, float* weights) {
  switch (type) {
    case GgmlType::F32:
      std::memcpy(weights, block, 4);
      return;
    case GgmlType::F16:
      *weights = load_half(block);
      return;
    case GgmlType::BF16:
      *weights = bf16_to_float(static_cast<uint16_t>(block[0] | block[1] << 8));
      return;
    case GgmlType::Q8_0:
      return decode_q8_0(block, weights);
    case GgmlType::Q4_0:
      return decode_centred(block, weights, false);
    case GgmlType::Q5_0:
      return decode_centred(block, weights, true);
    case GgmlType::Q4_1:
      return decode_with_min(block, weights, false);
    case GgmlType::Q5_1:
      return decode_with_min(block, weights, true);
    case GgmlType::Q2_K:
      return decode_q2_k(block, weights);
    case GgmlType::Q3_K:
      return decode_q3_k(block, weights);
    case GgmlType::Q4_K:
      return decode_q4_k(block, weights, false);
    case GgmlType::Q5_K:
      return decode_q4_k(block, weights, true);
    case GgmlType::Q6_K:
      return decode_q6_k(block, weights);
    default:
      throw Error(fmt::format("ggml type {} cannot be read as float", ggml_type_info(type).name));
  }
}

void encode_block(GgmlType type, const float* weights, uint8_t* block) {
  const uint16_t bf16 = float_to_bf16(*weights);
  switch (type) {
    case GgmlType::F32:
      std::memcpy(block, weights, 4);
      return;
    case GgmlType::F16:
      return store_half(block, *weights);
    case GgmlType::BF16:
      std::memcpy(block, &bf16, 2);
      return;
    case GgmlType::Q8_0:
      return encode_q8_0(weights, block);
    case GgmlType::Q4_0:
      return encode_centred(weights, block, false);
    case GgmlType::Q5_0:
      return encode_centred(weights, block, true);
    case GgmlType::Q4_1:
      return encode_with_min(weights, block, false);
    case GgmlType::Q5_1:
      return encode_with_min(weights, block, true);
    default:
      throw Error(fmt::format("ggml type {} cannot be written", ggml_type_info(type).name));
  }
}

int64_t whole_blocks(const GgmlTypeInfo& info, size_t weights, size_t bytes) {
  const int64_t blocks = static_cast<int64_t>(weights) / info.block_size;
  check(blocks * info.block_size == static_cast<int64_t>(weights) &&
            blocks * info.block_bytes == static_cast<int64_t>(bytes),
        "ggml {}: {} weights in {} bytes are no whole blocks of {} weights in {} bytes", info.name, weights,
        bytes, info.block_size, info.block_bytes);
  return blocks;
}

}  // namespace

const GgmlTypeInfo* find_ggml_type(uint32_t number) {
  for (const GgmlTypeInfo& info : kTypes)
    if (static_cast<uint32_t>(info.type) == number) return &info;
  return nullptr;
}

const GgmlTypeInfo& ggml_type_info(GgmlType type) {
  const GgmlTypeInfo* info = find_ggml_type(static_cast<uint32_t>(type));
  check(info != nullptr, "ggml type {} is unknown", static_cast<uint32_t>(type));
  return *info;
}

void decode_blocks(GgmlType type, std::span<const uint8_t> bytes, std::span<float> weights) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const int64_t blocks = whole_blocks(info, weights.size(), bytes.size());
  for (int64_t i = 0; i < blocks; ++i)
    decode_block(type, bytes.data() + i * info.block_bytes, weights.data() + i * info.block_size);
}

void encode_blocks(GgmlType type, std::span<const float> weights, std::span<uint8_t> bytes) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  const int64_t blocks = whole_blocks(info, weights.size(), bytes.size());
  for (int64_t i = 0; i < blocks; ++i)
    encode_block(type, weights.data() + i * info.block_size, bytes.data() + i * info.block_bytes);
}

}  // namespace chalk
