#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "status.h"

namespace mmap_ninja {

// A read-only shared map of a growing file. On Linux it reserves address space past the end, where the file's
// later bytes appear without a new map; nobody may touch bytes past the committed length, which raise SIGBUS.
class Mapping {
 public:
  // Maps at least the first `size` bytes of `fd`, which may be closed afterwards: the map keeps a duplicate.
  static Status open(int fd, uint64_t size, std::shared_ptr<Mapping>* mapping);

  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  const uint8_t* data() const { return data_; }
  // Code::short_file if the file is shorter than `size`: then touching the map would kill the process.
  Status check_size(uint64_t size) const;
  // The same file with a larger capacity.
  Status reopen(uint64_t size, std::shared_ptr<Mapping>* mapping) const { return open(fd_, size, mapping); }
  // Bytes that may be committed before a new map is needed.
  uint64_t capacity() const { return capacity_; }

  // Whether a sequential reader has asked for these pages before.
  bool is_populated(uint64_t begin, uint64_t end) const {
    return populated_begin_.load(std::memory_order_relaxed) <= begin &&
           end <= populated_end_.load(std::memory_order_relaxed);
  }
  // Reads [begin, end) in and fills its page tables in one call, so that a sequential reader takes no page
  // faults. A hint: it reports no errors and raises no signals.
  void populate(uint64_t begin, uint64_t end);
  // Starts reading a range into the page cache.
  void will_need(uint64_t begin, uint64_t end) const;

 private:
  Mapping(const uint8_t* data, uint64_t capacity, int fd) : data_(data), capacity_(capacity), fd_(fd) {}

  const uint8_t* data_;
  uint64_t capacity_;
  int fd_;  // a duplicate of its own
  std::atomic<uint64_t> populated_begin_{0};
  std::atomic<uint64_t> populated_end_{0};
};

}  // namespace mmap_ninja
