// Validation looks up error classes by nibbles, after Keiser and Lemire, "Validating UTF-8 In Less Than One
// Instruction Per Byte" (2021). Transcoding works on blocks at fixed positions instead of following the
// characters: it computes the character that would start at each byte, and a shuffle keeps those that do
// start. So text of any mix takes no branch per character, and blocks do not depend on the lengths of others.
// Compression by a table of shuffles, indexed by a mask, is from Lemire and Muła, "Transcoding Billions of
// Unicode Characters per Second with SIMD Instructions" (2022).

#include "utf8.h"

#include <array>
#include <bit>
#include <cstring>

#include "simd.h"

namespace mmap_ninja {
namespace {

constexpr size_t kLanes = sizeof(Bytes16);

uint32_t num_bits(uint32_t mask) { return static_cast<uint32_t>(std::popcount(mask)); }

template <typename Word>
size_t copy_ascii_by_two_words(uint8_t* dst, const uint8_t* src, size_t size) {
  constexpr auto kHighBits = static_cast<Word>(0x8080808080808080);
  const size_t second = size - sizeof(Word);
  Word a, b;
  std::memcpy(&a, src, sizeof a);
  std::memcpy(&b, src + second, sizeof b);
  std::memcpy(dst, &a, sizeof a);
  std::memcpy(dst + second, &b, sizeof b);
  if (((a | b) & kHighBits) == 0) return size;
  if ((a & kHighBits) != 0) return static_cast<size_t>(std::countr_zero(a & kHighBits)) / 8;
  return second + static_cast<size_t>(std::countr_zero(b & kHighBits)) / 8;
}

size_t copy_short_ascii(uint8_t* dst, const uint8_t* src, size_t size) {
  if (size >= 8) return copy_ascii_by_two_words<uint64_t>(dst, src, size);
  if (size >= 4) return copy_ascii_by_two_words<uint32_t>(dst, src, size);
  for (size_t i = 0; i < size; ++i) {
    if (src[i] >= 0x80) return i;
    dst[i] = src[i];
  }
  return size;
}

// Returns the index of the first non-ASCII byte, or kLanes.
size_t copy_ascii_block(uint8_t* dst, const uint8_t* src) {
  const Bytes16 block = Bytes16::load(src);
  block.store(dst);
  return static_cast<size_t>(std::countr_zero(block.high_bits() | 1u << kLanes));
}

// A rule describes two neighbouring bytes that are invalid together, by sets of nibbles: of the first byte's
// upper half, its lower half, and the second byte's upper half. It applies if all three sets match.
struct Rule {
  uint32_t first_upper, first_lower, second_upper;
};

constexpr uint32_t nibbles(int from, int to) { return (2u << to) - (1u << from); }
constexpr uint32_t kAnyNibble = nibbles(0x0, 0xF);
constexpr uint32_t kContinuation = nibbles(0x8, 0xB);

constexpr Rule kRules[8] = {
    {nibbles(0xC, 0xF), kAnyNibble, kAnyNibble & ~kContinuation},                   // truncated sequence
    {nibbles(0x0, 0x7), kAnyNibble, kContinuation},                                 // stray continuation
    {nibbles(0xC, 0xC), nibbles(0x0, 0x1), kContinuation},                          // overlong, two bytes
    {nibbles(0xE, 0xE), nibbles(0x0, 0x0), nibbles(0x8, 0x9)},                      // overlong, three bytes
    {nibbles(0xE, 0xE), nibbles(0xD, 0xD), nibbles(0xA, 0xB)},                      // surrogate
    {nibbles(0xF, 0xF), nibbles(0x4, 0xF), nibbles(0x9, 0xB)},                      // above U+10FFFF
    {nibbles(0xF, 0xF), nibbles(0x0, 0x0) | nibbles(0x5, 0xF), nibbles(0x8, 0x8)},  // overlong, or above
    {kContinuation, kAnyNibble, kContinuation},  // an error unless a longer sequence started before
};
constexpr uint8_t kTwoContinuations = 1 << 7;

using NibbleTable = std::array<uint8_t, 16>;

constexpr NibbleTable rules_by(uint32_t Rule::* set) {
  NibbleTable table{};
  for (size_t nibble = 0; nibble < 16; ++nibble) {
    for (size_t rule = 0; rule < 8; ++rule) {
      if ((kRules[rule].*set >> nibble & 1) != 0) table[nibble] |= static_cast<uint8_t>(1u << rule);
    }
  }
  return table;
}

alignas(16) constexpr NibbleTable kByFirstUpper = rules_by(&Rule::first_upper);
alignas(16) constexpr NibbleTable kByFirstLower = rules_by(&Rule::first_lower);
alignas(16) constexpr NibbleTable kBySecondUpper = rules_by(&Rule::second_upper);

// The greatest bytes at the end of a block whose last sequence is complete.
alignas(16) constexpr NibbleTable kMaxComplete = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
                                                  0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xEF, 0xDF, 0xBF};

Bytes16 continuations(Bytes16 block) { return equal(block & Bytes16::splat(0xC0), Bytes16::splat(0x80)); }

struct Measurer {
  Bytes16 previous = Bytes16::splat(0);
  Bytes16 highest = Bytes16::splat(0);
  Bytes16 error = Bytes16::splat(0);
  size_t num_continuations = 0;

