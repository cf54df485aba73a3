#pragma once
// Where tests find data, a folder to write in, and how they look at errors and weights.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "autograd/check.h"
#include "models/io/weights.h"
#include "tests/models/io/tiny_checkpoints.h"

namespace chalk {

inline std::string data_folder() {
  const char* folder = std::getenv("CHALK_DATA");
  return folder != nullptr ? folder : "data";
}

inline std::string golden_folder() {
  const char* folder = std::getenv("CHALK_GOLDEN");
  return folder != nullptr ? folder : data_folder() + "/golden";
}

#define SKIP_WITHOUT(path)            \
  if (!std::filesystem::exists(path)) \
  GTEST_SKIP() << "no file " << (path) << " (set CHALK_DATA, or run make data)"

// A fresh folder that disappears with the test.
struct TemporaryFolder {
  TemporaryFolder() {
    static int counter = 0;
    path = (std::filesystem::temp_directory_path() / fmt::format("chalk_io_{}_{}", ::getpid(), counter++))
               .string();
    std::filesystem::create_directories(path);
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path); }
  std::string file(const std::string& name) const { return path + "/" + name; }
  std::string path;
};

inline std::vector<uint8_t> file_bytes(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::vector<uint8_t>(std::istreambuf_iterator<char>(stream), {});
}

// The message of the FileError that `action` must throw; fails the test if it does not.
template <class Action>
std::string file_error(Action action) {
  try {
    action();
  } catch (const FileError& error) {
    EXPECT_EQ(error.exit_code, 3);
    return error.what();
  } catch (const std::exception& other) {
    ADD_FAILURE() << "threw something else than FileError: " << other.what();
    return "";
  }
  ADD_FAILURE() << "accepted what it should refuse";
  return "";
}

#define EXPECT_TEXT_IN(part, text) EXPECT_NE(std::string(text).find(part), std::string::npos) << text

inline void expect_same_weights(const Checkpoint& got, const Checkpoint& expected) {
  ASSERT_EQ(got.weights.size(), expected.weights.size());
  for (size_t i = 0; i < got.weights.size(); ++i) {
    EXPECT_EQ(got.weights[i].name, expected.weights[i].name);
    EXPECT_EQ(got.weights[i].shape, expected.weights[i].shape) << got.weights[i].name;
    EXPECT_EQ(got.weights[i].data, expected.weights[i].data) << got.weights[i].name;
  }
}

}  // namespace chalk
