#include <initializer_list>
#include <random>

#include "check_utf8.h"

namespace {

void append(Bytes& bytes, const Bytes& more) { bytes.insert(bytes.end(), more.begin(), more.end()); }

void check(const Bytes& bytes) { check_bytes(bytes.data(), bytes.size()); }

Bytes encoded(uint32_t c) {
  Bytes bytes;
  reference_encode(c, bytes);
  return bytes;
}

constexpr size_t kMaxPadding =
    80;  // more than one unrolled step of 64 bytes, with every remainder of a vector

void check_at_every_position(const Bytes& sequence) {
  for (size_t before = 0; before <= kMaxPadding; ++before) {
    for (size_t after = 0; after <= kMaxPadding; ++after) {
      Bytes bytes(before, 'a');
      append(bytes, sequence);
      bytes.insert(bytes.end(), after, 'z');
      check(bytes);
    }
  }
}

void test_boundary_code_points_at_every_position() {
  for (uint32_t c : {0x00u,   0x7Fu,    0x80u,    0xBFu,    0xC0u,    0xFFu,     0x100u,
                     0x7FFu,  0x800u,   0xFFFu,   0x1000u,  0xD7FFu,  0xE000u,   0xFFFDu,
                     0xFFFFu, 0x10000u, 0x3FFFFu, 0x40000u, 0xFFFFFu, 0x100000u, 0x10FFFFu}) {
    check_at_every_position(encoded(c));
  }
}

void test_invalid_sequences_at_every_position() {
  for (const Bytes& sequence : std::initializer_list<Bytes>{
           {0x80},  // stray continuations
           {0xBF},
           {0x80, 0x80, 0x80, 0x80},
           {0xC0, 0x80},  // overlong
           {0xC1, 0xBF},
           {0xE0, 0x80, 0x80},
           {0xE0, 0x9F, 0xBF},
           {0xF0, 0x80, 0x80, 0x80},
           {0xF0, 0x8F, 0xBF, 0xBF},
           {0xED, 0xA0, 0x80},  // surrogates
           {0xED, 0xBF, 0xBF},
           {0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80},
           {0xF4, 0x90, 0x80, 0x80},  // above U+10FFFF
           {0xF5, 0x80, 0x80, 0x80},
           {0xF7, 0xBF, 0xBF, 0xBF},
           {0xF8, 0x88, 0x80, 0x80, 0x80},  // five and six bytes
           {0xFC, 0x84, 0x80, 0x80, 0x80, 0x80},
           {0xFE},
           {0xFF},
           {0xC3},  // truncated
           {0xE2},
           {0xE2, 0x82},
           {0xF0},
           {0xF0, 0x9F},
           {0xF0, 0x9F, 0x98},
           {0xC3, 0xC3, 0xA9},
           {0xE2, 0x82, 0xE2, 0x82, 0xAC},
           {0xF0, 0x9F, 0x98, 0xF0, 0x9F, 0x98, 0x80},
           {0xC3, 0xA9, 0xA9},  // one continuation too many
           {0xE2, 0x82, 0xAC, 0x82},
           {0xF0, 0x9F, 0x98, 0x80, 0x80},
       }) {
    check_at_every_position(sequence);
  }
}

void check_measure(const Bytes& bytes, const ReferenceText& expected) {
  const mmap_ninja::TextMeasure measure = mmap_ninja::measure_utf8(bytes.data(), bytes.size());
  CHECK(measure.valid == expected.valid);
  CHECK(measure.valid ? measure.num_chars == expected.text.size()
                      : measure.error_offset == expected.error_offset);
}

void test_every_short_input() {
  check({});
  for (uint32_t a = 0; a < 256; ++a) {
    check({static_cast<uint8_t>(a)});
    for (uint32_t b = 0; b < 256; ++b) check({static_cast<uint8_t>(a), static_cast<uint8_t>(b)});
  }

  // All three-byte inputs; full checks only for the valid ones, to end within a minute under sanitizers.
  Bytes bare(3);
  for (uint32_t value = 0; value < 1u << 24; ++value) {
    for (size_t i = 0; i < 3; ++i) bare[i] = static_cast<uint8_t>(value >> 8 * i);
    const ReferenceText expected = reference_decode(bare.data(), bare.size());
    check_measure(bare, expected);
    if (expected.valid && expected.text.size() < 3) check(bare);
  }
}

void test_every_three_bytes_across_blocks() {
  // Starts one and two bytes before the end of an unrolled step. An ASCII byte before would only shorten it.
  for (size_t before : {62u, 63u}) {
    Bytes bytes(before + 3, 'a');
    for (uint32_t value = 0; value < 1u << 24; ++value) {
      if ((value & 0x80) == 0) continue;
      for (size_t i = 0; i < 3; ++i) bytes[before + i] = static_cast<uint8_t>(value >> 8 * i);
      const ReferenceText expected = reference_decode(bytes.data() + before, 3);
      const mmap_ninja::TextMeasure measure = mmap_ninja::measure_utf8(bytes.data(), bytes.size());
      CHECK(measure.valid == expected.valid);
      CHECK(measure.valid ? measure.num_chars == before + expected.text.size()
                          : measure.error_offset == before + expected.error_offset);
    }
  }
}

void test_every_four_byte_lead_across_blocks() {
  // Only the class of the last two bytes matters: the lowest or highest continuation, or none.
  for (uint32_t lead = 0xF0; lead < 0x100; ++lead) {
    for (uint32_t second = 0; second < 0x100; ++second) {
      for (uint32_t third : {0x7Fu, 0x80u, 0xBFu, 0xC0u}) {
        for (uint32_t fourth : {0x7Fu, 0x80u, 0xBFu, 0xC0u}) {
          for (size_t before : {0u, 13u, 61u, 62u, 63u}) {
            Bytes bytes(before, 'a');
            for (uint32_t b : {lead, second, third, fourth}) bytes.push_back(static_cast<uint8_t>(b));
            check_measure(bytes, reference_decode(bytes.data(), bytes.size()));
          }
        }
      }
    }
  }
}

void test_every_code_point_round_trips() {
  for (uint32_t c = 0; c <= 0x110000; c += 7) {
    Text text;
    for (uint32_t i = 0; i < 7; ++i) {
      if (is_scalar_value(c + i)) text.insert(text.end(), 5, c + i);
    }
    check_text(text);
    Bytes bytes;
    for (uint32_t d : text) reference_encode(d, bytes);
    check(bytes);
  }
}

void test_random_mixtures_and_their_corruptions() {
  std::mt19937 random(7);
  auto below = [&random](size_t n) { return static_cast<uint32_t>(random() % n); };
  const uint32_t limits[] = {0x80, 0x100, 0x800, 0x10000, 0x110000};
  for (size_t size = 0; size < 300; ++size) {
    for (size_t repeat = 0; repeat < 60; ++repeat) {
      const size_t num_limits = 1 + below(std::size(limits));
      const uint32_t ascii_percent = below(101);
      Text text;
      Bytes bytes;
      while (text.size() < size) {
        const uint32_t limit = below(100) < ascii_percent ? 0x80 : limits[below(num_limits)];
        const uint32_t c = below(limit);
        if (!is_scalar_value(c)) continue;
        text.push_back(c);
        reference_encode(c, bytes);
      }
      check(bytes);
      if (bytes.empty()) continue;
      bytes[below(bytes.size())] = static_cast<uint8_t>(below(256));
      check(bytes);
      bytes.resize(below(bytes.size()));
      check(bytes);
    }
  }
}

void test_unencodable_units_at_every_position() {
  for (uint32_t bad : {0xD800u, 0xDBFFu, 0xDC00u, 0xDFFFu, 0x110000u, 0x10FFFFFu, 0x1000041u, 0xFFFFFFFFu}) {
    for (size_t before = 0; before <= 40; ++before) {
      for (size_t after = 0; after <= 40; ++after) {
        Text text(before, 0xE000);
        text.push_back(bad);
        text.insert(text.end(), after, 0xDFFF);
        check_text(text);
      }
    }
  }
}

}  // namespace

int main() {
  test_boundary_code_points_at_every_position();
  test_invalid_sequences_at_every_position();
  test_every_short_input();
  test_every_three_bytes_across_blocks();
  test_every_four_byte_lead_across_blocks();
  test_every_code_point_round_trips();
  test_random_mixtures_and_their_corruptions();
  test_unencodable_units_at_every_position();
}
