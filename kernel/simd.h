#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <smmintrin.h>
#include <tmmintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#else
#error "the kernel supports x86-64 and aarch64"
#endif

namespace mmap_ninja {

// Sixteen unsigned bytes in a register, with the operations that the kernel's text code needs. A mask has
// 0xFF or 0x00 in every byte. "Low" is the half with the smaller addresses.
struct Bytes16 {
#if defined(__x86_64__)
  __m128i v;

  static Bytes16 load(const void* p) { return {_mm_loadu_si128(static_cast<const __m128i*>(p))}; }
  static Bytes16 load_low(const void* p) { return {_mm_loadl_epi64(static_cast<const __m128i*>(p))}; }
  static Bytes16 splat(uint8_t byte) { return {_mm_set1_epi8(static_cast<char>(byte))}; }
  void store(void* p) const { _mm_storeu_si128(static_cast<__m128i*>(p), v); }
  void store_low(void* p) const { _mm_storel_epi64(static_cast<__m128i*>(p), v); }

  friend Bytes16 operator|(Bytes16 a, Bytes16 b) { return {_mm_or_si128(a.v, b.v)}; }
  friend Bytes16 operator&(Bytes16 a, Bytes16 b) { return {_mm_and_si128(a.v, b.v)}; }
  friend Bytes16 operator^(Bytes16 a, Bytes16 b) { return {_mm_xor_si128(a.v, b.v)}; }
  friend Bytes16 operator+(Bytes16 a, Bytes16 b) { return {_mm_add_epi8(a.v, b.v)}; }

  // There are no shifts of bytes: shift wider lanes, and mask what came from the neighbour.
  template <int N>
  Bytes16 shift_left() const {
    return Bytes16{_mm_slli_epi16(v, N)} & splat(static_cast<uint8_t>(0xFF << N));
  }
  template <int N>
  Bytes16 shift_right() const {
    return Bytes16{_mm_srli_epi16(v, N)} & splat(static_cast<uint8_t>(0xFF >> N));
  }

  friend Bytes16 max(Bytes16 a, Bytes16 b) { return {_mm_max_epu8(a.v, b.v)}; }
  friend Bytes16 subtract_saturating(Bytes16 a, Bytes16 b) { return {_mm_subs_epu8(a.v, b.v)}; }
  friend Bytes16 equal(Bytes16 a, Bytes16 b) { return {_mm_cmpeq_epi8(a.v, b.v)}; }
  friend Bytes16 at_least(Bytes16 a, Bytes16 b) { return equal(max(a, b), a); }
  friend Bytes16 select(Bytes16 mask, Bytes16 yes, Bytes16 no) {
    return {_mm_blendv_epi8(no.v, yes.v, mask.v)};
  }

  // Byte i of the result is byte index[i] of this, or 0 where index[i] is 0x80 or more; 16..127 are not
  // allowed.
  Bytes16 shuffle(Bytes16 index) const { return {_mm_shuffle_epi8(v, index.v)}; }
  // If `previous` is just before this in memory: the sixteen bytes that start N bytes before this.
  template <int N>
  Bytes16 earlier_by(Bytes16 previous) const {
    return {_mm_alignr_epi8(v, previous.v, 16 - N)};
  }

  friend Bytes16 interleave_low(Bytes16 a, Bytes16 b) { return {_mm_unpacklo_epi8(a.v, b.v)}; }
  friend Bytes16 interleave_high(Bytes16 a, Bytes16 b) { return {_mm_unpackhi_epi8(a.v, b.v)}; }
  friend Bytes16 interleave_pairs_low(Bytes16 a, Bytes16 b) { return {_mm_unpacklo_epi16(a.v, b.v)}; }
  friend Bytes16 interleave_pairs_high(Bytes16 a, Bytes16 b) { return {_mm_unpackhi_epi16(a.v, b.v)}; }
  friend Bytes16 even_bytes(Bytes16 a, Bytes16 b) {
    const __m128i low = _mm_set1_epi16(0xFF);
    return {_mm_packus_epi16(_mm_and_si128(a.v, low), _mm_and_si128(b.v, low))};
  }
  friend Bytes16 odd_bytes(Bytes16 a, Bytes16 b) {
    return {_mm_packus_epi16(_mm_srli_epi16(a.v, 8), _mm_srli_epi16(b.v, 8))};
  }

