#pragma once

#include <cstddef>
#include <cstdint>

// Strict UTF-8: exactly what CPython's 'utf-8' codec accepts with errors='strict' (no surrogates, no overlong
// forms, nothing above U+10FFFF). All functions are pure, never read outside [src, src + size) and, unless
// stated otherwise, write exactly their result; src and dst must not overlap. Bytes need no alignment.

namespace mmap_ninja {

// Copies until the first non-ASCII byte and returns its index, or `size` if there is none. dst must have room
// for `size` bytes; those from the returned index on are unspecified.
size_t copy_ascii(uint8_t* dst, const uint8_t* src, size_t size);

struct TextMeasure {
  bool valid;
  uint8_t width;          // bytes per character of the narrowest CPython str: 1 (ASCII, Latin-1), 2 or 4
  bool ascii;             // needed by PyUnicode_New in addition to the width
  uint64_t num_chars;     // code points
  uint64_t error_offset;  // if invalid: CPython's UnicodeDecodeError.start
};

// If the text is invalid, only `valid` and `error_offset` are set.
TextMeasure measure_utf8(const uint8_t* src, size_t size);

// Decode text that `measure_utf8` found valid, and not wider than the destination. Each writes num_chars
// units.
void decode_latin1(const uint8_t* src, size_t size, uint8_t* dst);
void decode_ucs2(const uint8_t* src, size_t size, uint16_t* dst);
void decode_ucs4(const uint8_t* src, size_t size, uint32_t* dst);

struct EncodedSize {
  bool valid;            // false: a surrogate, paired or not, or a value above 0x10FFFF
  uint64_t size;         // bytes of UTF-8, if valid
  uint64_t error_index;  // of the first such unit, if not valid: CPython's UnicodeEncodeError.start
};

EncodedSize encoded_size_latin1(const uint8_t* src, size_t num_chars);
EncodedSize encoded_size_ucs2(const uint16_t* src, size_t num_chars);
EncodedSize encoded_size_ucs4(const uint32_t* src, size_t num_chars);

// Encode text that the matching `encoded_size_*` found valid; dst must have room for that size. Return the
// end.
uint8_t* encode_latin1(const uint8_t* src, size_t num_chars, uint8_t* dst);
uint8_t* encode_ucs2(const uint16_t* src, size_t num_chars, uint8_t* dst);
uint8_t* encode_ucs4(const uint32_t* src, size_t num_chars, uint8_t* dst);

}  // namespace mmap_ninja
