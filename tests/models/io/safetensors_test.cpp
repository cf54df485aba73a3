// safetensors: exact round trips, files of the reference library, and every attack of the format's checklist.
#include "models/io/safetensors.h"

#include <cstring>

#include "tests/models/io/paths.h"

namespace chalk {
namespace {

// A file with this header text and this many bytes of data.
std::vector<uint8_t> file_of(const std::string& header, size_t data_bytes = 0, int64_t length = -1) {
  const uint64_t n = length >= 0 ? static_cast<uint64_t>(length) : header.size();
  std::vector<uint8_t> bytes(8 + header.size() + data_bytes);
  std::memcpy(bytes.data(), &n, 8);
  std::memcpy(bytes.data() + 8, header.data(), header.size());
  return bytes;
}

std::string refusal(const std::vector<uint8_t>& bytes) {
  return file_error([&] { parse_safetensors(bytes, "x.safetensors"); });
}

TEST(Safetensors, SmallestValidFile) {
  const std::vector<uint8_t> bytes =
      file_of(R"({"test":{"dtype":"I32","shape":[2,0],"data_offsets":[0, 0]}})");
  const Safetensors file = parse_safetensors(bytes, "x");
  EXPECT_EQ(file.at("test").shape, (std::vector<int64_t>{2, 0}));
  EXPECT_EQ(file.at("test").dtype, DType::I32);
  EXPECT_TRUE(parse_safetensors(file_of("{}"), "x").tensors.empty());
  EXPECT_NO_THROW(parse_safetensors(file_of("{}     "), "x"));
}

TEST(Safetensors, RoundTripIsExactAndDeterministic) {
  const TemporaryFolder folder;
  const std::vector<float> floats = {1.5f, -0.0f, 1e-45f, INFINITY, 3.0f, 4.0f};
  const std::vector<uint8_t> odd = {1, 2, 3};
  const std::vector<int64_t> ids = {-1, INT64_MAX};
  const auto bytes_of = [](const auto& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * sizeof(v[0]));
  };
  const std::vector<ArrayView> arrays = {{"b", DType::U8, {3}, odd},
                                         {"a", DType::F32, {2, 3}, bytes_of(floats)},
                                         {"scalar", DType::F32, {}, bytes_of(floats).first(4)},
                                         {"ids", DType::I64, {2}, bytes_of(ids)},
                                         {"empty", DType::BF16, {0, 7}, {}}};
  const std::map<std::string, std::string> metadata = {{"format", "pt"}, {"note", "quote \" and \u00e9"}};
  write_safetensors(folder.file("x"), arrays, metadata);
  std::vector<ArrayView> reversed(arrays.rbegin(), arrays.rend());
  write_safetensors(folder.file("y"), reversed, metadata);
  EXPECT_EQ(file_bytes(folder.file("x")), file_bytes(folder.file("y")));

