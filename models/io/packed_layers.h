#pragma once
// What GPTQ and AWQ folders have in common: projections stored as X.qweight with companions instead of X.weight.
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "models/io/safetensors.h"
#include "models/io/weights.h"

namespace chalk {

// X.qweight, X.qzeros, X.scales or X.g_idx: never the name of a float parameter.
bool is_packed_tensor(const std::string& name);

// Calls read(X as stored, shape (out, in)) for every X.qweight of the file. `checkpoint` says which projections there are,
// and their sizes. Throws FileError naming tensor and reason; a failure of `read` becomes one.
using LayerReader =
    std::function<QuantizedMatrix(const std::string& stored, const std::vector<int64_t>& shape)>;
std::vector<QuantizedWeight> read_packed_layers(const Safetensors& file, const Checkpoint& checkpoint,
                                                const LayerReader& read);

// ---- tensors as words ----

// Throws FileError naming both shapes.
void check_shape(const ArrayView& array, const std::vector<int64_t>& shape, const std::string& path);
// Throws FileError unless the tensor has that shape and 32-bit integers.
const ArrayView& int32_tensor(const Safetensors& file, const std::string& name,
                              const std::vector<int64_t>& shape);
// Throws FileError unless it has that shape and a float type.
const ArrayView& float_tensor(const Safetensors& file, const std::string& name,
                              const std::vector<int64_t>& shape);

template <class Word>
std::vector<Word> words_of(const ArrayView& array) {
  std::vector<Word> words(array.bytes.size() / sizeof(Word));
  if (!words.empty()) std::memcpy(words.data(), array.bytes.data(), words.size() * sizeof(Word));
  return words;
}

template <class Word>
std::vector<uint8_t> bytes_of(const std::vector<Word>& words) {
  std::vector<uint8_t> bytes(words.size() * sizeof(Word));
  if (!bytes.empty()) std::memcpy(bytes.data(), words.data(), bytes.size());
  return bytes;
}

}  // namespace chalk
