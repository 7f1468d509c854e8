// Samples that are read together: mapped files are guarded against truncation, others are read into memory.

#pragma once

#include <string>
#include <vector>

#include "column.h"
#include "fetch.h"

namespace mmap_ninja {

// Raises an error about a row of the column.
void check(const Status& status, const Column& column);

// Raises if a file was truncated under its map. Called once per batch, so that it costs nothing per sample;
// views are not guarded.
void check_sizes(const Column& column);
// The same, also of files that are not mapped.
void check_files(const Column& column);

// Starts reading the samples in these rows if some are not in memory, which is looked up every few MB. Faults
// one by one are up to 8 times slower; asking for all that is in memory already makes a batch 3 to 4 times
// slower.
void ask_if_cold(const Column& column, const std::vector<uint64_t>& rows, Hints& hints);

struct FetchOptions {
  uint64_t most_bytes =
      UINT64_MAX;           // of samples: there may be fewer samples than requested, but at least one
  bool one_by_one = false;  // they are returned one by one, so that none may keep the memory of the others
};

// The samples in these rows of a column that is not mapped, read into memory: a new column with these rows.
ColumnPtr fetch(const Column& column, const std::vector<uint64_t>& rows, const FetchOptions& options);

// Samples that are read together; in memory, if the files are not mapped.
struct Batch {
  ColumnPtr column;
  std::vector<uint64_t> rows;  // of `column`
};
Batch read_batch(Reader& reader, nb::handle indices);
// The same of some rows of a column.
Batch read_batch(const ColumnPtr& column, std::vector<uint64_t> rows, Hints& hints);
// The batch of some rows of a column; they must fit in memory.
Batch read_rows(const ColumnPtr& column, std::vector<uint64_t> rows);

// An IndexError because there is no such position, or a mask has another length.
class OutOfRange : public nb::python_error {};
[[noreturn]] void raise_range(int64_t index, uint64_t count, const char* items);

// Raises the error again, with what the handle says about the commit that it shows.
[[noreturn]] void raise_behind(Samples& samples, const OutOfRange& error);

// Calls a function that looks up positions of the samples that a handle shows.
template <typename Read>
auto looking_up(Samples& samples, Read read) {
  try {
    return read();
  } catch (const OutOfRange& error) {
    raise_behind(samples, error);
  }
}

// The positions that a key selects, all in range and not negative.
std::vector<uint64_t> positions_of(const Column& column, nb::handle key);

// The rows where the samples at these positions are stored.
std::vector<uint64_t> rows_of(const Column& column, nb::handle key);

}  // namespace mmap_ninja
