#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

#include "file.h"
#include "status.h"

namespace mmap_ninja {

// How the bytes of a file are read.
enum class Access : uint8_t {
  map,    // over a shared map: touching a truncated part raises SIGBUS
  pread,  // into memory, by system calls, which report errors
};

// A read-only shared map of a growing file. On Linux it reserves address space past the end, where later
// bytes of the file appear without a new map; bytes past the committed length must not be touched, since they
// raise SIGBUS. With Access::pread this is only the file. It can also be memory with bytes read from a file,
// or a private map of a file that another one maps.
//
// A map does not need its file's descriptor. One whose file is let go sees by its last page whether the file
// was truncated: it can no longer be read, or has zeros where it had other bytes.
class Mapping {
 public:
  // Maps at least the first `size` bytes of a file, all of which are committed; the file stays open. `what`:
  // the name of the file in errors, a literal.
  static Status open(std::shared_ptr<File> file, uint64_t size, Access access, const char* what,
                     std::shared_ptr<Mapping>* mapping);
  // Whether the maps of this process keep few enough files open for one more.
  static bool may_keep_file();
  // Maps them, and lets the file go.
  static Status open_alone(const std::shared_ptr<File>& file, uint64_t size, const char* what,
                           std::shared_ptr<Mapping>* mapping);
  // The same as `open`, with a duplicate of a descriptor.
  static Status open(int fd, uint64_t size, Access access, const char* what,
                     std::shared_ptr<Mapping>* mapping);
  // A map of bytes [begin, begin + size) of the file that can be written: what is written stays in this
  // process, and in children that are forked later. It takes no memory or swap before. `begin` and its data
  // start at a page.
  static Status open_private(const std::shared_ptr<const Mapping>& file, uint64_t begin, uint64_t size,
                             std::shared_ptr<Mapping>* mapping);
  // Memory of `size` bytes, for the caller to fill.
  static Status allocate(uint64_t size, std::shared_ptr<Mapping>* memory, uint8_t** bytes);

  ~Mapping();
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  // Null for a file that is not mapped.
  const uint8_t* data() const { return data_; }
  Access access() const { return data_ ? Access::map : Access::pread; }
  bool is_memory() const { return !file_; }
  // Its file, for another thread.
  std::shared_ptr<File> file_apart() const { return file_->apart(); }
  // Code::short_file if the file is shorter than `size`: then touching the map would kill the process. Of a
  // file that was let go, if bytes that are committed are gone. Memory is always long enough.
  Status check_size(uint64_t size) const;
  // More bytes are committed, within the capacity. Not thread-safe, also beside `check_size`.
  Status grow(uint64_t size);
  // Reads a range of the file by system calls; Code::short_file if the file is too short.
  Status read(uint64_t begin, uint64_t size, uint8_t* out) const;
  // The same file with a larger capacity.
  Status reopen(uint64_t size, std::shared_ptr<Mapping>* mapping) const {
    return file_->fd() < 0 ? open_alone(file_, size, what_, mapping)
                           : open(file_, size, access(), what_, mapping);
  }
  uint64_t committed() const { return committed_; }
  // The bytes that may be committed before a new map is needed.
  uint64_t capacity() const { return capacity_; }
  // Where the page that holds a byte of a file starts.
  static uint64_t page_start(uint64_t byte);
  static uint64_t page_size();

  // Whether a sequential reader has asked for these pages before.
  bool is_populated(uint64_t begin, uint64_t end) const {
    return populated_begin_.load(std::memory_order_relaxed) <= begin &&
           end <= populated_end_.load(std::memory_order_relaxed);
  }
  // Reads committed bytes [begin, end) and fills their page tables in one call, so that a sequential reader
  // takes no page faults. A hint, which raises no signal; an error means that touching them would.
  Status populate(uint64_t begin, uint64_t end);
  // Whether a page in a range of a private map was written to, and so is this process's own. True if the
  // system does not tell, or it would take longer than to populate another map.
  bool is_written(uint64_t begin, uint64_t end) const;
  // Where the pages end that a sequential reader has asked for.
  uint64_t populated_end() const { return populated_end_.load(std::memory_order_relaxed); }
  // Starts reading a range of a map into the page cache.
  void will_need(uint64_t begin, uint64_t end) const;

 private:
  Mapping(const uint8_t* data, uint64_t capacity, std::shared_ptr<File> file, const char* what,
          std::shared_ptr<const Mapping> original = {})
      : data_(data),
        capacity_(capacity),
        file_(std::move(file)),
        what_(what),
        original_(std::move(original)) {}
  static Status make(const uint8_t* data, uint64_t capacity, std::shared_ptr<File> file, const char* what,
                     std::shared_ptr<Mapping>* mapping);
  Status check_end() const;
  void keep_file(bool keeps);

  const uint8_t* data_;
  uint64_t capacity_;
  std::shared_ptr<File> file_;  // null: this is memory
  const char* what_;
  bool keeps_file_ = false;                  // open, as a shared map
  std::shared_ptr<const Mapping> original_;  // that this is a private map of
  uint64_t committed_ = 0;                   // bytes
  uint64_t mark_ = 0;  // behind the last byte of the last committed page that is not zero; 0: there is none
  std::atomic<uint64_t> populated_begin_{0};
  std::atomic<uint64_t> populated_end_{0};
};

}  // namespace mmap_ninja
