// The memory of arrays that are given out.

#include "views.h"

#include <utility>

namespace mmap_ninja {

Views::Views(std::shared_ptr<Mapping> payload, uint64_t payload_size)
    : payload_(std::move(payload)), payload_size_(payload_size) {
  if (!payload_->is_memory()) return;
  map_ = payload_;
  owner_ = owner_of(map_);
  end_ = payload_->data() + payload_size;
}

void Views::open() {
  if (map_ || is_refused_ || given_size() == 0) return;
  // As far as the shared map goes, so that this one is good for later samples, too.
  is_refused_ = !Mapping::open_private(payload_, 0, payload_->capacity(), &map_).ok();
  if (is_refused_) return;
  owner_ = owner_of(map_);
  shift_ = map_->data() - payload_->data();
  grow(payload_size_);
}

void Views::grow(uint64_t payload_size) {
  payload_size_ = payload_size;
  if (map_) end_ = payload_->data() + given_size();
}

void Views::open_whole() {
  is_whole_ = true;
  open();
  if (!payload_->is_memory()) grow(payload_size_);
}

Memory own_map(const std::shared_ptr<Mapping>& file, Range range) {
  constexpr uint64_t kCopied = uint64_t{256} << 10;  // a copy takes 13 us, a map 8 to 14
  if (range.size < kCopied || file->is_memory()) return {};
  uint64_t first = Mapping::page_start(range.begin);
  std::shared_ptr<Mapping> map;
  if (!Mapping::open_private(file, first, range.begin + range.size - first, &map).ok()) return {};
  return {map->data() + (range.begin - first), owner_of(map)};
}

nb::object owner_of(const std::shared_ptr<Mapping>& mapping) {
  using Kept = std::shared_ptr<Mapping>;
  return nb::capsule(new Kept(mapping), [](void* kept) noexcept { delete static_cast<Kept*>(kept); });
}

}  // namespace mmap_ninja
