// Small files that announce enormous contents: the readers must refuse them before they ask for the memory.
#include <cstring>
#include <new>
#include <nlohmann/json.hpp>

#include "models/io/gguf_model.h"
#include "models/io/json.h"
#include "models/io/llama2c.h"
#include "models/io/npy.h"
#include "models/io/safetensors.h"
#include "tests/models/io/paths.h"

namespace {

// Bytes alive through operator new, and the most since the last reset. Each block carries its size in front.
size_t live_bytes = 0, peak_bytes = 0;
constexpr size_t kFront = 16;

}  // namespace

void* operator new(size_t size) {
  char* block = static_cast<char*>(std::malloc(size + kFront));
  if (block == nullptr) throw std::bad_alloc();
  std::memcpy(block, &size, sizeof(size));
  live_bytes += size;
  peak_bytes = std::max(peak_bytes, live_bytes);
  return block + kFront;
}

void operator delete(void* pointer) noexcept {
  if (pointer == nullptr) return;
  char* block = static_cast<char*>(pointer) - kFront;
  size_t size;
  std::memcpy(&size, block, sizeof(size));
  live_bytes -= size;
  std::free(block);
}

void operator delete(void* pointer, size_t) noexcept {
  operator delete(pointer);
}

namespace chalk {
namespace {

// The most memory that `action` held at one time, beyond what was held before. It must throw FileError.
template <class Action>
size_t peak_while_refusing(Action action) {
  const size_t before = live_bytes;
  peak_bytes = live_bytes;
  EXPECT_THROW(action(), FileError);
  return peak_bytes - before;
}

template <class T>
void put(std::vector<uint8_t>& bytes, T value) {
  const uint8_t* first = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), first, first + sizeof(T));
}

constexpr size_t kAllowed = size_t{1} << 20;  // the files below have fewer than 200 bytes

TEST(Allocation, Llama2cHeaderOfATerabyte) {
  std::vector<uint8_t> bytes;
  for (const int32_t field : {1 << 20, 1 << 24, 1 << 14, 1 << 10, 1 << 10, 1 << 26, 1 << 30})
    put(bytes, field);
  EXPECT_LT(peak_while_refusing([&] { parse_llama2c(bytes, "x"); }), kAllowed);
}

TEST(Allocation, SafetensorsShapeOfATerabyte) {
  const std::string header =
      R"({"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}})";
  std::vector<uint8_t> bytes;
  put<uint64_t>(bytes, header.size());
  bytes.insert(bytes.end(), header.begin(), header.end());
  EXPECT_LT(peak_while_refusing([&] { parse_safetensors(bytes, "x"); }), kAllowed);
}

TEST(Allocation, GgufCountsAndLengths) {
  const auto start = [](uint64_t tensors, uint64_t pairs) {
    std::vector<uint8_t> bytes = {'G', 'G', 'U', 'F', 3, 0, 0, 0};
    put(bytes, tensors);
    put(bytes, pairs);
    return bytes;
  };
  const auto peak = [](const std::vector<uint8_t>& bytes) {
    return peak_while_refusing([&] { parse_gguf(bytes, "x"); });
  };
  EXPECT_LT(peak(start(uint64_t{1} << 60, 0)), kAllowed);
  EXPECT_LT(peak(start(0, uint64_t{1} << 60)), kAllowed);
  std::vector<uint8_t> long_key = start(0, 1);
  put(long_key, uint64_t{1} << 40);
  EXPECT_LT(peak(long_key), kAllowed);
  for (uint32_t type = 0; type <= 12; ++type) {
    std::vector<uint8_t> array = start(0, 1);
    put<uint64_t>(array, 1);
    array.push_back('k');
    put<uint32_t>(array, 9);
    put(array, type);
    put(array, uint64_t{1} << 40);
    array.resize(array.size() + 64);
    EXPECT_LT(peak(array), kAllowed) << "element type " << type;
  }
  std::vector<uint8_t> tensor = start(1, 0);
  put<uint64_t>(tensor, 1);
  tensor.push_back('t');
  put<uint32_t>(tensor, 1);
  put(tensor, uint64_t{1} << 40);
  put<uint32_t>(tensor, 0);
  put<uint64_t>(tensor, 0);
  EXPECT_LT(peak(tensor), kAllowed);
}

TEST(Allocation, NpyShapeOfATerabyte) {
  const std::string header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }\n";
  std::vector<uint8_t> bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
  put<uint16_t>(bytes, header.size());
  bytes.insert(bytes.end(), header.begin(), header.end());
  EXPECT_LT(peak_while_refusing([&] { parse_npy(bytes, "x"); }), kAllowed);
}

TEST(Allocation, NestedJson) {
  const std::string text(kAllowed, '[');
  EXPECT_LT(peak_while_refusing([&] { parse_json(text, "x"); }), kAllowed);
}

}  // namespace
}  // namespace chalk
