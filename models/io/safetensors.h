#pragma once
// safetensors: 8 bytes header length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}}, then
// raw data. Source: the format's specification and the checks of its reference library.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/io/dtype.h"
#include "models/io/file.h"

namespace chalk {

// The tensors of one file, or of all shards of a model. The views point into the bytes that were parsed.
struct Safetensors {
  std::string path;
  std::map<std::string, ArrayView> tensors;     // by name
  std::map<std::string, std::string> metadata;  // "__metadata__"
  std::vector<std::shared_ptr<const MappedFile>>
      files;  // keep the views alive; empty after parse_safetensors

  // Throws FileError with the missing name.
  const ArrayView& at(const std::string& name) const;
};

// Checks everything before any use: header length (at most 100 MB), JSON, duplicate names, dtypes, product of
// the shape against the byte range, ranges that overlap, leave holes or do not end with the file. Throws
// FileError. `bytes` must outlive the result; `path` only names them in messages.
Safetensors parse_safetensors(std::span<const uint8_t> bytes, const std::string& path);

Safetensors read_safetensors(const std::string& path);

// folder/model.safetensors, or else all shards named in folder/model.safetensors.index.json.
Safetensors read_safetensors_folder(const std::string& folder);

// Name, type and shape of a tensor that will be written.
struct TensorInfo {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
};

// Writes tensors one at a time, so that a whole model need not be converted at once:
//   SafetensorsWriter writer(path, infos);
//   for (const TensorInfo& info : writer.order()) writer.write(bytes of info.name);
//   writer.commit();
// File order: by type, larger ones first, then by name, as the reference library does.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::string& path, std::vector<TensorInfo> tensors,
                    const std::map<std::string, std::string>& metadata = {});
  const std::vector<TensorInfo>& order() const { return tensors_; }
  void write(std::span<const uint8_t> bytes);  // the next tensor of order(), complete
  void commit();                               // all tensors must have been written

 private:
  AtomicFile file_;
  std::vector<TensorInfo> tensors_;
  size_t written_ = 0;
};

// Writes arrays that are already in memory.
void write_safetensors(const std::string& path, const std::vector<ArrayView>& arrays,
                       const std::map<std::string, std::string>& metadata = {});

// Bytes of a tensor of this type and shape. Throws Error for a negative size or an overflow.
int64_t tensor_bytes(const TensorInfo& info);

}  // namespace chalk
