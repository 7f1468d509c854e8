#pragma once

#include <cstdint>
#include <vector>

#include "segments.h"

namespace mmap_ninja {

// Documents in rows of one length. A row has one or more segments: documents, or pieces of those that are
// longer than a row.
struct Packing {
  std::vector<uint64_t> ends;       // of rows: the number of segments up to there
  std::vector<uint64_t> documents;  // of segments
  std::vector<uint64_t> pieces;   // of segments: the number of earlier ones of the document, each a full row
  std::vector<uint32_t> lengths;  // of segments
  uint64_t most_segments = 0;     // in a row

  // What is in some rows, which have this length.
  Pieces in(const uint64_t* rows, uint64_t count, uint64_t length) const;
};

// Packs documents of these lengths, none of them negative, in rows of a length below 2^32, in an order that a
// key decides. Empty ones take no room: they are in no row. Best fit decreasing (Johnson, "Near-optimal bin
// packing algorithms", 1973), a window of documents at a time, where rows stay open for later windows.
Packing pack(const int64_t* lengths, uint64_t count, uint64_t length, uint64_t key);

}  // namespace mmap_ninja
