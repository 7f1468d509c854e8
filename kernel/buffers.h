#pragma once

#include <cstdint>

namespace mmap_ninja {

// The memory of batches. It begins at a cache line, for vector instructions, and for libraries that take no
// other memory without a copy.
//
// The first write to fresh memory costs page faults, which take longer than the copy of a large batch. So
// while somebody recycles, such as a loader in an epoch, the memory of a batch that was dropped is kept for
// the next one of about its size. Without a recycler nothing is kept, so that a single large batch leaves
// nothing behind.
//
// All functions may be called from several threads, and in a forked child.

constexpr uint64_t kCacheLine = 64;
// Smaller buffers gain little, since the C library keeps their memory anyway.
constexpr uint64_t kRecycled = uint64_t{1} << 20;
// What is kept at most, in bytes; one buffer may be larger.
constexpr uint64_t kMostKept = uint64_t{256} << 20;

// Memory of `size` bytes, not initialised; null: there is none.
uint8_t* new_buffer(uint64_t size);
// The bytes that a buffer has room for: at least the size that was asked for.
uint64_t room_of(const uint8_t* buffer);
void delete_buffer(uint8_t* buffer);
// The bytes that are kept now.
uint64_t kept_bytes();

// While one exists, memory is recycled. What is kept goes back to the system with the last one.
class Recycler {
 public:
  Recycler();
  ~Recycler();
  Recycler(const Recycler&) = delete;
  Recycler& operator=(const Recycler&) = delete;
};

}  // namespace mmap_ninja
