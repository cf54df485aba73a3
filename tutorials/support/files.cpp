#include "tutorials/support/files.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "autograd/check.h"

namespace chalk {
namespace fs = std::filesystem;

void make_folder(const std::string& path) {
  if (path.empty()) return;
  std::error_code reason;
  fs::create_directories(path, reason);
  check(!reason, "cannot make the folder {}: {}", path, reason.message());
}

void write_file(const std::string& path, const std::string& bytes) {
  make_folder(fs::path(path).parent_path().string());
  const std::string temporary = fmt::format("{}.{}.tmp", path, getpid());
  FILE* file = fopen(temporary.c_str(), "wb");
  check(file != nullptr, "cannot write {}: {}", path, strerror(errno));
  bool ok = fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size();
  ok = ok && fflush(file) == 0 && fsync(fileno(file)) == 0;
  int reason = ok ? 0 : errno;
  if (fclose(file) != 0 && ok) {  // a full disk may show only here
    ok = false;
    reason = errno;
  }
  if (ok && rename(temporary.c_str(), path.c_str()) != 0) {
    ok = false;
    reason = errno;
  }
  if (!ok) unlink(temporary.c_str());
  check(ok, "cannot write {}: {}", path, strerror(reason));
}

std::string read_file(const std::string& path, int64_t max_bytes) {
  std::error_code reason;
  const fs::file_status status = fs::status(path, reason);
  if (!fs::exists(status)) throw FileError(path, "", "no such file");
  if (!fs::is_regular_file(status)) throw FileError(path, "", "not a plain file");
  FILE* file = fopen(path.c_str(), "rb");
  if (!file) throw FileError(path, "", strerror(errno));
  std::string bytes;
  char block[65536];
  size_t count = 0;
  while ((count = fread(block, 1, sizeof block, file)) > 0 && int64_t(bytes.size()) <= max_bytes) {
    bytes.append(block, count);
  }
  const bool failed = ferror(file);
  fclose(file);
  if (failed) throw FileError(path, "", "cannot be read");
  if (int64_t(bytes.size()) > max_bytes) {
    throw FileError(path, "", fmt::format("longer than the {} bytes that are allowed here", max_bytes));
  }
  return bytes;
}

}  // namespace chalk
