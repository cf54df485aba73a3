#pragma once
// Text for people: aligned tables, and numbers with units.
#include <cstdint>
#include <string>
#include <vector>

namespace chalk {

// Rows may be shorter than the header. A column whose every cell starts like a number is set to the right.
struct Table {
  std::vector<std::string> header;
  std::vector<std::vector<std::string>> rows = {};

  bool is_numeric(size_t column) const;
};

// method   bits   loss
// -------  ----  -----
// float      32  1.234
std::string to_text(const Table& table);

std::string human_bytes(double bytes);       // "1.5 KiB", "12 MiB"
std::string human_count(double count);       // "843", "12.3 K", "1.2 M", "3.4 B"
std::string human_duration(double seconds);  // "480 ms", "4.2 s", "1 min 35 s", "2 h 05 min"

// "about 2 min 10 s: 2000 steps of 65 ms, measured over 3 steps"
std::string describe_estimate(double seconds_per_step, int64_t steps, int64_t measured_steps);

}  // namespace chalk
