// .npy: round trips, NumPy's own header text, and headers that lie.
#include "models/io/npy.h"

#include "models/io/file.h"
#include "tests/models/io/paths.h"

namespace chalk {
namespace {

// A version 1.0 file with this header and `data_bytes` zeros.
std::vector<uint8_t> npy_of(const std::string& header, size_t data_bytes) {
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(header.size() & 0xff);
  text += static_cast<char>(header.size() >> 8);
  text += header + std::string(data_bytes, '\0');
  return {text.begin(), text.end()};
}

TEST(Npy, RoundTripIsExact) {
  const TemporaryFolder folder;
  const std::vector<float> floats = {1, -2, 3.5f, 1e-40f, 5, 6};
  write_npy(folder.file("f"), {2, 3}, floats);
  EXPECT_EQ(read_npy(folder.file("f")).shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(to_floats(read_npy(folder.file("f")).view()), floats);
  EXPECT_EQ(file_bytes(folder.file("f")).size(), 128u + 24u);
  const std::vector<int64_t> longs = {INT64_MIN, -1, INT64_MAX};
  write_npy(folder.file("l"), {3}, longs);
  EXPECT_EQ(to_int64s(read_npy(folder.file("l")).view()), longs);
  const std::vector<int32_t> ints = {7};
  write_npy(folder.file("i"), {}, ints);
  EXPECT_EQ(to_int64s(read_npy(folder.file("i")).view()), std::vector<int64_t>{7});
  EXPECT_TRUE(read_npy(folder.file("i")).shape.empty());
  const std::vector<double> none;
  write_npy(folder.file("d"), {0, 4}, none);
  EXPECT_EQ(read_npy(folder.file("d")).dtype, DType::F64);
  EXPECT_THROW(write_npy(folder.file("f"), {2, 2}, floats), Error);
}

TEST(Npy, AcceptsTheHeadersNumpyWrites) {
  EXPECT_EQ(
      parse_npy(npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }     \n", 12), "x").shape,
      std::vector<int64_t>{3});
  EXPECT_EQ(parse_npy(npy_of("{'shape': (), 'descr': '<i8', 'fortran_order': False}\n", 8), "x").dtype,
            DType::I64);
}

TEST(Npy, LyingFilesAreRefused) {
  const auto refusal = [](const std::vector<uint8_t>& bytes) {
    return file_error([&] { parse_npy(bytes, "x"); });
  };
  const auto with_shape = [&](const std::string& shape, size_t data) {
    return refusal(npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': " + shape + ", }\n", data));
  };
  EXPECT_TEXT_IN("type and shape need 12", with_shape("(3,)", 11));
  EXPECT_TEXT_IN("type and shape need 12", with_shape("(3,)", 13));
  EXPECT_TEXT_IN("overflows", with_shape("(4294967296, 4294967296)", 4));
  EXPECT_TEXT_IN("2^63", with_shape("(99999999999999999999,)", 4));
  EXPECT_TEXT_IN("expected a number", with_shape("(-1,)", 4));
  EXPECT_TEXT_IN("expected (", with_shape("7", 4));
  EXPECT_TEXT_IN("fortran_order",
                 refusal(npy_of("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4)));
  EXPECT_TEXT_IN("descr", refusal(npy_of("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 4)));
  EXPECT_TEXT_IN("twice", refusal(npy_of("{'descr': '<f4', 'descr': '<f4', }", 4)));
  EXPECT_TEXT_IN("lacks", refusal(npy_of("{'descr': '<f4'}", 4)));
  EXPECT_TEXT_IN("unknown key", refusal(npy_of("{'code': 'x'}", 4)));
  EXPECT_TEXT_IN("expected the end",
                 refusal(npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", 4)));
  const std::vector<uint8_t> valid =
      npy_of("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24);
  for (size_t length = 0; length < valid.size(); ++length) refusal({valid.begin(), valid.begin() + length});
  for (size_t i = 0; i < valid.size(); ++i) {
    std::vector<uint8_t> changed = valid;
    changed[i] ^= 0x11;
    try {
      to_floats(parse_npy(changed, "x").view());
    } catch (const FileError&) {
    }
  }
}

}  // namespace
}  // namespace chalk
