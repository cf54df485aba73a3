#include "models/io/npy.h"

#include <cstring>

#include "autograd/check.h"
#include "models/io/byte_reader.h"
#include "models/io/file.h"
#include "models/io/safetensors.h"

namespace chalk {
namespace {

constexpr char kMagic[] = "\x93NUMPY";
constexpr size_t kLongestHeader = 1 << 16;

struct NpyType {
  const char* descr;
  DType dtype;
};
constexpr NpyType kTypes[] = {
    {"<f4", DType::F32}, {"<f8", DType::F64}, {"<i4", DType::I32}, {"<i8", DType::I64}};

// Walks through the header, a Python dict such as {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4),
// }.
struct DictReader {
  std::string_view text;
  std::string path;
  size_t position = 0;

  [[noreturn]] void fail(const std::string& expected) const {
    throw FileError(path, "header", fmt::format("expected {} at character {}", expected, position));
  }
  void skip_spaces() {
    while (position < text.size() && (text[position] == ' ' || text[position] == '\n')) ++position;
  }
  bool accept(std::string_view token) {
    skip_spaces();
    if (!text.substr(position).starts_with(token)) return false;
    position += token.size();
    return true;
  }
  void expect(std::string_view token) {
    if (!accept(token)) fail(std::string(token));
  }
  std::string quoted() {
    expect("'");
    const size_t end = text.find('\'', position);
    if (end == std::string_view::npos) fail("a closing quote");
    const std::string content(text.substr(position, end - position));
    position = end + 1;
    return content;
  }
  int64_t whole_number() {
    skip_spaces();
    int64_t number = 0;
    const size_t begin = position;
    for (; position < text.size() && text[position] >= '0' && text[position] <= '9'; ++position)
      if (__builtin_mul_overflow(number, 10, &number) ||
          __builtin_add_overflow(number, text[position] - '0', &number))
        fail("a number below 2^63");
    if (position == begin) fail("a number");
    return number;
  }
  // (), (3,) or (3, 4)
  std::vector<int64_t> tuple() {
    std::vector<int64_t> numbers;
    expect("(");
    while (!accept(")")) {
      numbers.push_back(whole_number());
      if (!accept(",")) {
        expect(")");
        break;
      }
    }
    return numbers;
  }
};

DType dtype_called(const std::string& descr, const std::string& path) {
  for (const NpyType& type : kTypes)
    if (descr == type.descr) return type.dtype;
  throw FileError(path, "descr", "is '" + printable(descr) + "', expected <f4, <f8, <i4 or <i8");
}

// Each of the three keys must be there once; their order is free.
void parse_header(std::string_view text, const std::string& path, Npy& npy) {
  DictReader reader{text, path};
  bool has_type = false, has_order = false, has_shape = false;
  reader.expect("{");
  while (!reader.accept("}")) {
    const std::string key = reader.quoted();
    reader.expect(":");
    bool& seen = key == "descr" ? has_type : key == "fortran_order" ? has_order : has_shape;
    if (seen) throw FileError(path, "header", "key '" + printable(key) + "' appears twice");
    seen = true;
    if (key == "descr")
      npy.dtype = dtype_called(reader.quoted(), path);
    else if (key == "shape")
      npy.shape = reader.tuple();
    else if (key != "fortran_order")
      throw FileError(path, "header", "unknown key '" + printable(key) + "'");
    else if (!reader.accept("False"))
      throw FileError(path, "fortran_order", "is not False; save with numpy.ascontiguousarray");
    if (!reader.accept(",")) {
      reader.expect("}");
      break;
    }
  }
  reader.skip_spaces();
  if (reader.position != text.size()) reader.fail("the end");
  if (!has_type || !has_order || !has_shape)
    throw FileError(path, "header", "lacks descr, fortran_order or shape");
}

std::string header_text(const std::string& descr, const std::vector<int64_t>& shape) {
  const std::string comma = shape.size() == 1 ? "," : "";
  std::string text = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", descr,
                                 fmt::join(shape, ", "), comma);
  const size_t before = 10 + text.size() + 1;  // magic, version, length, and a final newline
  text.append((64 - before % 64) % 64, ' ');
  return text + "\n";
}

template <class T>
void write_array(const std::string& path, const char* descr, const std::vector<int64_t>& shape,
                 std::span<const T> data) {
  int64_t count = 1;
  for (const int64_t dim : shape) count *= dim;
  check(count == static_cast<int64_t>(data.size()), "{}: {} numbers for a shape of {}", path, data.size(),
        count);
  const std::string header = header_text(descr, shape);
  const uint16_t length = static_cast<uint16_t>(header.size());
  AtomicFile file(path);
  file.write(std::string_view("\x93NUMPY\x01\x00", 8));
  file.write(&length, 2);
  file.write(header);
  file.write(data.data(), data.size_bytes());
  file.commit();
}

}  // namespace

Npy parse_npy(std::span<const uint8_t> bytes, const std::string& path) {
  ByteReader reader{bytes, path};
  if (std::memcmp(reader.take(6, "magic").data(), kMagic, 6) != 0)
    throw FileError(path, "magic", "is not NumPy's .npy");
  const uint8_t major = reader.number<uint8_t>("version");
  reader.number<uint8_t>("version");
  if (major < 1 || major > 3)
    throw FileError(path, "version", fmt::format("is {}, expected 1, 2 or 3", major));
  const uint32_t length =
      major == 1 ? reader.number<uint16_t>("header length") : reader.number<uint32_t>("header length");
  if (length > kLongestHeader)
    throw FileError(path, "header length", fmt::format("is {}, expected at most {}", length, kLongestHeader));
  const std::span<const uint8_t> header = reader.take(length, "header");
  Npy npy;
  parse_header({reinterpret_cast<const char*>(header.data()), header.size()}, path, npy);
  int64_t expected;
  try {
    expected = tensor_bytes({"array", npy.dtype, npy.shape});
  } catch (const Error&) {
    throw FileError(path, "shape", "its product overflows");
  }
  if (expected != static_cast<int64_t>(reader.remaining()))
    throw FileError(path, "data",
                    fmt::format("has {} bytes, but type and shape need {}", reader.remaining(), expected));
  const std::span<const uint8_t> data = reader.take(reader.remaining(), "data");
  npy.bytes.assign(data.begin(), data.end());
  return npy;
}

Npy read_npy(const std::string& path) {
  const MappedFile file(path);
  return parse_npy(file.bytes(), path);
}

void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const float> data) {
  write_array(path, "<f4", shape, data);
}
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const double> data) {
  write_array(path, "<f8", shape, data);
}
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int32_t> data) {
  write_array(path, "<i4", shape, data);
}
void write_npy(const std::string& path, const std::vector<int64_t>& shape, std::span<const int64_t> data) {
  write_array(path, "<i8", shape, data);
}

}  // namespace chalk
