// ggml's block formats against the values of llama.cpp's own Python package.
#include "models/io/gguf_blocks.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "models/io/json.h"
#include "models/io/safetensors.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

const GgmlType kQuantised[] = {GgmlType::Q8_0, GgmlType::Q4_0, GgmlType::Q4_1, GgmlType::Q5_0,
                               GgmlType::Q5_1};

GgmlType type_called(const std::string& name) {
  for (uint32_t number = 0; number < 64; ++number)
    if (find_ggml_type(number) != nullptr && name == find_ggml_type(number)->name)
      return static_cast<GgmlType>(number);
  throw Error("no ggml type " + name);
}

std::vector<uint8_t> encoded(GgmlType type, const std::vector<float>& weights) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  std::vector<uint8_t> bytes(weights.size() / info.block_size * info.block_bytes);
  encode_blocks(type, weights, bytes);
  return bytes;
}

std::vector<float> decoded(GgmlType type, std::span<const uint8_t> bytes) {
  const GgmlTypeInfo& info = ggml_type_info(type);
  std::vector<float> weights(bytes.size() / info.block_bytes * info.block_size);
  decode_blocks(type, bytes, weights);
  return weights;
}

double rms(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return std::sqrt(sum / a.size());
}

struct GoldenCase {
  std::string name;
  GgmlType type;
  Safetensors file;
};

std::vector<GoldenCase> golden_cases() {
  std::vector<GoldenCase> cases;
  const std::string folder = golden_folder() + "/gguf_blocks/";
  const auto index = read_json(folder + "index.json");
  for (const auto& entry : index["cases"]) {
    const std::string name = entry["file"];
    cases.push_back({name, type_called(entry["type"]), read_safetensors(folder + name)});
    const GgmlTypeInfo& info = ggml_type_info(cases.back().type);
    EXPECT_EQ(info.block_size, entry["block_size"].get<int64_t>()) << name;
    EXPECT_EQ(info.block_bytes, entry["bytes_per_block"].get<int64_t>()) << name;
  }
  return cases;
}

TEST(GgufBlocksGolden, DecodingIsExactUpToFloatRounding) {
  SKIP_WITHOUT(golden_folder() + "/gguf_blocks/index.json");
  for (const GoldenCase& golden : golden_cases()) {
    const std::vector<float> expected = to_floats(golden.file.at("dequantized"));
    const std::vector<float> got = decoded(golden.type, golden.file.at("blocks").bytes);
    ASSERT_EQ(got.size(), expected.size()) << golden.name;
    // At most three roundings of terms d·scale·q and dmin·min; both are bounded by the largest magnitude of
    // the file, and their difference cancels by at most that much.
    float largest = 0;
    for (float x : expected) largest = std::max(largest, std::fabs(x));
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], 4 * 0x1p-24f * std::max(std::fabs(expected[i]), largest / 256))
          << golden.name << " weight " << i;
  }
}

TEST(GgufBlocksGolden, EncodingDiffersAtMostOnTies) {
  SKIP_WITHOUT(golden_folder() + "/gguf_blocks/index.json");
  for (const GoldenCase& golden : golden_cases()) {
    if (!golden.file.tensors.contains("x")) continue;
    const std::vector<float> x = to_floats(golden.file.at("x"));
    const std::span<const uint8_t> expected = golden.file.at("blocks").bytes;
    const std::vector<uint8_t> got = encoded(golden.type, x);
    ASSERT_EQ(got.size(), expected.size()) << golden.name;
    const GgmlTypeInfo& info = ggml_type_info(golden.type);
    const int header = golden.type == GgmlType::Q4_1 || golden.type == GgmlType::Q5_1 ? 4 : 2;
    int64_t different = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      if (static_cast<int64_t>(i) % info.block_bytes < header) {
        ASSERT_EQ(got[i], expected[i]) << golden.name << " scale byte " << i;
      }
      different += got[i] != expected[i];
    }
    EXPECT_LE(different, static_cast<int64_t>(got.size() / 200)) << golden.name;  // ties are rare
    // One level at most: the decoded values differ by no more than the block's own step.
    const std::vector<float> a = decoded(golden.type, got), b = decoded(golden.type, expected);
    for (size_t i = 0; i < a.size(); ++i) {
      uint16_t half;
      std::memcpy(&half, expected.data() + i / info.block_size * info.block_bytes, 2);
      ASSERT_LE(std::fabs(a[i] - b[i]), 1.001f * std::fabs(half_to_float(half)))
          << golden.name << " weight " << i;
    }
  }
}

TEST(GgufBlocks, ErrorOnNormalWeightsMatchesTheSheet) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(15360);
  for (float& value : x) value = normal(random);
  const double expected[] = {0.0054, 0.0853, 0.0777, 0.0425, 0.0};  // of an independent implementation
  for (int i = 0; i < 4; ++i) {
    const double error = rms(x, decoded(kQuantised[i], encoded(kQuantised[i], x)));
    EXPECT_NEAR(error, expected[i], 0.03 * expected[i]) << ggml_type_info(kQuantised[i]).name;
  }
}

TEST(GgufBlocks, AwkwardBlocksStayFinite) {
  for (const GgmlType type : kQuantised) {
    for (const float scale : {0.0f, 1e-45f, 1e-39f, 1e-30f, 1.0f, 6e4f}) {
      std::vector<float> x(32);
      for (int j = 0; j < 32; ++j) x[j] = scale * static_cast<float>(j - 16) / 16.0f;
      for (float value : decoded(type, encoded(type, x)))
        EXPECT_TRUE(std::isfinite(value)) << ggml_type_info(type).name << " " << scale;
    }
  }
}

TEST(GgufBlocks, RefusesPartialBlocksAndIntegers) {
  std::vector<float> weights(31);
  std::vector<uint8_t> bytes(34);
  EXPECT_THROW(decode_blocks(GgmlType::Q8_0, bytes, weights), Error);
  EXPECT_THROW(encode_blocks(GgmlType::Q8_0, weights, bytes), Error);
  EXPECT_EQ(find_ggml_type(99), nullptr);
  std::vector<uint8_t> integer(4);
  EXPECT_THROW(decode_blocks(GgmlType::I32, integer, std::span(weights).first(1)), Error);
}

}  // namespace
}  // namespace chalk
