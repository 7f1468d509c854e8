#include "checksum.h"

#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#else
#error "the kernel supports x86-64 and aarch64"
#endif

namespace mmap_ninja {
namespace {

static_assert(std::endian::native == std::endian::little);

template <typename Word>
Word load(const uint8_t* p) {
  Word word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

#if defined(__x86_64__)
uint32_t crc_step(uint32_t crc, uint64_t word) { return static_cast<uint32_t>(_mm_crc32_u64(crc, word)); }
uint32_t crc_step(uint32_t crc, uint8_t byte) { return _mm_crc32_u8(crc, byte); }
#else
uint32_t crc_step(uint32_t crc, uint64_t word) { return __crc32cd(crc, word); }
uint32_t crc_step(uint32_t crc, uint8_t byte) { return __crc32cb(crc, byte); }
#endif

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87;
constexpr uint64_t kPrime2 = 0xC2B2AE3D27D4EB4F;
constexpr uint64_t kPrime3 = 0x165667B19E3779F9;
constexpr uint64_t kPrime4 = 0x85EBCA77C2B2AE63;
constexpr uint64_t kPrime5 = 0x27D4EB2F165667C5;

uint64_t round(uint64_t lane, uint64_t input) { return std::rotl(lane + input * kPrime2, 31) * kPrime1; }

uint64_t with_word(uint64_t hash, uint64_t word) {
  return std::rotl(hash ^ round(0, word), 27) * kPrime1 + kPrime4;
}

uint64_t avalanche(uint64_t hash) {
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

void consume_stripe(uint64_t (&lanes)[4], const uint8_t* p) {
  for (size_t i = 0; i < 4; ++i) lanes[i] = round(lanes[i], load<uint64_t>(p + 8 * i));
}

}  // namespace

uint32_t crc32c(const void* data, size_t size) {
  auto p = static_cast<const uint8_t*>(data);
  uint32_t crc = ~uint32_t{0};
  for (; size >= 8; size -= 8, p += 8) crc = crc_step(crc, load<uint64_t>(p));
  for (; size > 0; --size, ++p) crc = crc_step(crc, *p);
  return ~crc;
}

Xxh64::Xxh64(uint64_t seed)
    : lanes_{seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1}, seed_(seed) {}

void Xxh64::update(const void* data, size_t size) {
  // An empty span may carry a null pointer, which memcpy must not see.
  if (size == 0) return;
  auto p = static_cast<const uint8_t*>(data);
  const size_t num_pending = size_ % kStripe;
  size_ += size;
  if (num_pending + size < kStripe) {
    std::memcpy(pending_ + num_pending, p, size);
    return;
  }
  if (num_pending > 0) {
    const size_t missing = kStripe - num_pending;
    std::memcpy(pending_ + num_pending, p, missing);
    consume_stripe(lanes_, pending_);
    p += missing;
    size -= missing;
  }
  // In locals, since stores to the member array would keep the lanes out of registers.
  uint64_t lanes[4] = {lanes_[0], lanes_[1], lanes_[2], lanes_[3]};
  for (; size >= kStripe; size -= kStripe, p += kStripe) consume_stripe(lanes, p);
  std::memcpy(lanes_, lanes, sizeof lanes);
  std::memcpy(pending_, p, size);
}

uint64_t Xxh64::digest() const {
  uint64_t hash;
  if (size_ < kStripe) {
    hash = seed_ + kPrime5;
  } else {
    hash = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
           std::rotl(lanes_[3], 18);
    for (uint64_t lane : lanes_) hash = (hash ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  hash += size_;

  const uint8_t* p = pending_;
  size_t left = size_ % kStripe;
  for (; left >= 8; left -= 8, p += 8) {
    hash = with_word(hash, load<uint64_t>(p));
  }
  if (left >= 4) {
    hash = std::rotl(hash ^ load<uint32_t>(p) * kPrime1, 23) * kPrime2 + kPrime3;
    left -= 4;
    p += 4;
  }
  for (; left > 0; --left, ++p) hash = std::rotl(hash ^ *p * kPrime5, 11) * kPrime1;

  return avalanche(hash);
}

uint64_t xxh64(uint64_t word, uint64_t seed) {
  return avalanche(with_word(seed + kPrime5 + sizeof word, word));
}

uint64_t xxh64(const void* data, size_t size, uint64_t seed) {
  Xxh64 hash(seed);
  hash.update(data, size);
  return hash.digest();
}

}  // namespace mmap_ninja
