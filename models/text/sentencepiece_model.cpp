// Reading a SentencePiece `.model`: a ModelProto in protobuf's wire format, by hand. A message is a row of
// fields, each a key (number << 3 | wire type) and a value; unknown fields are stepped over. Field numbers:
// sentencepiece_model.proto.
#include <bit>
#include <cstring>

#include "autograd/check.h"
#include "models/io/file.h"
#include "models/text/sentencepiece.h"
#include "models/text/utf8.h"

namespace chalk {
namespace {

struct Field {
  uint64_t number = 0;
  uint64_t varint = 0;     // wire type 0
  std::string_view bytes;  // wire types 1 (8 bytes), 2 (length first) and 5 (4 bytes)
  int wire_type = 0;
};

// Walks through the fields of one message. Every length is checked against what is left before it is used.
class WireReader {
 public:
  WireReader(std::string_view bytes, const std::string& path, std::string name)
      : rest_(bytes), path_(path), name_(std::move(name)) {}

  bool next(Field& field) {
    if (rest_.empty()) return false;
    const uint64_t key = read_varint();
    field = {key >> 3, 0, {}, int(key & 7)};
    if (field.number == 0) fail("field number 0");
    switch (field.wire_type) {
      case 0:
        field.varint = read_varint();
        break;
      case 1:
        field.bytes = take(8);
        break;
      case 2:
        field.bytes = take(read_varint());
        break;
      case 5:
        field.bytes = take(4);
        break;
      default:
        fail(fmt::format("wire type {} of field {}, expected 0, 1, 2 or 5", field.wire_type, field.number));
    }
    return true;
  }

  // The value of a field, if it has the wire type that its meaning needs.
  int64_t integer(const Field& field) const {
    if (field.wire_type != 0)
      fail(fmt::format("field {} has wire type {}, expected an integer", field.number, field.wire_type));
    return int64_t(field.varint);  // negative int32 values are stored as 64 bits
  }
  bool flag(const Field& field) const { return integer(field) != 0; }
  std::string_view text(const Field& field) const {
    if (field.wire_type != 2)
      fail(fmt::format("field {} has wire type {}, expected bytes", field.number, field.wire_type));
    return field.bytes;
  }
  float number(const Field& field) const {
    if (field.wire_type != 5)
      fail(fmt::format("field {} has wire type {}, expected a float", field.number, field.wire_type));
    uint32_t bits = 0;
    for (int i = 3; i >= 0; i--) bits = bits << 8 | uint8_t(field.bytes[i]);  // little-endian
    return std::bit_cast<float>(bits);
  }
  int32_t id(const Field& field) const {
    const int64_t value = integer(field);
    if (value < -1 || value > INT32_MAX)
      fail(fmt::format("field {} is {}, expected a piece or -1", field.number, value));
    return int32_t(value);
  }
  [[noreturn]] void fail(const std::string& reason) const { throw FileError(path_, name_, reason); }

 private:
  uint64_t read_varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = uint8_t(take(1)[0]);
      value |= uint64_t(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail("an integer of more than 10 bytes");
  }
  std::string_view take(uint64_t count) {
    if (count > rest_.size())
      fail(fmt::format("is truncated: {} bytes wanted, {} left", count, rest_.size()));
    const std::string_view bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }

