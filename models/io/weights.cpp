#include "models/io/weights.h"

#include <algorithm>
#include <map>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/io/gguf_model.h"
#include "models/io/huggingface.h"
#include "models/io/llama2c.h"

namespace chalk {

const NamedArray& Checkpoint::at(const std::string& name) const {
  for (const NamedArray& weight : weights)
    if (weight.name == name) return weight;
  throw Error(path + ": no array named " + name);
}

Checkpoint read_checkpoint(const std::string& path) {
  if (is_folder(path)) return read_hf_folder(path);
  const MappedFile file(path);
  const std::string_view start(reinterpret_cast<const char*>(file.data), std::min<size_t>(file.size, 4));
  if (start == "GGUF") return read_gguf_model(path);
  if (path.ends_with(".safetensors"))
    throw FileError(path, "", "holds weights only; give the folder, which also has config.json");
  if (path.ends_with(".gguf")) throw FileError(path, "magic", "is not GGUF");
  // The llama2.c format has no magic number; its reader checks the header against the size of the file.
  if (path.ends_with(".bin")) return parse_llama2c(file.bytes(), path);
  throw FileError(path, "", "is no model: expected a Hugging Face folder, a llama2.c .bin or a .gguf file");
}

void dequantize_weights(Checkpoint& checkpoint) {
  std::map<std::string, NamedArray*> arrays;
  for (NamedArray& weight : checkpoint.weights) arrays[weight.name] = &weight;
  std::map<std::string, QuantizedMatrix*> matrices;
  for (QuantizedWeight& layer : checkpoint.quantized) matrices[layer.slot + ".weight"] = &layer.matrix;
  std::vector<NamedArray> all;
  for (const ParameterShape& parameter : parameter_shapes(checkpoint)) {
    const auto matrix = matrices.find(parameter.name);
    if (matrix == matrices.end()) {
      const auto array = arrays.find(parameter.name);
      check(array != arrays.end(), "{}: no array named {}", checkpoint.path, parameter.name);
      all.push_back(std::move(*array->second));
    } else {
      all.push_back({parameter.name, parameter.shape, dequantize(*matrix->second)});
      *matrix->second = {};  // one copy in memory at a time
    }
  }
  for (NamedArray& weight : all) {
    const auto scales = checkpoint.input_scales.find(weight.name.substr(0, weight.name.rfind('.')));
    if (scales == checkpoint.input_scales.end() || !weight.name.ends_with(".weight")) continue;
    const std::vector<float>& s = scales->second;  // W·(x / s) = (W·diag(s)⁻¹)·x
    for (size_t k = 0; k < weight.data.size(); ++k) weight.data[k] /= s[k % s.size()];
  }
  checkpoint.weights = std::move(all);
  checkpoint.quantized.clear();
  checkpoint.input_scales.clear();
}

std::vector<ParameterShape> parameter_shapes(const Checkpoint& checkpoint) {
  return checkpoint.architecture == "gpt2" ? parameter_shapes(checkpoint.gpt2)
                                           : parameter_shapes(checkpoint.llama);
}

namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  return fmt::format("({})", fmt::join(shape, ", "));
}

// "missing: a, b and 3 more; "; nothing for an empty list.
std::string list_text(const char* what, const std::vector<std::string>& items) {
  constexpr size_t kShown = 4;
  if (items.empty()) return "";
  const size_t shown = std::min(items.size(), kShown);
  std::string text = fmt::format("{}: {}", what, fmt::join(items.begin(), items.begin() + shown, ", "));
  if (items.size() > shown) text += fmt::format(" and {} more", items.size() - shown);
  return text + "; ";
}

}  // namespace

void check_parameters(const std::vector<ParameterShape>& expected, const std::vector<ParameterShape>& found,
                      const std::string& path) {
  std::map<std::string, const std::vector<int64_t>*> found_shapes;
  for (const ParameterShape& parameter : found) found_shapes[parameter.name] = &parameter.shape;
  std::vector<std::string> missing, misshapen, unexpected;
  for (const ParameterShape& parameter : expected) {
    const auto match = found_shapes.find(parameter.name);
    if (match == found_shapes.end()) {
      missing.push_back(parameter.name);
      continue;
    }
    if (*match->second != parameter.shape)
      misshapen.push_back(fmt::format("{} is {}, expected {}", parameter.name, shape_text(*match->second),
                                      shape_text(parameter.shape)));
    found_shapes.erase(match);
  }
  for (const auto& [name, shape] : found_shapes)
    unexpected.push_back(printable(name) + " " + shape_text(*shape));
  if (missing.empty() && misshapen.empty() && unexpected.empty()) return;
  std::string reason = list_text("missing", missing) + list_text("unexpected", unexpected) +
                       list_text("wrong shape", misshapen);
  reason.resize(reason.size() - 2);
  throw FileError(path, "tensors", "do not match the configuration: " + reason);
}

void check_weights(const Checkpoint& checkpoint) {
  check(checkpoint.input_scales.empty(), "checkpoint: {} divides its input, which only an AWQ folder can say",
        checkpoint.input_scales.empty() ? "" : checkpoint.input_scales.begin()->first);
  std::vector<ParameterShape> found;
  for (const NamedArray& weight : checkpoint.weights) {
    found.push_back({weight.name, weight.shape});
    check(static_cast<int64_t>(weight.data.size()) == parameter_count({found.back()}),
          "checkpoint: {} has {} numbers, which is not its shape {}", weight.name, weight.data.size(),
          shape_text(weight.shape));
  }
  try {
    check_parameters(parameter_shapes(checkpoint), found, "checkpoint");
  } catch (const FileError& problem) {
    throw Error(problem.what());  // the caller's arrays are wrong, not a file
  }
}

std::vector<float> interleaved_to_half_split(std::span<const float> rows, int64_t heads, int64_t head_size,
                                             int64_t columns) {
  std::vector<float> result(rows.size());
  const int64_t half = head_size / 2;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < head_size; ++i) {
      // Half-split row i < D/2 is interleaved row 2i; row D/2 + i is row 2i + 1.
      const int64_t from = i < half ? 2 * i : 2 * (i - half) + 1;
      const float* source = rows.data() + (head * head_size + from) * columns;
      std::copy(source, source + columns, result.data() + (head * head_size + i) * columns);
    }
  }
  return result;
}

std::vector<float> half_split_to_interleaved(std::span<const float> rows, int64_t heads, int64_t head_size,
                                             int64_t columns) {
  std::vector<float> result(rows.size());
  const int64_t half = head_size / 2;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < head_size; ++i) {
      // Interleaved row 2i is half-split row i; row 2i + 1 is row D/2 + i.
      const int64_t from = i % 2 == 0 ? i / 2 : half + i / 2;
      const float* source = rows.data() + (head * head_size + from) * columns;
      std::copy(source, source + columns, result.data() + (head * head_size + i) * columns);
    }
  }
  return result;
}

std::vector<float> transposed(std::span<const float> matrix, int64_t rows, int64_t columns) {
  std::vector<float> result(matrix.size());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c) result[c * rows + r] = matrix[r * columns + c];
  return result;
}

}  // namespace chalk
