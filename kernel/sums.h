#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "checksum.h"
#include "status.h"

namespace mmap_ninja {

constexpr uint64_t kBlock = 65536;

// An entry of a sums file, for a complete block of one of the generation's files.
struct BlockSum {
  uint64_t file;
  uint64_t block;
  uint64_t sum;
};
static_assert(sizeof(BlockSum) == 24);

// Keyed by (file, block), so that a block written to the wrong place does not verify.
inline Xxh64 block_hash(uint64_t file, uint64_t block) { return Xxh64(file << 48 | block); }

// The running hash of a file's partial last block, so that updating the digest on an append costs O(batch).
class Tail {
 public:
  // For a file that is not `sealed`, only the extent is kept: its bytes may change in place.
  Tail(uint64_t file, uint64_t extent, bool sealed = true)
      : file_(file), extent_(extent), sealed_(sealed), hash_(block_hash(file, extent / kBlock)) {}

  uint64_t extent() const { return extent_; }
  // The hashed bytes of the last block.
  uint64_t partial() const { return extent_ % kBlock; }
  uint64_t digest() const { return partial() == 0 || !sealed_ ? 0 : hash_.digest(); }
  // The number of complete blocks, which have sums.
  uint64_t blocks() const { return sealed_ ? extent_ / kBlock : 0; }

  // Hashes bytes appended at extent(); completed blocks are added to `sums`.
  void append(const void* data, uint64_t size, std::vector<BlockSum>* sums);

  // The tail at `extent` of a file that another writer has extended: reads its partial block.
  static Status read(uint64_t file, int fd, uint64_t extent, bool sealed, Tail* tail);

 private:
  uint64_t file_;
  uint64_t extent_;
  bool sealed_;
  Xxh64 hash_;
};

// The digest of a file's bytes [durable, extent): the sum, mod 2^64, of the hashes of the blocks that the
// range touches, each from the start of its block to the end of the block or file.
Status range_digest(uint64_t file, int fd, uint64_t durable, uint64_t extent, uint64_t* digest,
                    std::vector<BlockSum>* complete);

// The complete blocks from `first` on that do not match these sums, or cannot be read.
std::vector<uint64_t> bad_blocks(uint64_t file, int fd, uint64_t first, std::span<const uint64_t> sums);

}  // namespace mmap_ninja
