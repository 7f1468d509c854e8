// The memory of arrays that are given out.
//
// NumPy's read-only flag is ignored by other libraries, such as PyTorch, and a write to a shared read-only
// map ends the process. So arrays lie over a second, private map of the payload: what is written to them
// stays in this process, and neither batches nor other handles see it.

#pragma once

#include <memory>

#include "fetch.h"
#include "python.h"

namespace mmap_ninja {

// The private map of a payload, made when the first array is given out; or memory that nobody else has.
class Views {
 public:
  explicit Views(std::shared_ptr<Mapping> payload);

  // Where the payload starts; null if the system refuses such a map.
  uint8_t* base() { return base_ ? base_ : open(); }
  // What keeps it alive, for arrays over it.
  PyObject* owner() const { return owner_.ptr(); }
  // The map whose pages arrays touch.
  Mapping& mapping() { return base() ? *map_ : *payload_; }
  bool are_given_out() const { return map_ && map_ != payload_; }
  // Whether this also serves a payload that has grown to so many bytes.
  bool covers(uint64_t payload_size) const { return !map_ || payload_size <= map_->capacity(); }

 private:
  uint8_t* open();

  std::shared_ptr<Mapping> payload_;
  std::shared_ptr<Mapping> map_;
  nb::object owner_;
  uint8_t* base_ = nullptr;
  bool is_refused_ = false;
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
