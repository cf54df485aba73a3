#include "models/io/packed_layers.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "autograd/check.h"
#include "models/io/huggingface.h"

namespace chalk {

bool is_packed_tensor(const std::string& name) {
  static const char* const suffixes[] = {".qweight", ".qzeros", ".scales", ".g_idx"};
  return std::any_of(std::begin(suffixes), std::end(suffixes),
                     [&](const char* suffix) { return name.ends_with(suffix); });
}

std::vector<QuantizedWeight> read_packed_layers(const Safetensors& file, const Checkpoint& checkpoint,
                                                const LayerReader& read) {
  std::map<std::string, std::vector<int64_t>> shapes;  // of all matrices of the model
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    if (parameter.shape.size() == 2) shapes[parameter.name] = parameter.shape;
  }
  const std::string prefix = hf_prefix(checkpoint.architecture);
  std::vector<QuantizedWeight> layers;
  std::set<std::string> seen;
  for (const auto& [name, array] : file.tensors) {
    if (!name.ends_with(".qweight")) continue;
    const std::string field = "tensor " + printable(name);
    const std::string stored = name.substr(0, name.size() - std::strlen(".qweight"));
    const std::string slot = stored.starts_with(prefix) ? stored.substr(prefix.size()) : stored;
    const auto shape = shapes.find(slot + ".weight");
    if (shape == shapes.end()) throw FileError(file.path, field, "belongs to no projection of the model");
    if (!seen.insert(slot).second)
      throw FileError(file.path, field, "is stored twice, with and without its prefix");
    try {
      layers.push_back({slot, read(stored, shape->second)});
    } catch (const FileError&) {
      throw;
    } catch (const Error& problem) {
      throw FileError(file.path, field, problem.what());
    }
  }
  return layers;
}

void check_shape(const ArrayView& array, const std::vector<int64_t>& shape, const std::string& path) {
  if (array.shape == shape) return;
  throw FileError(
      path, "tensor " + printable(array.name),
      fmt::format("has shape ({}), expected ({})", fmt::join(array.shape, ", "), fmt::join(shape, ", ")));
}

const ArrayView& int32_tensor(const Safetensors& file, const std::string& name,
                              const std::vector<int64_t>& shape) {
  const ArrayView& array = file.at(name);
  check_shape(array, shape, file.path);
  if (array.dtype == DType::I32 || array.dtype == DType::U32) return array;
  throw FileError(file.path, "tensor " + printable(name),
                  fmt::format("has dtype {}, expected I32", dtype_name(array.dtype)));
}

const ArrayView& float_tensor(const Safetensors& file, const std::string& name,
                              const std::vector<int64_t>& shape) {
  const ArrayView& array = file.at(name);
  check_shape(array, shape, file.path);
  if (!is_float_dtype(array.dtype))
    throw FileError(file.path, "tensor " + printable(name), "is not of a float type");
  return array;
}

}  // namespace chalk
