// Samples that are read together: guarded against truncation where their files are mapped, and read into
// memory where they are not.

#pragma once

#include <string>
#include <vector>

#include "column.h"
#include "fetch.h"

namespace mmap_ninja {

// An error with a row of the column's.
void check(const Status& status, const Column& column);

// Once per batch: whether somebody truncated a file under its map. Costs nothing per sample, and guards no
// view.
void check_sizes(const Column& column);

struct FetchOptions {
  uint64_t most_bytes = UINT64_MAX;  // of samples: then there may be fewer than were asked for, but one
  bool one_by_one = false;  // they are given out one by one, so that none may keep the memory of the others
  bool is_cold = false;     // the disk is asked for all of them before the first is read
};

// The samples in these rows of a column that is not mapped, read into memory: a column of its own, with as
// many rows.
ColumnPtr fetch(const Column& column, const std::vector<uint64_t>& rows, const FetchOptions& options);

// Samples that are read together. Where the files are not mapped, they are in memory.
struct Batch {
  ColumnPtr column;
  std::vector<uint64_t> rows;  // of that column
};
Batch read_batch(Reader& reader, nb::handle indices);
// The same of rows of a column; they should be few enough for memory.
Batch read_rows(const ColumnPtr& column, std::vector<uint64_t> rows, bool is_cold);

// The times of batches: the next one's pages are asked for all at once where this one waited for the disk.
// Measured: 5x faster than faulting them in one by one when cold, up to 3x slower when warm, so it must
// adapt.
class Stopwatch {
 public:
  Stopwatch();
  // Whether so many samples took longer than they do from memory.
  bool waited(uint64_t count, uint64_t bytes, bool decoded) const;

 private:
  double begin_;
};

// Positions of a batch, negative ones resolved, all in range.
std::vector<uint64_t> positions_of(const Column& column, nb::handle key);

// The rows where the samples at these positions are stored.
std::vector<uint64_t> rows_of(const Column& column, nb::handle key);

}  // namespace mmap_ninja
