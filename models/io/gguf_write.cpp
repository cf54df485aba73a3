#include <algorithm>
#include <limits>
#include <utility>

#include "autograd/check.h"
#include "models/io/gguf.h"

namespace chalk {
namespace {

constexpr uint64_t kAlignment = 32;

// The file grows in memory up to the tensor data: metadata and tensor table are small beside them.
struct ByteWriter {
  std::string bytes;

  template <class T>
  void number(T value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof(T));
  }
  void string(const std::string& text) {
    number<uint64_t>(text.size());
    bytes += text;
  }
};

// `value` as the narrower type T; an Error if it does not fit.
template <class T, class Wide>
void write_narrow(ByteWriter& writer, Wide value, const std::string& key) {
  check(std::cmp_greater_equal(value, std::numeric_limits<T>::min()) &&
            std::cmp_less_equal(value, std::numeric_limits<T>::max()),
        "GGUF metadata {}: {} does not fit its type", key, value);
  writer.number(static_cast<T>(value));
}

void write_unsigned(ByteWriter& writer, GgufType type, uint64_t value, const std::string& key) {
  if (type == GgufType::U8)
    write_narrow<uint8_t>(writer, value, key);
  else if (type == GgufType::U16)
    write_narrow<uint16_t>(writer, value, key);
  else if (type == GgufType::U32)
    write_narrow<uint32_t>(writer, value, key);
  else if (type == GgufType::U64)
    writer.number(value);
  else if (type == GgufType::Bool && value <= 1)
    writer.number(static_cast<uint8_t>(value));
  else
    throw Error(fmt::format("GGUF metadata {}: unsigned value {} for another type", key, value));
}

void write_signed(ByteWriter& writer, GgufType type, int64_t value, const std::string& key) {
  if (type == GgufType::I8)
    write_narrow<int8_t>(writer, value, key);
  else if (type == GgufType::I16)
    write_narrow<int16_t>(writer, value, key);
  else if (type == GgufType::I32)
    write_narrow<int32_t>(writer, value, key);
  else if (type == GgufType::I64)
    writer.number(value);
  else
    throw Error(fmt::format("GGUF metadata {}: signed value {} for another type", key, value));
}

void write_floating(ByteWriter& writer, GgufType type, double value, const std::string& key) {
  if (type == GgufType::F32)
    writer.number(static_cast<float>(value));
  else if (type == GgufType::F64)
    writer.number(value);
  else
    throw Error(fmt::format("GGUF metadata {}: floating-point value {} for another type", key, value));
}

// One function name for every alternative of the variant. Scalars of the wide types:
void write_one(ByteWriter& writer, GgufType type, uint64_t value, const std::string& key) {
  write_unsigned(writer, type, value, key);
}
void write_one(ByteWriter& writer, GgufType type, int64_t value, const std::string& key) {
  write_signed(writer, type, value, key);
}
void write_one(ByteWriter& writer, GgufType type, double value, const std::string& key) {
  write_floating(writer, type, value, key);
}
void write_one(ByteWriter& writer, GgufType type, const std::string& value, const std::string& key) {
  check(type == GgufType::String, "GGUF metadata {}: a string for another type", key);
  writer.string(value);
}

template <class T>
void write_any(ByteWriter& writer, const GgufValue& value, const T& scalar, const std::string& key) {
  write_one(writer, value.type, scalar, key);
}
template <class T>
void write_any(ByteWriter& writer, const GgufValue& value, const std::vector<T>& elements,
               const std::string& key) {
  check(value.type == GgufType::Array, "GGUF metadata {}: a list for another type", key);
  writer.number(static_cast<uint32_t>(value.element_type));
  writer.number<uint64_t>(elements.size());
  for (const T& element : elements) write_one(writer, value.element_type, element, key);
}

void write_metadata(ByteWriter& writer, const GgufMetadata& metadata) {
  for (const GgufMetadata::Entry& entry : metadata.entries) {
    writer.string(entry.key);
    writer.number(static_cast<uint32_t>(entry.value.type));
    const auto write = [&](const auto& content) { write_any(writer, entry.value, content, entry.key); };
    std::visit(write, entry.value.value);
  }
}

uint64_t padding_after(uint64_t position) {
  return (kAlignment - position % kAlignment) % kAlignment;
}

uint64_t bytes_of(const GgufSource& tensor) {
  const GgmlTypeInfo& info = ggml_type_info(tensor.type);
  int64_t count = 1;
  for (const int64_t dim : tensor.shape) count *= dim;
  check(count == static_cast<int64_t>(tensor.data.size()), "GGUF tensor {}: {} numbers for a shape of {}",
        tensor.name, tensor.data.size(), count);
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  check(row % info.block_size == 0,
        "GGUF tensor {}: rows of {} are no multiple of the {} weights in a {} block", tensor.name, row,
        info.block_size, info.name);
  return static_cast<uint64_t>(count / info.block_size * info.block_bytes);
}

void write_tensor_table(ByteWriter& writer, const std::vector<GgufSource>& tensors) {
  uint64_t offset = 0;
  for (const GgufSource& tensor : tensors) {
    check(tensor.name.size() < 64 && tensor.shape.size() <= 4,
          "GGUF tensor {}: readers take names below 64 bytes and 4 dimensions", tensor.name);
    writer.string(tensor.name);
    writer.number(static_cast<uint32_t>(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim) writer.number<uint64_t>(*dim);
    writer.number(static_cast<uint32_t>(tensor.type));
    writer.number(offset);
    offset += bytes_of(tensor);
    offset += padding_after(offset);
  }
}

}  // namespace

void write_gguf(const std::string& path, const GgufMetadata& metadata,
                const std::vector<GgufSource>& tensors) {
  ByteWriter head;
  head.bytes = "GGUF";
  head.number<uint32_t>(3);
  head.number<uint64_t>(tensors.size());
  head.number<uint64_t>(metadata.entries.size());
  write_metadata(head, metadata);
  write_tensor_table(head, tensors);
  head.bytes.append(padding_after(head.bytes.size()), '\0');

  AtomicFile file(path);
  file.write(head.bytes);
  std::vector<uint8_t> encoded;
  for (const GgufSource& tensor : tensors) {
    const uint64_t bytes = bytes_of(tensor);
    encoded.assign(bytes + padding_after(bytes), 0);  // every tensor is padded, the last one too
    encode_blocks(tensor.type, tensor.data, {encoded.data(), bytes});
    file.write(encoded.data(), encoded.size());
  }
  file.commit();
}

}  // namespace chalk
