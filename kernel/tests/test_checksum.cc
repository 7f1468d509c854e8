#include <cstdint>
#include <cstring>
#include <vector>

#include "check.h"
#include "checksum.h"

using mmap_ninja::crc32c;
using mmap_ninja::Xxh64;
using mmap_ninja::xxh64;

namespace {

std::vector<uint8_t> pattern(size_t size) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(i * 131 + (i >> 8) * 17);
  return bytes;
}

void test_crc32c_matches_iscsi_examples() {
  // RFC 3720, appendix B.4.
  std::vector<uint8_t> bytes(32, 0x00);
  CHECK(crc32c(bytes.data(), 32) == 0x8A9136AA);
  bytes.assign(32, 0xFF);
  CHECK(crc32c(bytes.data(), 32) == 0x62A8AB43);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(i);
  CHECK(crc32c(bytes.data(), 32) == 0x46DD794E);
  for (size_t i = 0; i < 32; ++i) bytes[i] = static_cast<uint8_t>(31 - i);
  CHECK(crc32c(bytes.data(), 32) == 0x113FDB5C);
  CHECK(crc32c("123456789", 9) == 0xE3069283);
}

void test_xxh64_matches_short_examples() {
  CHECK(xxh64(nullptr, 0, 0) == 0xEF46DB3751D8E999);
  CHECK(xxh64("a", 1, 0) == 0xD24EC4F1A98C6E5B);
  CHECK(xxh64("abc", 3, 0) == 0x44BC2CF5AD770999);
}

void test_both_match_other_implementations() {
  // Computed by the Python packages xxhash 4.1.0 and google-crc32c.
  struct Vector {
    size_t size;
    uint64_t seed_0, seed_prime;
    uint32_t crc;
  };
  constexpr uint64_t kSeed = 0x9E3779B185EBCA8D;
  const Vector vectors[] = {
      {0, 0xEF46DB3751D8E999, 0x0B303D920EC349DF, 0x00000000},
      {1, 0xE934A84ADB052768, 0x9C6678669FCD2E6D, 0x527D5351},
      {3, 0xA83378D1EB86EC62, 0xCA0F302D51753E00, 0x89E116F2},
      {4, 0x9882E57ED36C4CFC, 0xD60D0E1BA01B9B6A, 0xBAE54D71},
      {5, 0xA4F368AD8DEC9BAD, 0xCB67A9C94709F5A1, 0x9C77AEC2},
      {8, 0xA5BC8D8944331FE7, 0xBA30CAA402C36E9F, 0xCED7B96D},
      {31, 0x1ADD2D10328C4897, 0xCC97C006130D2A22, 0x1993B37A},
      {32, 0x333288D992CF3B16, 0x74CB16A673E38B11, 0x24E511AF},
      {33, 0x379B60150F2CFC7F, 0x9DC57148D905BA7E, 0xCFC7ACA0},
      {64, 0x60A3644CA073E2CB, 0x1CF81545C75FD0C0, 0xE9140E93},
      {200, 0xAF9CB21D8979B6AE, 0x28FDC454CD1CFA3A, 0x5E3F65A4},
      {4096, 0x701FB815F8A7FD2B, 0x269572678DFAA4A7, 0x7E7A8047},
  };
  for (const Vector& vector : vectors) {
    const std::vector<uint8_t> bytes = pattern(vector.size);
    CHECK(xxh64(bytes.data(), bytes.size(), 0) == vector.seed_0);
    CHECK(xxh64(bytes.data(), bytes.size(), kSeed) == vector.seed_prime);
    CHECK(crc32c(bytes.data(), bytes.size()) == vector.crc);
  }

  // All sizes up to 1024, as a checksum of their checksums; the size is the seed.
  std::vector<uint64_t> hashes;
  std::vector<uint32_t> crcs;
  for (size_t size = 0; size <= 1024; ++size) {
    const std::vector<uint8_t> bytes = pattern(size);
    hashes.push_back(xxh64(bytes.data(), size, size));
    crcs.push_back(crc32c(bytes.data(), size));
  }
  CHECK(xxh64(hashes.data(), hashes.size() * sizeof hashes[0], 0) == 0x3C68B401FA901B27);
  CHECK(crc32c(crcs.data(), crcs.size() * sizeof crcs[0]) == 0x7B9CA7E0);
}

void test_xxh64_split_anywhere_gives_same_digest() {
  for (size_t size = 0; size <= 200; ++size) {
    const std::vector<uint8_t> bytes = pattern(size);
    const uint64_t whole = xxh64(bytes.data(), size, 5);
    for (size_t split = 0; split <= size; ++split) {
      Xxh64 stream(5);
      stream.update(bytes.data(), split);
      CHECK(stream.digest() == xxh64(bytes.data(), split, 5));
      const Xxh64 copy = stream;
      stream.update(bytes.data() + split, size - split);
      CHECK(stream.digest() == whole);
      CHECK(stream.digest() == whole);
      CHECK(copy.digest() == xxh64(bytes.data(), split, 5));
    }
    Xxh64 bytewise(5);
    for (uint8_t byte : bytes) bytewise.update(&byte, 1);
    CHECK(bytewise.digest() == whole);
  }
}

void test_xxh64_of_a_word_is_that_of_its_bytes() {
  for (uint64_t word : {uint64_t{0}, uint64_t{1}, uint64_t{0x0123456789ABCDEF}, ~uint64_t{0}})
    for (uint64_t seed : {uint64_t{0}, uint64_t{1}, ~uint64_t{0}})
      CHECK(xxh64(word, seed) == xxh64(&word, sizeof word, seed));
}

void test_both_ignore_alignment() {
  const std::vector<uint8_t> bytes = pattern(1000);
  std::vector<uint8_t> shifted(1008);
  for (size_t shift = 0; shift < 8; ++shift) {
    std::memcpy(shifted.data() + shift, bytes.data(), bytes.size());
    CHECK(xxh64(shifted.data() + shift, bytes.size(), 1) == xxh64(bytes.data(), bytes.size(), 1));
    CHECK(crc32c(shifted.data() + shift, bytes.size()) == crc32c(bytes.data(), bytes.size()));
  }
}

}  // namespace

int main() {
  test_crc32c_matches_iscsi_examples();
  test_xxh64_matches_short_examples();
  test_both_match_other_implementations();
  test_xxh64_split_anywhere_gives_same_digest();
  test_xxh64_of_a_word_is_that_of_its_bytes();
  test_both_ignore_alignment();
}
