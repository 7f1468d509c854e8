#include "buffers.h"

#include <pthread.h>
#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif
#ifdef MMAP_NINJA_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>
#include <utility>

namespace mmap_ninja {
namespace {

// Stands before a buffer.
struct Header {
  void* memory;  // from the C library
  uint64_t room;
  Header* older;  // the next one that is kept
};
static_assert(sizeof(Header) <= kCacheLine);

uint8_t* buffer_of(Header* header) { return reinterpret_cast<uint8_t*>(header) + kCacheLine; }

Header* header_of(const uint8_t* buffer) {
  return reinterpret_cast<Header*>(const_cast<uint8_t*>(buffer) - kCacheLine);
}

// Larger pages, whose faults cost a tenth, for the sizes for which NumPy asks for them.
void use_huge_pages([[maybe_unused]] uint8_t* begin, [[maybe_unused]] uint64_t size) {
#ifdef __linux__
  constexpr uint64_t kHuge = uint64_t{4} << 20, kPage = 4096;
  if (size < kHuge) return;
  uint64_t lead = -reinterpret_cast<uintptr_t>(begin) % kPage;
  ::madvise(begin + lead, size - lead, MADV_HUGEPAGE);
#endif
}

uint8_t* allocate(uint64_t room) {
  constexpr uint64_t kExtra = 2 * kCacheLine;
  if (room > INT64_MAX - kExtra) return nullptr;
  // Not posix_memalign: what it cuts off is given to others, and then glibc cannot use the rest again for the
  // same size. Measured: 400 MB for two buffers of 3 MB in turns.
  void* memory = ::malloc(room + kExtra);
  if (!memory) return nullptr;
  uint64_t lead = -reinterpret_cast<uintptr_t>(memory) % kCacheLine;
  uint8_t* buffer = static_cast<uint8_t*>(memory) + lead + kCacheLine;
#ifdef MMAP_NINJA_SANITIZE
  ASAN_POISON_MEMORY_REGION(buffer + room, kExtra - kCacheLine - lead);
#endif
  new (header_of(buffer)) Header{memory, room, nullptr};
  use_huge_pages(buffer, room);
  return buffer;
}

void free_all(Header* headers) {
  while (headers) ::free(std::exchange(headers, headers->older)->memory);
}

// Sizes of batches vary a little, and the memory of one should do for the next. What is not written to costs
// nothing.
uint64_t rounded(uint64_t size) {
  uint64_t step = std::bit_floor(size) / 8;
  if (size > INT64_MAX - step) return size;
  return (size + step - 1) / step * step;
}

// What is kept for later batches.
class Pool {
 public:
  // A buffer for so many bytes; null: none fits. Then the oldest one goes, since sizes have changed, and the
  // new one should have room for `size`, which may be more now.
  uint8_t* take(uint64_t* size) {
    Header *found = nullptr, *unfit = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (recyclers_ == 0) return nullptr;
      Header** best = nullptr;
      Header** oldest = nullptr;
      for (Header** at = &newest_; *at; oldest = at, at = &(*at)->older)
        if (fits(**at, *size) && (!best || (*at)->room < (*best)->room)) best = at;
      if (best)
        found = remove(best);
      else if (oldest)
        unfit = remove(oldest);
    }
    free_all(unfit);
    if (found) return buffer_of(found);
    *size = rounded(*size);
    return nullptr;
  }

  // Keeps a buffer; false: nobody recycles.
  bool keep(Header* header) {
    Header* unkept = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (recyclers_ == 0) return false;
      header->older = std::exchange(newest_, header);
      bytes_ += header->room;
      while (bytes_ > kMostKept && newest_->older) {
        Header** oldest = &newest_;
        while ((*oldest)->older) oldest = &(*oldest)->older;
        Header* removed = remove(oldest);
        removed->older = std::exchange(unkept, removed);
      }
    }
    free_all(unkept);
    return true;
  }

  void add_recycler() {
    std::lock_guard lock(mutex_);
    ++recyclers_;
  }
  void remove_recycler() {
    Header* unkept = nullptr;
    {
      std::lock_guard lock(mutex_);
      if (--recyclers_ != 0) return;
      unkept = std::exchange(newest_, nullptr);
      bytes_ = 0;
    }
    free_all(unkept);
  }
  uint64_t bytes() {
    std::lock_guard lock(mutex_);
    return bytes_;
  }

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

 private:
  // Up to twice the size, so that small batches do not hold the memory of large ones.
  static bool fits(const Header& header, uint64_t size) {
    return header.room >= size && header.room / 2 <= size;
  }

  Header* remove(Header** at) {
    Header* header = *at;
    *at = std::exchange(header->older, nullptr);
    bytes_ -= header->room;
    return header;
  }

  std::mutex mutex_;
  uint64_t recyclers_ = 0;
  Header* newest_ = nullptr;
  uint64_t bytes_ = 0;
};

// Never destroyed: arrays may be dropped while the process exits.
Pool& pool() {
  static auto pool = new Pool;
  return *pool;
}

// A child must not find the pool locked by a thread that it does not have.
const int handled = ::pthread_atfork([] { pool().lock(); }, [] { pool().unlock(); }, [] { pool().unlock(); });

}  // namespace

uint8_t* new_buffer(uint64_t size) {
  uint8_t* kept = size < kRecycled ? nullptr : pool().take(&size);
  return kept ? kept : allocate(size);
}

uint64_t room_of(const uint8_t* buffer) { return header_of(buffer)->room; }

void delete_buffer(uint8_t* buffer) {
  Header* header = header_of(buffer);
  if (header->room < kRecycled || !pool().keep(header)) ::free(header->memory);
}

uint64_t kept_bytes() { return pool().bytes(); }

Recycler::Recycler() { pool().add_recycler(); }
Recycler::~Recycler() { pool().remove_recycler(); }

}  // namespace mmap_ninja
