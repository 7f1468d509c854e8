#pragma once

#include <cstdint>
#include <memory>

#include "mapping.h"
#include "shapes.h"
#include "spans.h"
#include "status.h"

// Files that are not mapped: what a call needs is read into memory, as small spans, which are then read like
// those over a map.
namespace mmap_ninja {

// Where a row is in its payload, in bytes.
struct Range {
  uint64_t begin;
  uint64_t size;
};

// Finds and checks the ranges of committed rows; over the map of the index, if there is one.
Status locate(const Spans& spans, const uint64_t* rows, uint64_t count, Range* ranges);

// The samples at these ranges, as rows 0, 1, ... of spans in memory. Neighbours are read in one call.
Status fetch(const Spans& spans, const Range* ranges, uint64_t count, Spans* fetched);

// Spans in memory with these rows, as rows 0, 1, ..., of samples that are not contiguous: all of the payload.
Status fetch_scattered(const Spans& spans, const uint64_t* rows, uint64_t count, Spans* fetched);

// The same for the shapes of rows.
Status fetch(const Shapes& shapes, const uint64_t* rows, uint64_t count, Shapes* fetched);

// Rows of `unit` bytes of a file, as rows 0, 1, ... in memory.
Status fetch(const std::shared_ptr<Mapping>& file, uint64_t unit, const uint64_t* rows, uint64_t count,
             std::shared_ptr<Mapping>* fetched);

// The same, copied to `out`; over the file's map, if there is one.
Status read_rows(const Mapping& file, uint64_t unit, const uint64_t* rows, uint64_t count, uint8_t* out);

}  // namespace mmap_ninja
