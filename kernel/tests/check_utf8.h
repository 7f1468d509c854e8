#pragma once

#include <algorithm>

#include "check.h"
#include "reference_utf8.h"
#include "utf8.h"

// Compare the kernel with the reference. Every buffer is a heap block of exactly the promised size, so that
// AddressSanitizer finds an access to a single byte too many.

template <typename Unit>
struct Codec;

template <>
struct Codec<uint8_t> {
  static constexpr auto decode = mmap_ninja::decode_latin1;
  static constexpr auto encoded_size = mmap_ninja::encoded_size_latin1;
  static constexpr auto encode = mmap_ninja::encode_latin1;
};

template <>
struct Codec<uint16_t> {
  static constexpr auto decode = mmap_ninja::decode_ucs2;
  static constexpr auto encoded_size = mmap_ninja::encoded_size_ucs2;
  static constexpr auto encode = mmap_ninja::encode_ucs2;
};

template <>
struct Codec<uint32_t> {
  static constexpr auto decode = mmap_ninja::decode_ucs4;
  static constexpr auto encoded_size = mmap_ninja::encoded_size_ucs4;
  static constexpr auto encode = mmap_ninja::encode_ucs4;
};

template <typename Unit>
void check_decode(const Bytes& bytes, const Text& expected) {
  std::vector<Unit> units(expected.size());
  Codec<Unit>::decode(bytes.data(), bytes.size(), units.data());
  CHECK(std::equal(expected.begin(), expected.end(), units.begin(), units.end()));
}

template <typename Unit>
void check_encode(const Text& text) {
  std::vector<Unit> units(text.size());
  std::transform(text.begin(), text.end(), units.begin(), [](uint32_t c) { return static_cast<Unit>(c); });
  const auto measured = Codec<Unit>::encoded_size(units.data(), units.size());
  const auto bad = std::find_if_not(text.begin(), text.end(), is_scalar_value);
  CHECK(measured.valid == (bad == text.end()));
  if (!measured.valid) {
    CHECK(measured.error_index == static_cast<size_t>(bad - text.begin()));
    return;
  }
  Bytes expected;
  for (uint32_t c : text) reference_encode(c, expected);
  CHECK(measured.size == expected.size());
  Bytes encoded(expected.size());
  CHECK(Codec<Unit>::encode(units.data(), units.size(), encoded.data()) == encoded.data() + encoded.size());
  CHECK(encoded == expected);
}

inline uint32_t widest(const Text& text) {
  return text.empty() ? 0 : *std::max_element(text.begin(), text.end());
}

inline void check_text(const Text& text) {
  if (widest(text) <= 0xFF) check_encode<uint8_t>(text);
  if (widest(text) <= 0xFFFF) check_encode<uint16_t>(text);
  check_encode<uint32_t>(text);
}

inline void check_bytes(const uint8_t* data, size_t size) {
  const Bytes bytes(data, data + size);

  Bytes copy(size);
  const size_t prefix = mmap_ninja::copy_ascii(copy.data(), bytes.data(), size);
  const auto first_high = std::find_if(bytes.begin(), bytes.end(), [](uint8_t b) { return b >= 0x80; });
  CHECK(prefix == static_cast<size_t>(first_high - bytes.begin()));
  CHECK(std::equal(bytes.begin(), first_high, copy.begin()));

  const ReferenceText expected = reference_decode(bytes.data(), size);
  const mmap_ninja::TextMeasure measure = mmap_ninja::measure_utf8(bytes.data(), size);
  CHECK(measure.valid == expected.valid);
  if (!expected.valid) {
    CHECK(measure.error_offset == expected.error_offset);
    return;
  }
  const uint32_t max = widest(expected.text);
  CHECK(measure.num_chars == expected.text.size());
  CHECK(measure.width == (max <= 0xFF ? 1 : max <= 0xFFFF ? 2 : 4));
  CHECK(measure.ascii == (max <= 0x7F));

  if (max <= 0xFF) check_decode<uint8_t>(bytes, expected.text);
  if (max <= 0xFFFF) check_decode<uint16_t>(bytes, expected.text);
  check_decode<uint32_t>(bytes, expected.text);
  check_text(expected.text);
}
