#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "status.h"

namespace mmap_ninja {

// How the bytes of a file are read.
enum class Access : uint8_t {
  map,    // over a shared map: touching what was cut off raises SIGBUS
  pread,  // into memory, by system calls, which report it
};

// A read-only shared map of a growing file. On Linux it reserves address space past the end, where the file's
// later bytes appear without a new map; nobody may touch bytes past the committed length, which raise SIGBUS.
// With Access::pread it is only the file. Or it is memory that holds what was read of one.
class Mapping {
 public:
  // At least the first `size` bytes of `fd`, which may be closed afterwards: a duplicate is kept. `what`: the
  // file's name in errors, a literal.
  static Status open(int fd, uint64_t size, Access access, const char* what,
                     std::shared_ptr<Mapping>* mapping);
  // So many bytes of memory, for the caller to fill.
  static Status allocate(uint64_t size, std::shared_ptr<Mapping>* memory, uint8_t** bytes);

  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Null for a file that is not mapped.
  const uint8_t* data() const { return data_; }
  Access access() const { return data_ ? Access::map : Access::pread; }
  // Code::short_file if the file is shorter than `size`: then touching the map would kill the process. Memory
  // always is long enough.
  Status check_size(uint64_t size) const;
  // Reads a range of the file by system calls; Code::short_file if it ends before.
  Status read(uint64_t begin, uint64_t size, uint8_t* out) const;
  // The same file with a larger capacity.
  Status reopen(uint64_t size, std::shared_ptr<Mapping>* mapping) const {
    return open(fd_, size, access(), what_, mapping);
  }
  // Bytes that may be committed before a new map is needed.
  uint64_t capacity() const { return capacity_; }

  // Whether a sequential reader has asked for these pages before.
  bool is_populated(uint64_t begin, uint64_t end) const {
    return populated_begin_.load(std::memory_order_relaxed) <= begin &&
           end <= populated_end_.load(std::memory_order_relaxed);
  }
  // Reads [begin, end) in and fills its page tables in one call, so that a sequential reader takes no page
  // faults. A hint, which raises no signals; but an error tells that touching them would. They must be
  // committed.
  Status populate(uint64_t begin, uint64_t end);
  // Starts reading a range into the page cache.
  void will_need(uint64_t begin, uint64_t end) const;

 private:
  Mapping(const uint8_t* data, uint64_t capacity, int fd, const char* what)
      : data_(data), capacity_(capacity), fd_(fd), what_(what) {}

  const uint8_t* data_;
  uint64_t capacity_;
  int fd_;  // a duplicate of its own; -1: this is memory
  const char* what_;
  std::atomic<uint64_t> populated_begin_{0};
  std::atomic<uint64_t> populated_end_{0};
};

}  // namespace mmap_ninja
