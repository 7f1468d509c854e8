#pragma once

#include <cstddef>
#include <cstdint>

namespace mmap_ninja {

// CRC-32C (Castagnoli polynomial, reflected, initial value and final xor 0xFFFFFFFF), as in iSCSI.
uint32_t crc32c(const void* data, size_t size);

// Streaming XXH64, after the "XXH64 algorithm description" of the xxHash specification (Collet). The digest
// depends only on the bytes and the seed, not on how the bytes are split over `update` calls; `update` may
// follow `digest`. A copy is an independent stream. An object must not be shared between threads.
struct Xxh64 {
  explicit Xxh64(uint64_t seed);
  void update(const void* data, size_t size);
  uint64_t digest() const;

 private:
  static constexpr size_t kStripe = 32;

  uint64_t lanes_[4];
  uint64_t seed_;
  uint64_t size_ = 0;
  uint8_t pending_[kStripe];  // the first size_ % kStripe bytes are input that does not fill a stripe yet
};

uint64_t xxh64(const void* data, size_t size, uint64_t seed);
// The digest of the 8 bytes of a little-endian word.
uint64_t xxh64(uint64_t word, uint64_t seed);

}  // namespace mmap_ninja