  void take(Bytes16 block) {
    const Bytes16 low_nibble = Bytes16::splat(0x0F);
    const Bytes16 first = block.earlier_by<1>(previous);
    const Bytes16 broken = Bytes16::load(kByFirstUpper.data()).shuffle(first.shift_right<4>()) &
                           Bytes16::load(kByFirstLower.data()).shuffle(first & low_nibble) &
                           Bytes16::load(kBySecondUpper.data()).shuffle(block.shift_right<4>());
    // High bit: the second after a lead of three or four bytes, or the third after one of four.
    const Bytes16 late = subtract_saturating(block.earlier_by<2>(previous), Bytes16::splat(0xE0 - 0x80)) |
                         subtract_saturating(block.earlier_by<3>(previous), Bytes16::splat(0xF0 - 0x80));
    error = error | (broken ^ (late & Bytes16::splat(kTwoContinuations)));
    highest = max(highest, block);
    num_continuations += num_bits(continuations(block).high_bits());
    previous = block;
  }

  void take_ascii() {
    error = error | subtract_saturating(previous, Bytes16::load(kMaxComplete.data()));
    previous = Bytes16::splat(0);
  }

  bool reaches(uint8_t byte) const { return at_least(highest, Bytes16::splat(byte)).has_high_bit(); }
};

// The last `n` < kLanes bytes of the text, then zeros, which reveal a truncated sequence.
Bytes16 load_rest(const uint8_t* src, size_t size, size_t n) {
  if (size < kLanes) {
    uint8_t padded[kLanes] = {};
    if (n > 0) std::memcpy(padded, src + size - n, n);
    return Bytes16::load(padded);
  }
  static constexpr uint8_t kWindow[2 * kLanes] = {
      0,    1,    2,    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,
      0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80};
  return Bytes16::load(src + size - kLanes).shuffle(Bytes16::load(kWindow + kLanes - n));
}

// Length of the valid sequence that starts at `p`, or 0.
size_t sequence_length(const uint8_t* p, size_t available) {
  const uint8_t lead = p[0];
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (available < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (lead == 0xE0 && p[1] < 0xA0) || (lead == 0xF0 && p[1] < 0x90);
  const bool surrogate = lead == 0xED && p[1] >= 0xA0;
  const bool too_large = lead == 0xF4 && p[1] >= 0x90;
  return overlong || surrogate || too_large ? 0 : length;
}

size_t find_error(const uint8_t* src, size_t size) {
  size_t offset = 0;
  while (offset < size) {
    const size_t length = sequence_length(src + offset, size - offset);
    if (length == 0) break;
    offset += length;
  }
  return offset;
}

constexpr auto kKeep = [] {
  std::array<std::array<uint8_t, 8>, 256> table{};
  for (size_t mask = 0; mask < 256; ++mask) {
    size_t num_kept = 0;
    for (uint8_t i = 0; i < 8; ++i) {
      if ((mask >> i & 1) != 0) table[mask][num_kept++] = i;
    }
  }
  return table;
}();

// Shuffles that move the bytes whose bit is set to the front, for the low and the high half of a register.
// Only the low half of their results is used.
Bytes16 keep_low(uint32_t mask) { return Bytes16::load_low(kKeep[mask & 0xFF].data()); }
Bytes16 keep_high(uint32_t mask) {
  return Bytes16::load_low(kKeep[mask >> 8 & 0xFF].data()) + Bytes16::splat(8);
}

// The bytes of the sixteen characters that would start at each byte, by significance; some may be unused.
struct Characters {
  Bytes16 byte0, byte1, byte2;
};

void store_ascii(Bytes16 block, uint8_t* dst) { block.store(dst); }

void store_ascii(Bytes16 block, uint16_t* dst) {
  interleave_low(block, Bytes16::splat(0)).store(dst);
  interleave_high(block, Bytes16::splat(0)).store(dst + 8);
}

void store_ascii(Bytes16 block, uint32_t* dst) {
  const Bytes16 zero = Bytes16::splat(0);
  const Bytes16 low = interleave_low(block, zero);
  const Bytes16 high = interleave_high(block, zero);
  interleave_pairs_low(low, zero).store(dst);
  interleave_pairs_high(low, zero).store(dst + 4);
  interleave_pairs_low(high, zero).store(dst + 8);
  interleave_pairs_high(high, zero).store(dst + 12);
}

// Stores the eight characters that `keep` moves to the front.
void store_kept(const Characters& chars, Bytes16 keep, uint8_t* dst) {
  chars.byte0.shuffle(keep).store_low(dst);
}

void store_kept(const Characters& chars, Bytes16 keep, uint16_t* dst) {
  interleave_low(chars.byte0.shuffle(keep), chars.byte1.shuffle(keep)).store(dst);
}

void store_kept(const Characters& chars, Bytes16 keep, uint32_t* dst) {
  const Bytes16 lower = interleave_low(chars.byte0.shuffle(keep), chars.byte1.shuffle(keep));
  const Bytes16 upper = interleave_low(chars.byte2.shuffle(keep), Bytes16::splat(0));
  interleave_pairs_low(lower, upper).store(dst);
  interleave_pairs_high(lower, upper).store(dst + 4);
}

template <typename Unit>
constexpr size_t kMaxSequence = sizeof(Unit) == 1   ? 2
                                : sizeof(Unit) == 2 ? 3
                                                    : 4;

// Decodes the characters that start in the kLanes bytes at `src`. Reads kMaxSequence - 1 bytes more; writes
// at most eight units from where those of the second half start. Returns the end of the characters.
template <typename Unit>
Unit* decode_block(const uint8_t* src, Unit* dst) {
  const Bytes16 lead = Bytes16::load(src);
  const Bytes16 is_multi = at_least(lead, Bytes16::splat(0x80));

  // Six bits each: the last byte of the sequence, the one before it, and the one before that.
  Bytes16 last = Bytes16::load(src + 1);
  Bytes16 before = lead;
  Characters chars{};
  if constexpr (sizeof(Unit) == 1) {
    chars.byte0 = before.shift_left<6>() | (last & Bytes16::splat(0x3F));
  } else {
    const Bytes16 is_three = at_least(lead, Bytes16::splat(0xE0));
    Bytes16 first = lead;
    const Bytes16 next2 = Bytes16::load(src + 2);
    before = select(is_three, last, before);
    last = select(is_three, next2, last);
    if constexpr (sizeof(Unit) == 4) {
      const Bytes16 is_four = at_least(lead, Bytes16::splat(0xF0));
      const Bytes16 next1 = Bytes16::load(src + 1);
      first = select(is_four, next1, first);
      before = select(is_four, next2, before);
      last = select(is_four, Bytes16::load(src + 3), last);
      chars.byte2 = is_four & ((lead & Bytes16::splat(0x07)).shift_left<2>() |
                               (next1.shift_right<4>() & Bytes16::splat(0x03)));
    }
    chars.byte0 = before.shift_left<6>() | (last & Bytes16::splat(0x3F));
    // The marker bits of a two-byte lead are shifted out or masked: 110xxxxx >> 2 leaves 0xxx in the low
    // nibble.
    chars.byte1 =
        is_multi & ((before.shift_right<2>() & Bytes16::splat(0x0F)) | (is_three & first.shift_left<4>()));
  }
  chars.byte0 = select(is_multi, chars.byte0, lead);

  const uint32_t starts = ~continuations(lead).high_bits();
  store_kept(chars, keep_low(starts), dst);
  dst += num_bits(starts & 0xFF);
  store_kept(chars, keep_high(starts), dst);
  return dst + num_bits(starts & 0xFF00);
}

template <typename Unit>
void decode(const uint8_t* src, size_t size, Unit* dst) {
  // Enough text for eight characters from the second half of a block on, even if that half starts inside a
  // character: then the last store of decode_block stays within them.
  constexpr size_t kMargin = 8 * (kMaxSequence<Unit> + 1);
  static_assert(kMargin >= kLanes + kMaxSequence < Unit > -1);

  while (size >= 4 * kLanes + kMargin) {
    const Bytes16 a = Bytes16::load(src), b = Bytes16::load(src + kLanes);
    const Bytes16 c = Bytes16::load(src + 2 * kLanes), d = Bytes16::load(src + 3 * kLanes);
    if (!((a | b) | (c | d)).has_high_bit()) {
      store_ascii(a, dst);
      store_ascii(b, dst + kLanes);
      store_ascii(c, dst + 2 * kLanes);
      store_ascii(d, dst + 3 * kLanes);
      dst += 4 * kLanes;
    } else {
      for (size_t i = 0; i < 4; ++i) dst = decode_block(src + i * kLanes, dst);
    }
    src += 4 * kLanes;
    size -= 4 * kLanes;
  }
  for (; size >= kMargin; size -= kLanes, src += kLanes) dst = decode_block(src, dst);
  if (size == 0) return;

  constexpr size_t kMaxTail = (kMargin + kLanes - 1) / kLanes * kLanes;
  uint8_t padded[kMaxTail + kLanes] = {};
  Unit units[kMaxTail];
  std::memcpy(padded, src, size);
  Unit* end = units;
  size_t num_decoded = 0;
  for (; num_decoded < size; num_decoded += kLanes) end = decode_block(padded + num_decoded, end);
  const size_t num_padding = num_decoded - size;
  std::memcpy(dst, units, (static_cast<size_t>(end - units) - num_padding) * sizeof(Unit));
}

struct CodePoints {
  Bytes16 byte0, byte1, byte2, byte3;

  Bytes16 need_two() const {
    return at_least(byte0, Bytes16::splat(0x80)) | at_least(byte1 | byte2, Bytes16::splat(1));
  }
  Bytes16 need_three() const { return at_least(byte1, Bytes16::splat(0x08)) | need_four(); }
  Bytes16 need_four() const { return at_least(byte2, Bytes16::splat(1)); }
  Bytes16 invalid() const {
    const Bytes16 surrogate =
        equal(byte1 & Bytes16::splat(0xF8), Bytes16::splat(0xD8)) & equal(byte2, Bytes16::splat(0));
    return surrogate | at_least(byte2, Bytes16::splat(0x11)) | at_least(byte3, Bytes16::splat(1));
  }
};

CodePoints load_code_points(const uint8_t* src) {
  const Bytes16 zero = Bytes16::splat(0);
  return {Bytes16::load(src), zero, zero, zero};
}

CodePoints load_code_points(const uint16_t* src) {
  const Bytes16 a = Bytes16::load(src), b = Bytes16::load(src + 8);
  return {even_bytes(a, b), odd_bytes(a, b), Bytes16::splat(0), Bytes16::splat(0)};
}

CodePoints load_code_points(const uint32_t* src) {
  const Bytes16 a = Bytes16::load(src), b = Bytes16::load(src + 4);
  const Bytes16 c = Bytes16::load(src + 8), d = Bytes16::load(src + 12);
  const Bytes16 even_low = even_bytes(a, b), even_high = even_bytes(c, d);
  const Bytes16 odd_low = odd_bytes(a, b), odd_high = odd_bytes(c, d);
  return {even_bytes(even_low, even_high), even_bytes(odd_low, odd_high), odd_bytes(even_low, even_high),
          odd_bytes(odd_low, odd_high)};
}

bool is_invalid(uint32_t code_point) {
  return code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF);
}

template <typename Unit>
EncodedSize encoded_size(const Unit* src, size_t num_chars) {
  uint64_t num_extra = 0;
  Bytes16 invalid = Bytes16::splat(0);
  auto take = [&](const Unit* block) {
    const CodePoints points = load_code_points(block);
    num_extra += num_bits(points.need_two().high_bits());
    if constexpr (sizeof(Unit) >= 2) {
      num_extra += num_bits(points.need_three().high_bits());
      invalid = invalid | points.invalid();
    }
    if constexpr (sizeof(Unit) == 4) num_extra += num_bits(points.need_four().high_bits());
  };

  const size_t num_whole = num_chars - num_chars % kLanes;
  for (size_t i = 0; i < num_whole; i += kLanes) take(src + i);
  if (num_whole < num_chars) {
    Unit padded[kLanes] = {};
    std::memcpy(padded, src + num_whole, (num_chars - num_whole) * sizeof(Unit));
    take(padded);
  }
  if (invalid.is_zero()) return {true, num_chars + num_extra, 0};

  size_t error_index = 0;
  while (!is_invalid(src[error_index])) ++error_index;
  return {false, 0, error_index};
}

uint8_t* store_present(Bytes16 slots, uint32_t always_present, uint8_t* dst) {
  const uint32_t present = slots.high_bits() | always_present;
  slots.shuffle(keep_low(present)).store_low(dst);
  dst += num_bits(present & 0xFF);
  slots.shuffle(keep_high(present)).store_low(dst);
  return dst + num_bits(present & 0xFF00);
}

// Encodes kLanes characters, each into one slot per byte that it may need; slots that stay zero are removed.
// All others except the last have their high bit set. May write up to six bytes past the end that it returns.
template <typename Unit>
uint8_t* encode_block(const Unit* src, uint8_t* dst) {
  const CodePoints points = load_code_points(src);
  const Bytes16 need_two = points.need_two();
  if (!need_two.has_high_bit()) {
    points.byte0.store(dst);
    return dst + kLanes;
  }

  const Bytes16 marker = Bytes16::splat(0x80), six_bits = Bytes16::splat(0x3F);
  const Bytes16 last = select(need_two, marker | (points.byte0 & six_bits), points.byte0);
  const Bytes16 bits6 = points.byte0.shift_right<6>() | points.byte1.shift_left<2>();
  const Bytes16 need_three = points.need_three();
  const Bytes16 before_last =
      select(need_three, marker | (bits6 & six_bits), need_two & (Bytes16::splat(0xC0) | bits6));
  const Bytes16 low = interleave_low(before_last, last), high = interleave_high(before_last, last);
  if (sizeof(Unit) == 1 || !need_three.has_high_bit()) {
    constexpr uint32_t kEverySecond = 0xAAAA;
    dst = store_present(low, kEverySecond, dst);
    return store_present(high, kEverySecond, dst);
  }

  const Bytes16 need_four = points.need_four();
  const Bytes16 bits12 = points.byte1.shift_right<4>() | points.byte2.shift_left<4>();
  const Bytes16 second =
      select(need_four, marker | (bits12 & six_bits), need_three & (Bytes16::splat(0xE0) | bits12));
  const Bytes16 first = need_four & (Bytes16::splat(0xF0) | points.byte2.shift_right<2>());
  const Bytes16 first_low = interleave_low(first, second), first_high = interleave_high(first, second);
  constexpr uint32_t kEveryFourth = 0x8888;
  dst = store_present(interleave_pairs_low(first_low, low), kEveryFourth, dst);
  dst = store_present(interleave_pairs_high(first_low, low), kEveryFourth, dst);
  dst = store_present(interleave_pairs_low(first_high, high), kEveryFourth, dst);
  return store_present(interleave_pairs_high(first_high, high), kEveryFourth, dst);
}

template <typename Unit>
uint8_t* encode(const Unit* src, size_t num_chars, uint8_t* dst) {
  // Eight characters after the block take at least eight bytes: room for what encode_block writes past its
  // end.
  constexpr size_t kMargin = kLanes + 8;
  for (; num_chars >= kMargin; num_chars -= kLanes, src += kLanes) dst = encode_block(src, dst);
  if (num_chars == 0) return dst;

  Unit padded[2 * kLanes] = {};
  uint8_t bytes[4 * 2 * kLanes + 8];
  std::memcpy(padded, src, num_chars * sizeof(Unit));
  uint8_t* end = bytes;
  size_t num_encoded = 0;
  for (; num_encoded < num_chars; num_encoded += kLanes) end = encode_block(padded + num_encoded, end);
  const size_t size = static_cast<size_t>(end - bytes) - (num_encoded - num_chars);
  std::memcpy(dst, bytes, size);
  return dst + size;
}

}  // namespace

