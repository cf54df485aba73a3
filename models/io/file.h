#pragma once
// Whole files in and out: a read-only mapping, text, and a writer that never leaves half a file behind.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

namespace chalk {

// A regular file mapped read-only into memory; pages are read when they are touched.
// Throws FileError if the file is missing, unreadable or not a regular file.
// Trap: another program that truncates the file while it is mapped makes a later read fail with SIGBUS.
// Replacing the file by rename, as AtomicFile does, is safe: the mapping keeps the old contents.
struct MappedFile {
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const uint8_t> bytes() const { return {data, size}; }

  const uint8_t* data = nullptr;  // null for an empty file
  size_t size = 0;
};

// A file that appears under its name complete or not at all: bytes go to a temporary name in the same folder,
// and commit() flushes them to the disk, closes the file and renames it over `path`. Without commit() (an
// exception on the way) the temporary is removed and an older `path` stays as it was. A `path` that exists
// and is not a regular file (/dev/stdout) is written directly. Every failure (full disk, no permission)
// throws Error with the system's reason.
class AtomicFile {
 public:
  explicit AtomicFile(const std::string& path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* bytes, size_t count);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  void fail(const char* action);

  std::string path_;
  std::string temporary_;  // empty when `path` is written directly
  std::FILE* file_ = nullptr;
};

// The whole file as text. Throws FileError if it cannot be read or is longer than `max_bytes`.
std::string read_text(const std::string& path, size_t max_bytes = size_t{1} << 30);

// Writes `text` through AtomicFile.
void write_text(const std::string& path, std::string_view text);

bool is_folder(const std::string& path);
bool file_exists(const std::string& path);  // anything of that name

// Creates the folder and its parents; no error if it exists. Throws Error.
void make_folders(const std::string& path);

// folder + "/" + name, without doubling the slash.
std::string join_path(const std::string& folder, const std::string& name);

// A name found in a file, made safe to print in a message: control and non-ASCII bytes escaped, at most 80
// characters.
std::string printable(std::string_view name);

}  // namespace chalk