  // Bit i is the high bit of byte i.
  uint32_t high_bits() const { return static_cast<uint32_t>(_mm_movemask_epi8(v)); }
  bool has_high_bit() const { return high_bits() != 0; }
  bool is_zero() const { return _mm_testz_si128(v, v) != 0; }
#else
  uint8x16_t v;

  static Bytes16 load(const void* p) { return {vld1q_u8(static_cast<const uint8_t*>(p))}; }
  static Bytes16 load_low(const void* p) {
    return {vcombine_u8(vld1_u8(static_cast<const uint8_t*>(p)), vdup_n_u8(0))};
  }
  static Bytes16 splat(uint8_t byte) { return {vdupq_n_u8(byte)}; }
  void store(void* p) const { vst1q_u8(static_cast<uint8_t*>(p), v); }
  void store_low(void* p) const { vst1_u8(static_cast<uint8_t*>(p), vget_low_u8(v)); }

  friend Bytes16 operator|(Bytes16 a, Bytes16 b) { return {vorrq_u8(a.v, b.v)}; }
  friend Bytes16 operator&(Bytes16 a, Bytes16 b) { return {vandq_u8(a.v, b.v)}; }
  friend Bytes16 operator^(Bytes16 a, Bytes16 b) { return {veorq_u8(a.v, b.v)}; }
  friend Bytes16 operator+(Bytes16 a, Bytes16 b) { return {vaddq_u8(a.v, b.v)}; }

  template <int N>
  Bytes16 shift_left() const {
    return {vshlq_n_u8(v, N)};
  }
  template <int N>
  Bytes16 shift_right() const {
    return {vshrq_n_u8(v, N)};
  }

  friend Bytes16 max(Bytes16 a, Bytes16 b) { return {vmaxq_u8(a.v, b.v)}; }
  friend Bytes16 subtract_saturating(Bytes16 a, Bytes16 b) { return {vqsubq_u8(a.v, b.v)}; }
  friend Bytes16 equal(Bytes16 a, Bytes16 b) { return {vceqq_u8(a.v, b.v)}; }
  friend Bytes16 at_least(Bytes16 a, Bytes16 b) { return {vcgeq_u8(a.v, b.v)}; }
  friend Bytes16 select(Bytes16 mask, Bytes16 yes, Bytes16 no) { return {vbslq_u8(mask.v, yes.v, no.v)}; }

  Bytes16 shuffle(Bytes16 index) const { return {vqtbl1q_u8(v, index.v)}; }
  template <int N>
  Bytes16 earlier_by(Bytes16 previous) const {
    return {vextq_u8(previous.v, v, 16 - N)};
  }

  friend Bytes16 interleave_low(Bytes16 a, Bytes16 b) { return {vzip1q_u8(a.v, b.v)}; }
  friend Bytes16 interleave_high(Bytes16 a, Bytes16 b) { return {vzip2q_u8(a.v, b.v)}; }
  friend Bytes16 interleave_pairs_low(Bytes16 a, Bytes16 b) {
    return {vreinterpretq_u8_u16(vzip1q_u16(vreinterpretq_u16_u8(a.v), vreinterpretq_u16_u8(b.v)))};
  }
  friend Bytes16 interleave_pairs_high(Bytes16 a, Bytes16 b) {
    return {vreinterpretq_u8_u16(vzip2q_u16(vreinterpretq_u16_u8(a.v), vreinterpretq_u16_u8(b.v)))};
  }
  friend Bytes16 even_bytes(Bytes16 a, Bytes16 b) { return {vuzp1q_u8(a.v, b.v)}; }
  friend Bytes16 odd_bytes(Bytes16 a, Bytes16 b) { return {vuzp2q_u8(a.v, b.v)}; }

  uint32_t high_bits() const {
    const uint8x16_t weights = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x16_t bits = vandq_u8(vcgeq_u8(v, vdupq_n_u8(0x80)), weights);
    return vaddv_u8(vget_low_u8(bits)) | static_cast<uint32_t>(vaddv_u8(vget_high_u8(bits))) << 8;
  }
  bool has_high_bit() const { return vmaxvq_u8(v) >= 0x80; }
  bool is_zero() const { return vmaxvq_u8(v) == 0; }
#endif
};

}  // namespace mmap_ninja
