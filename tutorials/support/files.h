#pragma once
// Reading and writing small files: an old file survives a full disk or a kill, because the new one is renamed over it.
#include <cstdint>
#include <string>

namespace chalk {

// Writes to a temporary name in the same folder, flushes it to the disk, renames it to `path`. Missing folders are made.
// Throws Error (exit 1) naming the path and the system's reason; `path` then still holds what it held before.
void write_file(const std::string& path, const std::string& bytes);

// The whole file. Throws FileError (exit 3) when it is missing, no plain file, or longer than `max_bytes`.
std::string read_file(const std::string& path, int64_t max_bytes);

// Makes the folder and its parents. Throws Error (exit 1) naming the path and the reason.
void make_folder(const std::string& path);

}  // namespace chalk
