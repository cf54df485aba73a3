#pragma once
// SHA-256 (FIPS 180-4): the fingerprint by which a file or a list of token ids is recognised.
#include <string>
#include <string_view>

namespace chalk {

// The digest of `bytes` as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);

}  // namespace chalk
