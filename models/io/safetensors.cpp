#include "models/io/safetensors.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "autograd/check.h"
#include "models/io/json.h"

namespace chalk {
namespace {

using nlohmann::json;

constexpr uint64_t kLongestHeader = 100'000'000;  // the reference library's limit

struct ByteRange {
  uint64_t begin, end;  // relative to the data section, end exclusive
};

// The header text, after checking that its length makes sense. 0 < N would be implied by "{}".
std::string_view header_text(std::span<const uint8_t> bytes, const std::string& path) {
  if (bytes.size() < 8)
    throw FileError(path, "header length",
                    fmt::format("the file has {} bytes, expected at least 8", bytes.size()));
  uint64_t length;
  std::memcpy(&length, bytes.data(), 8);
  if (length > kLongestHeader)
    throw FileError(path, "header length", fmt::format("is {}, expected at most {}", length, kLongestHeader));
  if (length > bytes.size() - 8)
    throw FileError(path, "header length",
                    fmt::format("is {} but only {} bytes follow", length, bytes.size() - 8));
  return {reinterpret_cast<const char*>(bytes.data()) + 8, static_cast<size_t>(length)};
}

std::vector<int64_t> parse_shape(const json& value, const std::string& path, const std::string& field) {
  if (!value.is_array()) throw FileError(path, field, "shape is not a list");
  std::vector<int64_t> shape;
  for (const json& dim : value) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      throw FileError(path, field, "shape holds " + dim.dump() + ", expected whole numbers of 0 or more");
    shape.push_back(dim.get<int64_t>());
  }
  return shape;
}

ByteRange parse_range(const json& value, const std::string& path, const std::string& field) {
  if (!value.is_array() || value.size() != 2 || !value[0].is_number_unsigned() ||
      !value[1].is_number_unsigned())
    throw FileError(path, field, "data_offsets is not [begin, end]");
  return {value[0].get<uint64_t>(), value[1].get<uint64_t>()};
}

const json& member(const json& object, const char* key, const std::string& path, const std::string& field) {
  check_object(object, path, field);
  const auto found = object.find(key);
  if (found == object.end()) throw FileError(path, field, fmt::format("\"{}\" is missing", key));
  return *found;
}

// One entry of the header; the bytes are filled in once all ranges are known to be in order.
ArrayView parse_entry(const std::string& name, const json& entry, ByteRange& range, const std::string& path) {
  const std::string field = "tensor " + printable(name);
  ArrayView array;
  array.name = name;
  const json& dtype = member(entry, "dtype", path, field);
  if (!dtype.is_string() || !parse_dtype(dtype.get<std::string>(), array.dtype))
    throw FileError(path, field, "unknown dtype " + printable(dtype.dump()));
  array.shape = parse_shape(member(entry, "shape", path, field), path, field);
  range = parse_range(member(entry, "data_offsets", path, field), path, field);
  if (range.end < range.begin)
    throw FileError(path, field, fmt::format("data_offsets [{}, {}] run backwards", range.begin, range.end));
  int64_t expected;
  try {
    expected = tensor_bytes({name, array.dtype, array.shape});
  } catch (const Error&) {
    throw FileError(path, field, "the size of its shape overflows or is no whole number of bytes");
  }
  if (static_cast<uint64_t>(expected) != range.end - range.begin)
    throw FileError(
        path, field,
        fmt::format("data_offsets [{}, {}] hold {} bytes, but {} of this shape needs {}", range.begin,
                    range.end, range.end - range.begin, dtype_name(array.dtype), expected));
  return array;
}

std::map<std::string, std::string> parse_metadata(const json& value, const std::string& path) {
  check_object(value, path, "__metadata__");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string())
      throw FileError(path, "__metadata__", "\"" + printable(key) + "\" is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

}  // namespace

int64_t tensor_bytes(const TensorInfo& info) {
  int64_t bits = dtype_bits(info.dtype);
  for (const int64_t dim : info.shape)
    check(dim >= 0 && !__builtin_mul_overflow(bits, dim, &bits), "tensor {}: its size overflows", info.name);
  check(bits % 8 == 0, "tensor {}: {} bits are no whole number of bytes", info.name, bits);
  return bits / 8;
}

const ArrayView& Safetensors::at(const std::string& name) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw FileError(path, "tensor " + printable(name), "is missing");
  return found->second;
}

Safetensors parse_safetensors(std::span<const uint8_t> bytes, const std::string& path) {
  const std::string_view text = header_text(bytes, path);
  const json header = parse_json(text, path, "header", 8);
  check_object(header, path, "header");
  const std::span<const uint8_t> data = bytes.subspan(8 + text.size());

  Safetensors file;
  file.path = path;
  struct Placed {
    ByteRange range;
    ArrayView* array;
  };
  std::vector<Placed> placed;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      file.metadata = parse_metadata(entry, path);
      continue;
    }
    ByteRange range;
    ArrayView array = parse_entry(name, entry, range, path);
    ArrayView& stored = file.tensors[name] = std::move(array);
    placed.push_back({range, &stored});
  }

  // In order of their offsets the ranges must tile the data section: no hole, no overlap, nothing left over.
  std::sort(placed.begin(), placed.end(), [](const Placed& a, const Placed& b) {
    return a.range.begin != b.range.begin ? a.range.begin < b.range.begin : a.range.end < b.range.end;
  });
  uint64_t position = 0;
  for (const Placed& place : placed) {
    const std::string field = "tensor " + printable(place.array->name);
    if (place.range.begin != position)
      throw FileError(path, field,
                      fmt::format("begins at {}, expected {} (ranges overlap or leave a hole)",
                                  place.range.begin, position));
    if (place.range.end > data.size())
      throw FileError(
          path, field,
          fmt::format("ends at {}, but the file has only {} bytes of data", place.range.end, data.size()));
    place.array->bytes = data.subspan(place.range.begin, place.range.end - place.range.begin);
    position = place.range.end;
  }
  if (position != data.size())
    throw FileError(path, "",
                    fmt::format("has {} bytes of data, but its tensors end at {}", data.size(), position));
  return file;
}