  std::string_view rest_;
  const std::string& path_;
  std::string name_;  // of the message, for errors
};

Piece parse_piece(std::string_view bytes, const std::string& path, size_t id) {
  WireReader reader(bytes, path, fmt::format("piece {}", id));
  Piece piece;
  for (Field field; reader.next(field);) {
    if (field.number == 1) piece.text = reader.text(field);
    if (field.number == 2) piece.score = reader.number(field);
    if (field.number == 3) {
      const int64_t type = reader.integer(field);
      if (type < 1 || type > 6) reader.fail(fmt::format("type {}, expected 1 to 6", type));
      piece.type = PieceType(type);
    }
  }
  return piece;
}

void parse_trainer_spec(std::string_view bytes, const std::string& path, SentencePieceParts& parts) {
  static const char* const kKinds[] = {"", "unigram", "BPE", "word", "character"};
  WireReader reader(bytes, path, "trainer_spec");
  int64_t kind = 1;  // unigram, unless the file says otherwise
  for (Field field; reader.next(field);) {
    switch (field.number) {
      case 3:
        kind = reader.integer(field);
        break;
      case 24:
        if (reader.flag(field)) reader.fail("treat_whitespace_as_suffix is not supported");
        break;
      case 35:
        parts.byte_fallback = reader.flag(field);
        break;
      case 40:
        parts.unk = reader.id(field);
        break;
      case 41:
        parts.bos = reader.id(field);
        break;
      case 42:
        parts.eos = reader.id(field);
        break;
      case 43:
        parts.pad = reader.id(field);
        break;
      case 44:
        parts.unk_surface = reader.text(field);
        break;
      default:
        break;
    }
  }
  if (kind != 2) {
    reader.fail(fmt::format("is a {} model; only BPE models are supported",
                            kind >= 1 && kind <= 4 ? kKinds[kind] : "strange"));
  }
}

void parse_normalizer_spec(std::string_view bytes, const std::string& path, SentencePieceParts& parts) {
  WireReader reader(bytes, path, "normalizer_spec");
  for (Field field; reader.next(field);) {
    switch (field.number) {
      case 2:
        if (!reader.text(field).empty())
          reader.fail("a character map is not supported (only the normalizer \"identity\")");
        break;
      case 3:
        parts.add_dummy_prefix = reader.flag(field);
        break;
      case 4:
        parts.remove_extra_whitespaces = reader.flag(field);
        break;
      case 5:
        if (!reader.flag(field)) reader.fail("escape_whitespaces = false is not supported");
        break;
      default:
        break;
    }
  }
}

// LLaMA-3's original tokenizer.model is another format under the same name: lines of base64, a space and a
// rank.
bool looks_like_rank_file(std::string_view bytes) {
  const size_t space =
      bytes.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=");
  return space != 0 && space != std::string_view::npos && bytes.substr(space).starts_with(" 0\n");
}

}  // namespace

std::unique_ptr<SentencePiece> parse_sentencepiece(std::string_view bytes, const std::string& path) {
  if (looks_like_rank_file(bytes)) {
    throw FileError(
        path, "",
        "is a list of ranks (tiktoken), not a SentencePiece model; use the tokenizer.json beside it");
  }
  SentencePieceParts parts;
  parts.unk = 0, parts.bos = 1, parts.eos = 2;  // the format's defaults, where the file is silent
  parts.byte_fallback = false;
  parts.remove_extra_whitespaces = true;
  bool has_trainer_spec = false;
  WireReader reader(bytes, path, "model");
  for (Field field; reader.next(field);) {
    if (field.number == 1) parts.pieces.push_back(parse_piece(reader.text(field), path, parts.pieces.size()));
    if (field.number == 2) parse_trainer_spec(reader.text(field), path, parts), has_trainer_spec = true;
    if (field.number == 3) parse_normalizer_spec(reader.text(field), path, parts);
  }
  if (parts.pieces.empty()) reader.fail("holds no pieces; is this a SentencePiece model?");
  if (!has_trainer_spec)
    reader.fail("holds no trainer_spec, so its kind is unknown; only BPE models are supported");
  // A role counts only if its piece has the type for it: a model without BOS leaves the default id at an
  // ordinary piece.
  const auto keep = [&](int32_t& id, PieceType type) {
    if (id >= 0 && (id >= int32_t(parts.pieces.size()) || parts.pieces[id].type != type)) id = -1;
  };
  keep(parts.unk, PieceType::Unknown);
  keep(parts.bos, PieceType::Control);
  keep(parts.eos, PieceType::Control);
  keep(parts.pad, PieceType::Control);
  return std::make_unique<SentencePiece>(std::move(parts), path);
}

std::unique_ptr<SentencePiece> load_sentencepiece(const std::string& path) {
  const MappedFile file(path);
  return parse_sentencepiece({reinterpret_cast<const char*>(file.data), file.size}, path);
}

}  // namespace chalk
