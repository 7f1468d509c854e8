#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

// Follows the definition of UTF-8 (RFC 3629), one character at a time; shares no code with the kernel.

using Bytes = std::vector<uint8_t>;
using Text = std::vector<uint32_t>;

struct ReferenceText {
  bool valid;
  size_t error_offset;
  Text text;
};

inline bool is_scalar_value(uint32_t c) { return c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF); }

inline ReferenceText reference_decode(const uint8_t* data, size_t size) {
  ReferenceText result{true, 0, {}};
  size_t i = 0;
  while (i < size) {
    uint32_t c = data[i];
    size_t length = 1;
    uint32_t least = 0;
    if (c >= 0xF8 || (c >= 0x80 && c < 0xC0)) return {false, i, {}};
    if (c >= 0xF0) {
      c &= 0x07, length = 4, least = 0x10000;
    } else if (c >= 0xE0) {
      c &= 0x0F, length = 3, least = 0x800;
    } else if (c >= 0xC0) {
      c &= 0x1F, length = 2, least = 0x80;
    }
    for (size_t j = 1; j < length; ++j) {
      if (i + j >= size || data[i + j] >> 6 != 2) return {false, i, {}};
      c = c << 6 | (data[i + j] & 0x3F);
    }
    if (c < least || !is_scalar_value(c)) return {false, i, {}};
    result.text.push_back(c);
    i += length;
  }
  return result;
}

inline void reference_encode(uint32_t c, Bytes& out) {
  auto byte = [&out](uint32_t b) { out.push_back(static_cast<uint8_t>(b)); };
  if (c < 0x80) {
    byte(c);
  } else if (c < 0x800) {
    byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F));
  } else {
    byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)), byte(0x80 | (c >> 6 & 0x3F)),
        byte(0x80 | (c & 0x3F));
  }
}
