#include <algorithm>
#include <bit>
#include <unordered_set>

#include "autograd/check.h"
#include "models/io/byte_reader.h"
#include "models/io/gguf.h"

namespace chalk {
namespace {

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMostDimensions = 4;

std::string read_string(ByteReader& reader, const std::string& field) {
  const uint64_t length = reader.number<uint64_t>(field);
  const std::span<const uint8_t> bytes = reader.take(length, field);
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

// Bytes of one element; for a string the least it can take, its length.
uint64_t smallest_bytes(GgufType type) {
  switch (type) {
    case GgufType::U8:
    case GgufType::I8:
    case GgufType::Bool:
      return 1;
    case GgufType::U16:
    case GgufType::I16:
      return 2;
    case GgufType::U32:
    case GgufType::I32:
    case GgufType::F32:
      return 4;
    default:
      return 8;
  }
}

uint64_t read_unsigned(ByteReader& reader, GgufType type, const std::string& field) {
  if (type == GgufType::U8) return reader.number<uint8_t>(field);
  if (type == GgufType::U16) return reader.number<uint16_t>(field);
  if (type == GgufType::U32) return reader.number<uint32_t>(field);
  if (type == GgufType::U64) return reader.number<uint64_t>(field);
  const uint8_t flag = reader.number<uint8_t>(field);  // Bool
  if (flag > 1)
    throw FileError(reader.path, field, fmt::format("is a bool of value {}, expected 0 or 1", flag));
  return flag;
}

int64_t read_signed(ByteReader& reader, GgufType type, const std::string& field) {
  if (type == GgufType::I8) return reader.number<int8_t>(field);
  if (type == GgufType::I16) return reader.number<int16_t>(field);
  if (type == GgufType::I32) return reader.number<int32_t>(field);
  return reader.number<int64_t>(field);
}

double read_floating(ByteReader& reader, GgufType type, const std::string& field) {
  return type == GgufType::F32 ? reader.number<float>(field) : reader.number<double>(field);
}

bool is_unsigned(GgufType type) {
  return type == GgufType::U8 || type == GgufType::U16 || type == GgufType::U32 || type == GgufType::U64 ||
         type == GgufType::Bool;
}
bool is_floating(GgufType type) {
  return type == GgufType::F32 || type == GgufType::F64;
}

GgufType read_type(ByteReader& reader, const std::string& field) {
  const uint32_t number = reader.number<uint32_t>(field);
  if (number > static_cast<uint32_t>(GgufType::F64))
    throw FileError(reader.path, field, fmt::format("has value type {}, expected 0 to 12", number));
  return static_cast<GgufType>(number);
}

template <class T, class Read>
std::vector<T> read_elements(ByteReader& reader, uint64_t count, GgufType type, const std::string& field,
                             Read read) {
  std::vector<T> elements;
  elements.reserve(count);  // at most 8 bytes per byte that is known to remain (32 for strings)
  for (uint64_t i = 0; i < count; ++i) elements.push_back(read(reader, type, field));
  return elements;
}

GgufValue read_array(ByteReader& reader, const std::string& field) {
  GgufValue array;
  array.type = GgufType::Array;
  const GgufType type = array.element_type = read_type(reader, field);
  const uint64_t count = reader.number<uint64_t>(field);
  if (type == GgufType::Array)
    throw FileError(reader.path, field, "is an array of arrays, which no reader accepts");
  if (count > reader.remaining() / smallest_bytes(type))
    throw FileError(reader.path, field,
                    fmt::format("has {} elements, but only {} bytes remain", count, reader.remaining()));
  if (type == GgufType::String)
    array.value = read_elements<std::string>(
        reader, count, type, field,
        [](ByteReader& r, GgufType, const std::string& f) { return read_string(r, f); });
  else if (is_unsigned(type))
    array.value = read_elements<uint64_t>(reader, count, type, field, read_unsigned);
  else if (is_floating(type))
    array.value = read_elements<double>(reader, count, type, field, read_floating);
  else
    array.value = read_elements<int64_t>(reader, count, type, field, read_signed);
  return array;
}

GgufValue read_value(ByteReader& reader, const std::string& field) {
  GgufValue value;
  value.type = read_type(reader, field);
  if (value.type == GgufType::Array) return read_array(reader, field);
  if (value.type == GgufType::String)
    value.value = read_string(reader, field);
  else if (is_unsigned(value.type))
    value.value = read_unsigned(reader, value.type, field);
  else if (is_floating(value.type))
    value.value = read_floating(reader, value.type, field);
  else
    value.value = read_signed(reader, value.type, field);
  return value;
}

void read_metadata(ByteReader& reader, uint64_t count, GgufMetadata& metadata) {
  std::unordered_set<std::string> seen;
  metadata.path = reader.path;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string key = read_string(reader, fmt::format("metadata key {}", i));
    if (key.empty()) throw FileError(reader.path, fmt::format("metadata key {}", i), "is empty");
    if (!seen.insert(key).second)
      throw FileError(reader.path, printable(key), "appears twice in the metadata");
    metadata.entries.push_back({key, read_value(reader, "metadata " + printable(key))});
  }
}

uint64_t alignment_of(const GgufMetadata& metadata) {
  const uint64_t alignment =
      static_cast<uint64_t>(metadata.get_int("general.alignment", 1, 1 << 20, kDefaultAlignment));
  if (!std::has_single_bit(alignment))
    throw FileError(metadata.path, "general.alignment",
                    fmt::format("is {}, expected a power of two", alignment));
  return alignment;
}

struct Placed {
  GgufTensor tensor;
  uint64_t offset;  // in the data section, as the file claims
  uint64_t bytes;
};

// Bytes of the tensor, by its shape and type.
uint64_t bytes_of(const GgufTensor& tensor, const std::string& path, const std::string& field) {
  const GgmlTypeInfo& info = ggml_type_info(tensor.type);
  int64_t count = 1;
  for (const int64_t dim : tensor.shape)
    if (dim < 0 || __builtin_mul_overflow(count, dim, &count))
      throw FileError(path, field, "the size of its shape overflows");
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % info.block_size != 0)
    throw FileError(
        path, field,
        fmt::format("has rows of {}, but {} comes in blocks of {}", row, info.name, info.block_size));
  int64_t bytes;
  if (__builtin_mul_overflow(count / info.block_size, info.block_bytes, &bytes))
    throw FileError(path, field, "the size of its shape overflows");
  return static_cast<uint64_t>(bytes);
}

Placed read_tensor_info(ByteReader& reader, const std::string& index) {
  Placed placed;
  GgufTensor& tensor = placed.tensor;
  tensor.name = read_string(reader, index);
  const std::string field = "tensor " + printable(tensor.name);
  const uint32_t dimensions = reader.number<uint32_t>(field);
  if (dimensions > kMostDimensions)
    throw FileError(reader.path, field,
                    fmt::format("has {} dimensions, expected at most {}", dimensions, kMostDimensions));
  for (uint32_t i = 0; i < dimensions; ++i) tensor.shape.push_back(reader.number<int64_t>(field));
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  const uint32_t type = reader.number<uint32_t>(field);
  if (find_ggml_type(type) == nullptr)
    throw FileError(reader.path, field, fmt::format("has ggml type {}, which Chalk does not read", type));
  tensor.type = static_cast<GgmlType>(type);
  placed.offset = reader.number<uint64_t>(field);
  placed.bytes = bytes_of(tensor, reader.path, field);
  return placed;
}

std::vector<Placed> read_tensor_infos(ByteReader& reader, uint64_t count) {
  std::vector<Placed> all;
  std::unordered_set<std::string> seen;
  for (uint64_t i = 0; i < count; ++i) {
    all.push_back(read_tensor_info(reader, fmt::format("tensor {}", i)));
    const std::string& name = all.back().tensor.name;
    if (!seen.insert(name).second) throw FileError(reader.path, "tensor " + printable(name), "appears twice");
  }
  return all;
}

uint64_t round_up(uint64_t position, uint64_t alignment) {
  return (position + alignment - 1) / alignment * alignment;
}

// Cuts the data section into the tensors. Each must begin where the one before ended, rounded up to the
// alignment.
void place_tensors(std::span<const uint8_t> data, std::vector<Placed> placed, uint64_t alignment,
                   Gguf& gguf) {
  uint64_t position = 0;  // <= data.size() + alignment, so that round_up cannot overflow
  for (Placed& item : placed) {
    const std::string field = "tensor " + printable(item.tensor.name);
    position = round_up(position, alignment);
    if (item.offset != position)
      throw FileError(gguf.path, field,
                      fmt::format("begins at {} of the data section, expected {}", item.offset, position));
    if (position > data.size() || item.bytes > data.size() - position)
      throw FileError(gguf.path, field,
                      fmt::format("needs {} bytes at {} of a data section of {} bytes", item.bytes, position,
                                  data.size()));
    item.tensor.bytes = data.subspan(position, item.bytes);
    position += item.bytes;
    gguf.tensors.push_back(std::move(item.tensor));
  }
  if (data.size() > round_up(position, alignment))
    throw FileError(gguf.path, "",
                    fmt::format("goes on for {} bytes after the last tensor", data.size() - position));
}

}  // namespace

