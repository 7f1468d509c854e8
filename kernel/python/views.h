// The memory of arrays that are given out.
//
// NumPy's read-only flag is ignored by other libraries, such as PyTorch, and a write to a shared read-only
// map ends the process. So arrays lie over a second, private map of the payload: what is written to them
// stays in this process, and neither batches nor other handles see it.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "fetch.h"
#include "python.h"

namespace mmap_ninja {

// The private map of a payload, made when the first array is given out; or memory that nobody else has.
class Views {
 public:
  // `payload_size`: as for `grow`.
  Views(std::shared_ptr<Mapping> payload, uint64_t payload_size);

  // Where an array over a span of the payload lies in the map. Null: nowhere, as the map was not made yet, or
  // the span reaches into the page in which the payload ends, where later samples are going to be.
  const uint8_t* place(const uint8_t* data, uint64_t size) const {
    return data + size <= end_ ? data + shift_ : nullptr;
  }
  // How many bytes of the payload it has for arrays.
  uint64_t size() const { return end_ ? static_cast<uint64_t>(end_ - payload_->data()) : 0; }
  // What keeps the map alive, for arrays over it.
  PyObject* owner() const { return owner_.ptr(); }
  // Makes the map, if that was not tried before.
  void open();
  // The payload has more samples: up to so many bytes, of which the last page is left out.
  void grow(uint64_t payload_size);
  // There will not be more samples: makes the map, and does not leave out the last page.
  void open_whole();
  // Whether this map is large enough for so many bytes.
  bool covers(uint64_t payload_size) const { return !map_ || payload_size <= map_->capacity(); }
  // The map whose pages arrays touch.
  Mapping& mapping() {
    open();
    return map_ ? *map_ : *payload_;
  }
  bool are_given_out() const { return map_ && map_ != payload_; }
  // Whether an array may have been written to, at all, or where a sequential reader was lately.
  bool are_written() const { return are_given_out() && map_->is_written(0, payload_size_); }
  bool are_written_lately(uint64_t bytes) const {
    uint64_t end = are_given_out() ? map_->populated_end() : 0;
    return end != 0 && map_->is_written(end - std::min(end, bytes), end);
  }

 private:
  const uint8_t* end_ = nullptr;  // of what is given out, in the payload
  std::ptrdiff_t shift_ = 0;      // from the payload to the map
  nb::object owner_;
  std::shared_ptr<Mapping> payload_;
  std::shared_ptr<Mapping> map_;
  uint64_t payload_size_;
  bool is_refused_ = false;  // by the system
  bool is_whole_ = false;    // does not grow

  // How much of the payload is given out.
  uint64_t given_size() const { return is_whole_ ? payload_size_ : Mapping::page_start(payload_size_); }
};

// Memory that holds a range of a file for one array, and what keeps it alive.
struct Memory {
  const uint8_t* data = nullptr;  // null: there is none
  nb::object owner;
};

// A private map of a range that is so large that copying it takes longer; none if the system refuses it.
Memory own_map(const std::shared_ptr<Mapping>& file, Range range);

// The object that keeps a mapping alive for arrays over it.
nb::object owner_of(const std::shared_ptr<Mapping>& mapping);

}  // namespace mmap_ninja
