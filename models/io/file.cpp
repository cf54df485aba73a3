#include "models/io/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "autograd/check.h"

namespace chalk {
namespace {

std::string reason() {
  return std::strerror(errno);
}

// Closes a file descriptor when the scope ends, exceptions included.
struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  int number;
};

// Makes the rename itself survive a power cut. Some file systems cannot do it for a folder: that is not an
// error.
void sync_folder_of(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const Descriptor folder(::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number >= 0) ::fsync(folder.number);
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number < 0) throw FileError(path, "", "cannot open: " + reason());
  struct stat info {};
  if (::fstat(file.number, &info) != 0) throw FileError(path, "", "cannot read: " + reason());
  if (S_ISDIR(info.st_mode)) throw FileError(path, "", "is a folder, expected a file");
  if (!S_ISREG(info.st_mode)) throw FileError(path, "", "is not a regular file");
  size = static_cast<size_t>(info.st_size);
  if (size == 0) return;  // mmap refuses a length of zero
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.number, 0);
  if (address == MAP_FAILED) throw FileError(path, "", "cannot map into memory: " + reason());
  data = static_cast<const uint8_t*>(address);
}

MappedFile::~MappedFile() {
  if (data != nullptr) ::munmap(const_cast<uint8_t*>(data), size);
}

AtomicFile::AtomicFile(const std::string& path) : path_(path) {
  static std::atomic<int> counter{0};
  struct stat info {};
  const bool exists = ::stat(path.c_str(), &info) == 0;
  if (exists && S_ISDIR(info.st_mode)) throw Error(path + ": cannot write: is a folder");
  if (!exists || S_ISREG(info.st_mode)) temporary_ = fmt::format("{}.tmp-{}-{}", path, ::getpid(), counter++);
  file_ = std::fopen(temporary_.empty() ? path.c_str() : temporary_.c_str(), "wbe");
  if (file_ == nullptr) {
    const std::string why = reason();
    temporary_.clear();  // not ours to remove
    throw Error(path + ": cannot create: " + why);
  }
}

AtomicFile::~AtomicFile() {
  if (file_ != nullptr) std::fclose(file_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::fail(const char* action) {
  throw Error(fmt::format("{}: cannot {}: {}", path_, action, reason()));
}

void AtomicFile::write(const void* bytes, size_t count) {
  if (count > 0 && std::fwrite(bytes, 1, count, file_) != count) fail("write");
}

void AtomicFile::commit() {
  if (std::fflush(file_) != 0) fail("write");
  // The data must be on the disk before the name points to it. EINVAL: a pipe or a terminal, which cannot be
  // synced.
  if (::fsync(::fileno(file_)) != 0 && errno != EINVAL && errno != ENOTSUP) fail("write");
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) fail("close");
  if (temporary_.empty()) return;
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) fail("rename the finished file");
  temporary_.clear();
  sync_folder_of(path_);
}

std::string read_text(const std::string& path, size_t max_bytes) {
  const MappedFile file(path);
  if (file.size > max_bytes)
    throw FileError(path, "", fmt::format("has {} bytes, expected at most {}", file.size, max_bytes));
  return std::string(reinterpret_cast<const char*>(file.data), file.size);
}

void write_text(const std::string& path, std::string_view text) {
  AtomicFile file(path);
  file.write(text);
  file.commit();
}

bool is_folder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

bool file_exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

void make_folders(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) throw Error(path + ": cannot create the folder: " + problem.message());
}

std::string join_path(const std::string& folder, const std::string& name) {
  return (std::filesystem::path(folder) / name).string();
}

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 80;
  std::string text;
  for (const char c : name.substr(0, kLongest)) {
    if (c >= 0x20 && c < 0x7f)
      text += c;
    else
      text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return name.size() > kLongest ? text + "..." : text;
}

}  // namespace chalk