Safetensors read_safetensors(const std::string& path) {
  const auto mapping = std::make_shared<const MappedFile>(path);
  Safetensors file = parse_safetensors(mapping->bytes(), path);
  file.files.push_back(mapping);
  return file;
}

namespace {

// A shard must lie beside its index: a name like "../../etc/passwd" is refused.
void check_shard_name(const std::string& name, const std::string& path) {
  const bool plain = !name.empty() && name != "." && name != ".." &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (!plain)
    throw FileError(path, "weight_map",
                    "\"" + printable(name) + "\" is not the name of a file in this folder");
}

Safetensors read_shards(const std::string& folder, const std::string& index_path) {
  const json index = read_json(index_path);
  const json& weight_map = member(index, "weight_map", index_path, "index");
  check_object(weight_map, index_path, "weight_map");
  Safetensors all;
  all.path = index_path;
  std::map<std::string, Safetensors> shards;
  for (const auto& [name, shard_name] : weight_map.items()) {
    if (!shard_name.is_string()) throw FileError(index_path, "weight_map", "a file name is not a string");
    const std::string file_name = shard_name.get<std::string>();
    check_shard_name(file_name, index_path);
    auto shard = shards.find(file_name);
    if (shard == shards.end()) {
      const std::string shard_path = join_path(folder, file_name);
      if (!file_exists(shard_path))
        throw FileError(shard_path, "",
                        "is missing, but model.safetensors.index.json names it: copy every shard");
      shard = shards.emplace(file_name, read_safetensors(shard_path)).first;
    }
    all.tensors[name] = shard->second.at(name);
  }
  size_t found = 0;
  for (const auto& [file_name, shard] : shards) {
    found += shard.tensors.size();
    all.metadata.insert(shard.metadata.begin(), shard.metadata.end());
    all.files.insert(all.files.end(), shard.files.begin(), shard.files.end());
  }
  if (found != all.tensors.size())
    throw FileError(index_path, "weight_map",
                    fmt::format("lists {} tensors, but the shards hold {}", all.tensors.size(), found));
  return all;
}

}  // namespace

Safetensors read_safetensors_folder(const std::string& folder) {
  const std::string single = join_path(folder, "model.safetensors");
  const std::string index = join_path(folder, "model.safetensors.index.json");
  if (file_exists(single)) return read_safetensors(single);
  if (file_exists(index)) return read_shards(folder, index);
  if (file_exists(join_path(folder, "pytorch_model.bin")))
    throw FileError(folder, "",
                    "holds only pytorch_model.bin, a Python pickle, which Chalk does not read; save it with "
                    "save_pretrained(..., safe_serialization=True)");
  throw FileError(folder, "", "holds neither model.safetensors nor model.safetensors.index.json");
}

namespace {

std::string header_json(const std::vector<TensorInfo>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json::object_t header;  // an object_t appends without searching
  if (!metadata.empty()) header.push_back({"__metadata__", metadata});
  int64_t offset = 0;
  for (const TensorInfo& info : tensors) {
    const int64_t end = offset + tensor_bytes(info);
    header.push_back(
        {info.name,
         {{"dtype", dtype_name(info.dtype)}, {"shape", info.shape}, {"data_offsets", {offset, end}}}});
    offset = end;
  }
  std::string text = nlohmann::ordered_json(std::move(header)).dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data begin at a multiple of 8
  return text;
}

}  // namespace

SafetensorsWriter::SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), tensors_(std::move(tensors)) {
  std::sort(tensors_.begin(), tensors_.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
  });
  for (size_t i = 0; i < tensors_.size(); ++i) {
    check(tensors_[i].name != "__metadata__", "{}: a tensor cannot be called __metadata__", path);
    check(i == 0 || tensors_[i].name != tensors_[i - 1].name, "{}: tensor {} is given twice", path,
          tensors_[i].name);
  }
  const std::string header = header_json(tensors_, metadata);
  check(header.size() <= kLongestHeader, "{}: the header has {} bytes, more than readers accept", path,
        header.size());
  const uint64_t length = header.size();
  file_.write(&length, 8);
  file_.write(header);
}

void SafetensorsWriter::write(std::span<const uint8_t> bytes) {
  check(written_ < tensors_.size(), "safetensors: more tensors written than announced");
  const TensorInfo& info = tensors_[written_];
  check(static_cast<int64_t>(bytes.size()) == tensor_bytes(info),
        "safetensors: tensor {} has {} bytes, expected {}", info.name, bytes.size(), tensor_bytes(info));
  file_.write(bytes.data(), bytes.size());
  ++written_;
}

void SafetensorsWriter::commit() {
  check(written_ == tensors_.size(), "safetensors: {} tensors written, {} announced", written_,
        tensors_.size());
  file_.commit();
}

void write_safetensors(const std::string& path, const std::vector<ArrayView>& arrays,
                       const std::map<std::string, std::string>& metadata) {
  std::vector<TensorInfo> infos;
  std::map<std::string, std::span<const uint8_t>> bytes;
  for (const ArrayView& array : arrays) {
    infos.push_back({array.name, array.dtype, array.shape});
    bytes[array.name] = array.bytes;
  }
  SafetensorsWriter writer(path, std::move(infos), metadata);
  for (const TensorInfo& info : writer.order()) writer.write(bytes.at(info.name));
  writer.commit();
}

}  // namespace chalk
