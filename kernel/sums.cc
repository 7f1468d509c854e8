#include "sums.h"

#include <algorithm>

#include "io.h"

namespace mmap_ninja {

void Tail::append(const void* data, uint64_t size, std::vector<BlockSum>* sums) {
  if (!sealed_) {
    extent_ += size;
    return;
  }
  auto bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    uint64_t part = std::min(size, kBlock - partial());
    hash_.update(bytes, part);
    bytes += part;
    size -= part;
    extent_ += part;
    if (partial() != 0) continue;
    uint64_t block = extent_ / kBlock;
    sums->push_back({file_, block - 1, hash_.digest()});
    hash_ = block_hash(file_, block);
  }
}

Status Tail::read(uint64_t file, int fd, uint64_t extent, bool sealed, Tail* tail) {
  *tail = Tail(file, extent, sealed);
  if (!sealed) return {};
  uint64_t partial = extent % kBlock;
  std::vector<uint8_t> bytes(partial);
  if (Status status = io::read_at(fd, bytes.data(), partial, extent - partial); !status.ok()) return status;
  tail->hash_.update(bytes.data(), partial);
  return {};
}

Status range_digest(uint64_t file, int fd, uint64_t durable, uint64_t extent, uint64_t* digest,
                    std::vector<BlockSum>* complete) {
  constexpr uint64_t kStep = 16 * kBlock;
  uint64_t at = durable / kBlock * kBlock;
  Tail tail(file, at);
  size_t before = complete->size();
  std::vector<uint8_t> bytes(std::min(kStep, extent > at ? extent - at : 0));
  while (at < extent) {
    uint64_t part = std::min(kStep, extent - at);
    if (Status status = io::read_at(fd, bytes.data(), part, at); !status.ok()) return status;
    tail.append(bytes.data(), part, complete);
    at += part;
  }
  *digest = tail.digest();
  for (size_t k = before; k < complete->size(); ++k) *digest += (*complete)[k].sum;
  return {};
}

std::vector<uint64_t> bad_blocks(uint64_t file, int fd, uint64_t first, std::span<const uint64_t> sums) {
  std::vector<uint8_t> bytes(kBlock);
  std::vector<uint64_t> bad;
  for (uint64_t k = 0; k < sums.size(); ++k) {
    Xxh64 hash = block_hash(file, first + k);
    bool read = io::read_at(fd, bytes.data(), kBlock, (first + k) * kBlock).ok();
    if (read) hash.update(bytes.data(), kBlock);
    if (!read || hash.digest() != sums[k]) bad.push_back(first + k);
  }
  return bad;
}

}  // namespace mmap_ninja