  const Safetensors file = read_safetensors(folder.file("x"));
  EXPECT_EQ(file.metadata, metadata);
  ASSERT_EQ(file.tensors.size(), arrays.size());
  for (const ArrayView& array : arrays) {
    const ArrayView& got = file.at(array.name);
    EXPECT_EQ(got.dtype, array.dtype);
    EXPECT_EQ(got.shape, array.shape);
    EXPECT_TRUE(std::equal(got.bytes.begin(), got.bytes.end(), array.bytes.begin(), array.bytes.end()))
        << array.name;
  }
  uint64_t header_length;
  std::memcpy(&header_length, file_bytes(folder.file("x")).data(), 8);
  EXPECT_EQ(header_length % 8, 0u);
  EXPECT_TEXT_IN("tensor absent: is missing", file_error([&] { file.at("absent"); }));
}

TEST(Safetensors, RewrittenGoldenFileReadsTheSame) {
  const std::string path = golden_folder() + "/torch/setA/llama_model.safetensors";
  SKIP_WITHOUT(path);
  const TemporaryFolder folder;
  const Safetensors file = read_safetensors(path);
  std::vector<ArrayView> arrays;
  for (const auto& [name, array] : file.tensors) arrays.push_back(array);
  write_safetensors(folder.file("again"), arrays, file.metadata);
  const Safetensors again = read_safetensors(folder.file("again"));
  for (const ArrayView& array : arrays) EXPECT_EQ(to_floats(again.at(array.name)), to_floats(array));
}

TEST(Safetensors, AttacksAreRefused) {
  EXPECT_TEXT_IN("at least 8", refusal({1, 2, 3}));
  EXPECT_TEXT_IN("at most 100000000", refusal(file_of("{}", 0, INT64_MAX)));
  EXPECT_TEXT_IN("only 2 bytes follow", refusal(file_of("{}", 0, 3)));
  EXPECT_TEXT_IN("JSON", refusal(file_of("")));
  EXPECT_TEXT_IN("object", refusal(file_of("[]")));
  EXPECT_TEXT_IN("nested", refusal(file_of("{\"a\":" + std::string(100000, '['))));
  const std::string one = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  EXPECT_NO_THROW(parse_safetensors(file_of("{" + one + "}", 2), "x"));
  EXPECT_TEXT_IN("appears twice", refusal(file_of("{" + one + "," + one + "}", 2)));
  EXPECT_TEXT_IN("has only 1 bytes", refusal(file_of("{" + one + "}", 1)));
  EXPECT_TEXT_IN("end at 2", refusal(file_of("{" + one + "}", 3)));
  EXPECT_TEXT_IN("expected 2",
                 refusal(file_of("{" + one + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3)));
  EXPECT_TEXT_IN("hole",
                 refusal(file_of("{" + one + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5)));
  const auto entry = [](const std::string& body) { return refusal(file_of("{\"a\":" + body + "}", 8)); };
  EXPECT_TEXT_IN("backwards", entry(R"({"dtype":"U8","shape":[2],"data_offsets":[2,0]})"));
  EXPECT_TEXT_IN("needs 16", entry(R"({"dtype":"F32","shape":[4],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("unknown dtype", entry(R"({"dtype":"F31","shape":[4],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("overflows",
                 entry(R"({"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN(
      "overflows",
      entry(R"({"dtype":"F32","shape":[9223372036854775807,9223372036854775807,0],"data_offsets":[0,0]})"));
  EXPECT_TEXT_IN("no whole number", entry(R"({"dtype":"F4","shape":[3],"data_offsets":[0,1]})"));
  EXPECT_TEXT_IN("shape holds -1", entry(R"({"dtype":"U8","shape":[-1],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("shape holds 8.0", entry(R"({"dtype":"U8","shape":[8.0],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("shape is not a list", entry(R"({"dtype":"U8","shape":8,"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("data_offsets is not", entry(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8,9]})"));
  EXPECT_TEXT_IN("\"dtype\" is missing", entry(R"({"shape":[8],"data_offsets":[0,8]})"));
  EXPECT_TEXT_IN("object was expected", entry("7"));
  EXPECT_TEXT_IN("not a string", refusal(file_of(R"({"__metadata__":{"a":1}})")));
}

// Whatever is cut off or changed, the reader answers with a FileError or a consistent result.
TEST(Safetensors, TruncatedAndFlippedFilesNeverCrash) {
  const TemporaryFolder folder;
  const std::vector<float> data = {1, 2, 3, 4, 5, 6};
  const auto bytes = std::span(reinterpret_cast<const uint8_t*>(data.data()), 24);
  write_safetensors(folder.file("x"), {{"a", DType::F32, {2, 3}, bytes}, {"b", DType::F16, {12}, bytes}},
                    {{"k", "v"}});
  const std::vector<uint8_t> valid = file_bytes(folder.file("x"));
  for (size_t length = 0; length < valid.size(); ++length) refusal({valid.begin(), valid.begin() + length});
  for (size_t i = 0; i < valid.size(); ++i) {
    for (const uint8_t flip : {0x01, 0x80, 0xff, 0x10}) {
      std::vector<uint8_t> changed = valid;
      changed[i] ^= flip;
      try {
        for (const auto& [name, array] : parse_safetensors(changed, "x").tensors)
          ASSERT_EQ(array.count() * dtype_bits(array.dtype), static_cast<int64_t>(array.bytes.size()) * 8);
      } catch (const FileError&) {
      }
    }
  }
}

TEST(Safetensors, WriterRefusesNonsense) {
  const TemporaryFolder folder;
  const std::vector<uint8_t> bytes(8);
  EXPECT_THROW(write_safetensors(folder.file("x"), {{"a", DType::F32, {3}, bytes}}), Error);
  EXPECT_THROW(
      write_safetensors(folder.file("x"), {{"a", DType::F32, {2}, bytes}, {"a", DType::F32, {2}, bytes}}),
      Error);
  EXPECT_THROW(write_safetensors(folder.file("x"), {{"__metadata__", DType::F32, {2}, bytes}}), Error);
  SafetensorsWriter writer(folder.file("x"), {{"a", DType::F32, {2}}});
  EXPECT_THROW(writer.commit(), Error);
  EXPECT_FALSE(file_exists(folder.file("x")));
}

}  // namespace
}  // namespace chalk
