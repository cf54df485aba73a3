#pragma once
// The tokenizer inside a GGUF file.

#include <memory>

#include "models/io/gguf_metadata.h"
#include "models/text/tokenizer.h"

namespace chalk {

// From the tokenizer.ggml.* keys (models/text/gguf_tokenizer.h does the work). FileError names the key.
std::unique_ptr<Tokenizer> tokenizer_from_gguf(const GgufMetadata& metadata);

// The same keys for a file to be written; throws Error for a tokenizer that GGUF cannot express (words, characters).
GgufMetadata tokenizer_to_gguf(const Tokenizer& tokenizer);

}  // namespace chalk