size_t copy_ascii(uint8_t* dst, const uint8_t* src, size_t size) {
  if (size < kLanes) return copy_short_ascii(dst, src, size);
  size_t done = 0;
  for (; size - done >= 4 * kLanes; done += 4 * kLanes) {
    const uint8_t* from = src + done;
    uint8_t* to = dst + done;
    const Bytes16 a = Bytes16::load(from), b = Bytes16::load(from + kLanes);
    const Bytes16 c = Bytes16::load(from + 2 * kLanes), d = Bytes16::load(from + 3 * kLanes);
    a.store(to);
    b.store(to + kLanes);
    c.store(to + 2 * kLanes);
    d.store(to + 3 * kLanes);
    if (((a | b) | (c | d)).has_high_bit()) break;
  }
  for (; size - done >= kLanes; done += kLanes) {
    const size_t prefix = copy_ascii_block(dst + done, src + done);
    if (prefix < kLanes) return done + prefix;
  }
  if (done == size) return size;
  return size - kLanes + copy_ascii_block(dst + size - kLanes, src + size - kLanes);
}

TextMeasure measure_utf8(const uint8_t* src, size_t size) {
  Measurer measurer;
  size_t done = 0;
  for (; size - done >= 4 * kLanes; done += 4 * kLanes) {
    const uint8_t* p = src + done;
    const Bytes16 a = Bytes16::load(p), b = Bytes16::load(p + kLanes);
    const Bytes16 c = Bytes16::load(p + 2 * kLanes), d = Bytes16::load(p + 3 * kLanes);
    if (!((a | b) | (c | d)).has_high_bit()) {
      measurer.take_ascii();
    } else {
      measurer.take(a);
      measurer.take(b);
      measurer.take(c);
      measurer.take(d);
    }
  }
  for (; size - done >= kLanes; done += kLanes) measurer.take(Bytes16::load(src + done));
  // Even if nothing is left: the zeros end a sequence that the last whole block may have begun.
  measurer.take(load_rest(src, size, size - done));

  if (!measurer.error.is_zero()) {
    return {
        .valid = false, .width = 0, .ascii = false, .num_chars = 0, .error_offset = find_error(src, size)};
  }
  const uint8_t width = measurer.reaches(0xF0) ? 4 : measurer.reaches(0xC4) ? 2 : 1;
  return {.valid = true,
          .width = width,
          .ascii = !measurer.highest.has_high_bit(),
          .num_chars = size - measurer.num_continuations,
          .error_offset = 0};
}

void decode_latin1(const uint8_t* src, size_t size, uint8_t* dst) { decode(src, size, dst); }
void decode_ucs2(const uint8_t* src, size_t size, uint16_t* dst) { decode(src, size, dst); }
void decode_ucs4(const uint8_t* src, size_t size, uint32_t* dst) { decode(src, size, dst); }

EncodedSize encoded_size_latin1(const uint8_t* src, size_t num_chars) { return encoded_size(src, num_chars); }
EncodedSize encoded_size_ucs2(const uint16_t* src, size_t num_chars) { return encoded_size(src, num_chars); }
EncodedSize encoded_size_ucs4(const uint32_t* src, size_t num_chars) { return encoded_size(src, num_chars); }

uint8_t* encode_latin1(const uint8_t* src, size_t num_chars, uint8_t* dst) {
  return encode(src, num_chars, dst);
}
uint8_t* encode_ucs2(const uint16_t* src, size_t num_chars, uint8_t* dst) {
  return encode(src, num_chars, dst);
}
uint8_t* encode_ucs4(const uint32_t* src, size_t num_chars, uint8_t* dst) {
  return encode(src, num_chars, dst);
}

}  // namespace mmap_ninja
