#include "segments.h"

#include <string.h>

#include <algorithm>

#include "copies.h"

namespace mmap_ninja {

void gather(const Pieces& pieces, const Span* documents, uint64_t unit, uint64_t length, uint8_t* rows) {
  uint64_t count = pieces.lengths.size();
  auto source = [&](uint64_t k) -> Span {
    return {documents[k].data + pieces.starts[k] * unit, pieces.lengths[k] * unit};
  };
  for (uint64_t k = 0; k < std::min(count, kSamplesAhead); ++k) prefetch_span(source(k));
  for (uint64_t row = 0; row < pieces.rows(); ++row) {
    uint8_t *to = rows + row * length * unit, *end = to + length * unit;
    for (uint64_t k = pieces.offsets[row]; k < pieces.offsets[row + 1]; ++k) {
      if (k + kSamplesAhead < count) prefetch_span(source(k + kSamplesAhead));
      Span span = source(k);
      copy_bytes(to, span.data, span.size);
      to += span.size;
    }
    memset(to, 0, static_cast<size_t>(end - to));
  }
}

uint64_t describe(const Segments& segments, uint64_t length, const Description& description) {
  int32_t *number = description.numbers, *position = description.positions, *bound = description.bounds;
  uint64_t longest = 0, at = 0;
  auto add = [&](uint64_t size, int32_t of) {
    *bound++ = static_cast<int32_t>(at);
    at += size;
    longest = std::max(longest, size);
    number = std::fill_n(number, size, of);
  };
  for (uint64_t row = 0; row < segments.rows(); ++row) {
    int32_t of = 0;
    for (uint64_t k = segments.offsets[row]; k < segments.offsets[row + 1]; ++k) {
      uint64_t size = segments.lengths[k];
      add(size, ++of);
      for (uint64_t place = 0; place < size; ++place) position[place] = static_cast<int32_t>(place);
      position += size;
    }
    if (uint64_t rest = (row + 1) * length - at) {
      add(rest, 0);
      position = std::fill_n(position, rest, 0);
    }
  }
  std::fill(bound, description.bounds + description.bound_count, static_cast<int32_t>(at));
  return longest;
}

Documents::Documents(std::vector<uint64_t> ends, uint64_t size) : ends_(std::move(ends)) {
  // No window that begins in a document has more of them than the one that begins with its last element.
  for (size_t first = 0, next = 0; first < ends_.size(); ++first) {
    while (next < ends_.size() && ends_[next] < ends_[first] - 1 + size) ++next;
    most_ = std::max<uint64_t>(most_, std::min(next + 1, ends_.size()) - first);
  }
}

void Documents::cut(uint64_t first, uint64_t size, uint64_t step, Segments* segments) const {
  uint64_t end = first + size;
  for (auto next = std::upper_bound(ends_.begin(), ends_.end(), first); first < end; ++next) {
    uint64_t until = next == ends_.end() ? end : std::min(*next, end);
    segments->lengths.push_back((until - first) / step);
    first = until;
  }
  segments->offsets.push_back(segments->lengths.size());
}

}  // namespace mmap_ninja
