#pragma once

#include <cstdint>
#include <vector>

#include "spans.h"

namespace mmap_ninja {

// What is in rows of one length, row after row: documents, or pieces of them.
struct Segments {
  std::vector<uint64_t> offsets = {0};  // of rows: the number of segments before each, and in all
  std::vector<uint64_t> lengths;

  uint64_t rows() const { return offsets.size() - 1; }
};

// Segments of documents that are stored anywhere.
struct Pieces : Segments {
  std::vector<uint64_t> documents;
  std::vector<uint64_t> starts;  // in the documents
};

// Copies pieces to rows of `length` elements of `unit` bytes, with zeros after the last one of each row.
// `documents`: that of each piece, which is as long as the pieces need.
void gather(const Pieces& pieces, const Span* documents, uint64_t unit, uint64_t length, uint8_t* rows);

// What attention within documents has to know of rows.
struct Description {
  int32_t* numbers;    // of the segment of each element in its row, from 1; 0 for padding
  int32_t* positions;  // of each element in its segment; 0 for padding
  int32_t* bounds;     // where each segment and each padding starts in all rows as one sequence; then its end
  uint64_t bound_count;  // the rest of the bounds repeat the end; at least one more than there are starts
};

// Describes rows that have fewer than 2^31 elements in all. Returns the length of the longest segment, or
// padding.
uint64_t describe(const Segments& segments, uint64_t length, const Description& description);

// Documents that follow each other, for windows of one size over them; all in elements.
class Documents {
 public:
  // The ends of documents that have elements, in their order.
  Documents(std::vector<uint64_t> ends, uint64_t size);
  // Of windows that are elsewhere.
  explicit Documents(uint64_t most) : most_(most) {}

  // How many of them a window has, at most.
  uint64_t most() const { return most_; }
  // Adds the row of a window to segments, in steps of so many elements.
  void cut(uint64_t first, uint64_t size, uint64_t step, Segments* segments) const;

 private:
  std::vector<uint64_t> ends_;
  uint64_t most_ = 1;
};

}  // namespace mmap_ninja
