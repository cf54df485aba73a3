// Control vectors as files, and added to a running model.

#include "models/control_vector.h"

#include <charconv>
#include <cmath>

#include "autograd/check.h"
#include "models/io/gguf.h"
#include "models/io/safetensors.h"

namespace chalk {

namespace {

const std::string kPrefix = "direction.";
constexpr int64_t kMostBlocks = 100000;  // of any model; a file that names a higher one is wrong

bool is_gguf(const std::string& path) {
  if (path.ends_with(".gguf")) return true;
  if (path.ends_with(".safetensors")) return false;
  throw UsageError(path + ": a control vector is a .gguf or a .safetensors file");
}

// K of "direction.K"
int64_t block_of(const std::string& path, const std::string& name, int64_t lowest) {
  int64_t block = -1;
  const char* end = name.data() + name.size();
  const bool prefixed = name.starts_with(kPrefix) && name.size() > kPrefix.size();
  const auto [rest, error] = prefixed ? std::from_chars(name.data() + kPrefix.size(), end, block)
                                      : std::from_chars_result{nullptr, std::errc::invalid_argument};
  if (error != std::errc() || rest != end || block < lowest || block > kMostBlocks) {
    throw FileError(path, "tensor " + printable(name),
                    fmt::format("expected direction.K with a block number K of {} or more", lowest));
  }
  return block;
}

void insert(ControlVector& vector, const std::string& path, const std::string& name, int64_t lowest,
            const std::vector<int64_t>& shape, std::vector<float> values) {
  const std::string field = "tensor " + printable(name);
  if (shape.size() != 1 || values.empty()) throw FileError(path, field, "expected one axis");
  if (!vector.directions.empty() && vector.directions.begin()->second.size() != values.size()) {
    throw FileError(path, field,
                    fmt::format("{} numbers, but other directions have {}", values.size(),
                                vector.directions.begin()->second.size()));
  }
  for (float x : values) {
    if (!std::isfinite(x)) throw FileError(path, field, "holds a number that is not finite");
  }
  if (!vector.directions.emplace(block_of(path, name, lowest), std::move(values)).second) {
    throw FileError(path, field, "a second direction for the same block");
  }
}

std::span<const uint8_t> bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

ControlVector from_gguf(const Gguf& file, const std::string& path) {
  const std::string architecture = file.metadata.get_string("general.architecture");
  if (architecture != "controlvector") {
    throw FileError(path, "general.architecture",
                    "'" + printable(architecture) + "', expected 'controlvector'");
  }
  ControlVector vector{{}, file.metadata.get_string("controlvector.model_hint", "")};
  for (const GgufTensor& tensor : file.tensors) {
    if (tensor.type != GgmlType::F32)
      throw FileError(path, "tensor " + printable(tensor.name), "expected F32");
    insert(vector, path, tensor.name, 1, tensor.shape, to_floats(tensor));
  }
  return vector;
}

ControlVector from_safetensors(const Safetensors& file, const std::string& path) {
  const auto hint = file.metadata.find("model_hint");
  ControlVector vector{{}, hint == file.metadata.end() ? "" : hint->second};
  for (const auto& [name, array] : file.tensors) {
    if (!is_float_dtype(array.dtype))
      throw FileError(path, "tensor " + printable(name), "expected floating point");
    insert(vector, path, name, 0, array.shape, to_floats(array));
  }
  return vector;
}

}  // namespace

void write_control_vector(const std::string& path, const ControlVector& vector) {
  if (vector.directions.empty()) throw UsageError(path + ": the control vector has no direction");
  if (is_gguf(path)) {
    if (vector.directions.contains(0)) {
      throw UsageError(
          path +
          ": GGUF control vectors have no direction for block 0 (llama.cpp refuses direction.0); "
          "write .safetensors, or steer a later block");
    }
    GgufMetadata metadata;
    metadata.set("general.architecture", GgufValue::text("controlvector"));
    metadata.set("controlvector.model_hint", GgufValue::text(vector.model_hint));
    metadata.set("controlvector.layer_count", GgufValue::u32(uint32_t(vector.directions.size())));
    std::vector<GgufSource> tensors;
    for (const auto& [block, values] : vector.directions) {
      tensors.push_back({kPrefix + std::to_string(block), {int64_t(values.size())}, GgmlType::F32, values});
    }
    write_gguf(path, metadata, tensors);
  } else {
    std::vector<ArrayView> arrays;
    for (const auto& [block, values] : vector.directions) {
      arrays.push_back(
          {kPrefix + std::to_string(block), DType::F32, {int64_t(values.size())}, bytes_of(values)});
    }
    write_safetensors(path, arrays, {{"model_hint", vector.model_hint}, {"site", "resid_post"}});
  }
}

ControlVector parse_control_vector(std::span<const uint8_t> bytes, const std::string& path) {
  ControlVector vector = is_gguf(path) ? from_gguf(parse_gguf(bytes, path), path)
                                       : from_safetensors(parse_safetensors(bytes, path), path);
  if (vector.directions.empty()) throw FileError(path, "", "holds no direction");
  return vector;
}

ControlVector read_control_vector(const std::string& path) {
  is_gguf(path);  // a wrong ending is a wrong flag, whether or not the file is there
  const MappedFile file(path);
  return parse_control_vector(file.bytes(), path);
}

void add_control_vector(Edits& edits, LanguageModel& model, const ControlVector& vector, double strength) {
  if (!vector.model_hint.empty() && vector.model_hint != model.architecture()) {
    throw UsageError(
        fmt::format("the control vector was made for a model of architecture '{}', this one is '{}'",
                    printable(vector.model_hint), model.architecture()));
  }
  const int64_t L = int64_t(model.blocks().size());
  for (const auto& [block, values] : vector.directions) {
    if (block < 0 || block >= L || int64_t(values.size()) != model.width()) {
      throw UsageError(
          fmt::format("the control vector has {} numbers for block {}; the model has {} blocks of width {}",
                      values.size(), block, L, model.width()));
    }
  }
  if (strength == 0) return;
  for (const auto& [block, values] : vector.directions) {
    std::vector<float> v = values;
    for (float& x : v) x = float(double(x) * strength);
    edits.add(model.block_prefix(block) + "resid_post", add_vector(std::move(v)));
  }
}

}  // namespace chalk
