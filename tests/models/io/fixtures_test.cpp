// Files written by the libraries that own the formats (numpy, safetensors, gguf):
// tests/reference/make_io_fixtures.py.
#include "models/io/file.h"
#include "models/io/gguf.h"
#include "models/io/npy.h"
#include "models/io/safetensors.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

const std::string kFolder = "tests/fixtures/io/";  // tests run in the repository root

// What the script calls numbers(count): steps of 1/4 around zero.
std::vector<float> numbers(int count) {
  std::vector<float> list(count);
  for (int i = 0; i < count; ++i) list[i] = static_cast<float>(i - count / 2) / 4;
  return list;
}

TEST(IoFixtures, Numpy) {
  SKIP_WITHOUT(kFolder);
  const Npy matrix = read_npy(kFolder + "f4.npy");
  EXPECT_EQ(matrix.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(to_floats(matrix.view()), numbers(6));
  EXPECT_EQ(to_int64s(read_npy(kFolder + "i8.npy").view()), (std::vector<int64_t>{-(int64_t{1} << 40), 7}));
  EXPECT_EQ(to_floats(read_npy(kFolder + "scalar_f8.npy").view()), std::vector<float>{0.1f});
  EXPECT_TEXT_IN("fortran_order", file_error([] { read_npy(kFolder + "fortran.npy"); }));
}

TEST(IoFixtures, Safetensors) {
  SKIP_WITHOUT(kFolder);
  const Safetensors file = read_safetensors(kFolder + "reference.safetensors");
  EXPECT_EQ(file.metadata.at("note"), "caf\u00e9");
  EXPECT_EQ(to_floats(file.at("weight")), numbers(12));
  EXPECT_EQ(file.at("weight").shape, (std::vector<int64_t>{3, 4}));
  EXPECT_EQ(to_floats(file.at("half")), numbers(5));
  EXPECT_EQ(to_int64s(file.at("ids")), (std::vector<int64_t>{1, -2, 3, 4}));
  EXPECT_EQ(to_int64s(file.at("flags")), (std::vector<int64_t>{1, 0, 1}));
  EXPECT_EQ(to_int64s(file.at("bytes")), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(to_floats(file.at("scalar")), std::vector<float>{2.5f});
  EXPECT_TRUE(file.at("nothing").bytes.empty());
  // Written by us, the same tensors are the same bytes: same order, same padding, same JSON.
  const TemporaryFolder folder;
  std::vector<ArrayView> arrays;
  for (const auto& [name, array] : file.tensors) arrays.push_back(array);
  write_safetensors(folder.file("again"), arrays, file.metadata);
  EXPECT_EQ(file_bytes(folder.file("again")), file_bytes(kFolder + "reference.safetensors"));
}

TEST(IoFixtures, Gguf) {
  SKIP_WITHOUT(kFolder);
  const Gguf file = read_gguf(kFolder + "reference.gguf");
  const GgufMetadata& metadata = file.metadata;
  EXPECT_EQ(metadata.get_int("test.u8", 0, 255), 200);
  EXPECT_EQ(metadata.get_int("test.i8", -128, 0), -100);
  EXPECT_EQ(metadata.get_int("test.u16", 0, 65535), 60000);
  EXPECT_EQ(metadata.get_int("test.i16", -32768, 0), -30000);
  EXPECT_EQ(metadata.get_int("test.u32", 0, INT64_MAX), 4000000000);
  EXPECT_EQ(metadata.get_int("test.i32", INT32_MIN, 0), -2000000000);
  EXPECT_EQ(std::get<uint64_t>(metadata.find("test.u64")->value), uint64_t{1} << 63);
  EXPECT_EQ(metadata.get_int("test.i64", INT64_MIN, 0), -(int64_t{1} << 62));
  EXPECT_EQ(metadata.get_number("test.f32", 0, 1), 1e-5);
  EXPECT_EQ(metadata.get_number("test.f64", 0, 1), 1e-300);
  EXPECT_TRUE(metadata.get_bool("test.bool", false));
  EXPECT_EQ(metadata.get_string("test.string"), "caf\u00e9");
  EXPECT_EQ(metadata.get_strings("test.strings"), (std::vector<std::string>{"a", "", "ccc"}));
  EXPECT_EQ(metadata.get_numbers("test.floats"), (std::vector<double>{0.5, -2.0}));
  const std::vector<float> data = numbers(512);
  ASSERT_EQ(file.tensors.size(), 8u);
  for (const GgufTensor& tensor : file.tensors) {
    EXPECT_EQ(tensor.shape, (std::vector<int64_t>{2, 256})) << tensor.name;
    const GgmlTypeInfo& info = ggml_type_info(tensor.type);
    std::vector<uint8_t> encoded(tensor.bytes.size());
    encode_blocks(tensor.type, data, encoded);
    EXPECT_TRUE(std::equal(encoded.begin(), encoded.end(), tensor.bytes.begin())) << info.name;
    if (info.block_size == 1) {
      EXPECT_EQ(to_floats(tensor), data) << info.name;
    }
  }
}

// Not a test of ours but material for the script's --check: set CHALK_IO_DUMP to a folder.
TEST(IoFixtures, DumpForTheReferenceLibraries) {
  const char* folder = std::getenv("CHALK_IO_DUMP");
  if (folder == nullptr)
    GTEST_SKIP() << "CHALK_IO_DUMP is not set (only make_io_fixtures.py --check needs it)";
  make_folders(folder);
  const std::vector<int64_t> longs = {-(int64_t{1} << 40), 7}, ids = {1, -2, 3, 4};
  write_npy(join_path(folder, "f4.npy"), {2, 3}, numbers(6));
  write_npy(join_path(folder, "i8.npy"), {2}, longs);
  const std::vector<uint8_t> weight = floats_to_bytes(numbers(12), DType::F32),
                             half = floats_to_bytes(numbers(5), DType::F16);
  const std::span<const uint8_t> id_bytes(reinterpret_cast<const uint8_t*>(ids.data()), 32);
  write_safetensors(join_path(folder, "chalk.safetensors"),
                    {{"weight", DType::F32, {3, 4}, weight},
                     {"half", DType::F16, {5}, half},
                     {"ids", DType::I64, {2, 2}, id_bytes}},
                    {{"format", "pt"}, {"note", "caf\u00e9"}});
  const Gguf reference = read_gguf(kFolder + "reference.gguf");
  const std::vector<float> data = numbers(512);
  std::vector<GgufSource> tensors;
  for (const GgufTensor& tensor : reference.tensors)
    tensors.push_back({tensor.name, tensor.shape, tensor.type, data});
  write_gguf(join_path(folder, "chalk.gguf"), reference.metadata, tensors);
}

}  // namespace
}  // namespace chalk
