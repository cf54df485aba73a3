#pragma once
// GGUF versions 2 and 3: typed metadata, a table of tensors, aligned tensor data. llama.cpp's format; source:
// ggml's gguf.md and gguf.cpp. This file knows the container; gguf_model.h knows models.
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "models/io/file.h"
#include "models/io/gguf_blocks.h"
#include "models/io/gguf_metadata.h"

namespace chalk {

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // slowest first, as everywhere here; the file lists it fastest first
  GgmlType type = GgmlType::F32;
  std::span<const uint8_t> bytes;  // rows one after another, each a whole number of blocks
};

struct Gguf {
  std::string path;
  uint32_t version = 3;
  GgufMetadata metadata;
  std::vector<GgufTensor> tensors;         // in file order
  std::shared_ptr<const MappedFile> file;  // keeps `bytes` alive; null after parse_gguf

  const GgufTensor* find(const std::string& name) const;  // null if absent
};

// Checks before any use: magic, version, counts and lengths against the bytes that remain, value and tensor
// types, duplicate keys and names, shapes (overflow, whole blocks), alignment, and tensor offsets, which must
// follow each other without gaps up to the end of the file. Throws FileError. `bytes` must outlive it.
Gguf parse_gguf(std::span<const uint8_t> bytes, const std::string& path);
Gguf read_gguf(const std::string& path);

// Decodes all numbers. Throws Error for integer tensors.
std::vector<float> to_floats(const GgufTensor& tensor);

// A tensor to be written: float data, stored as `type`.
struct GgufSource {
  std::string name;
  std::vector<int64_t> shape;  // slowest first; the last size must be a multiple of the block size
  GgmlType type = GgmlType::F32;
  std::span<const float> data;
};

// Writes version 3, alignment 32, tensors in the given order, encoded one at a time.
void write_gguf(const std::string& path, const GgufMetadata& metadata,
                const std::vector<GgufSource>& tensors);

}  // namespace chalk