const GgufTensor* Gguf::find(const std::string& name) const {
  for (const GgufTensor& tensor : tensors)
    if (tensor.name == name) return &tensor;
  return nullptr;
}

Gguf parse_gguf(std::span<const uint8_t> bytes, const std::string& path) {
  ByteReader reader{bytes, path};
  const std::span<const uint8_t> magic = reader.take(4, "magic");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) throw FileError(path, "magic", "is not GGUF");
  Gguf gguf;
  gguf.path = path;
  gguf.version = reader.number<uint32_t>("version");
  if (gguf.version != 2 && gguf.version != 3)
    throw FileError(path, "version", fmt::format("is {}, expected 2 or 3", gguf.version));
  const uint64_t tensor_count = reader.number<uint64_t>("tensor count");
  const uint64_t metadata_count = reader.number<uint64_t>("metadata count");
  read_metadata(reader, metadata_count, gguf.metadata);
  const uint64_t alignment = alignment_of(gguf.metadata);
  std::vector<Placed> placed = read_tensor_infos(reader, tensor_count);
  // A file without tensors may end before the padding.
  const size_t begin = std::min<uint64_t>(round_up(reader.position, alignment), bytes.size());
  place_tensors(bytes.subspan(begin), std::move(placed), alignment, gguf);
  return gguf;
}

Gguf read_gguf(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  Gguf gguf = parse_gguf(file->bytes(), path);
  gguf.file = file;
  return gguf;
}

std::vector<float> to_floats(const GgufTensor& tensor) {
  const GgmlTypeInfo& info = ggml_type_info(tensor.type);
  std::vector<float> weights(tensor.bytes.size() / info.block_bytes * info.block_size);
  decode_blocks(tensor.type, tensor.bytes, weights);
  return weights;
}

}  // namespace chalk
