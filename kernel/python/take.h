// Shared by the files that read batches.

#pragma once

#include <string>
#include <vector>

#include "batch.h"

namespace mmap_ninja {

// Raises a ValueError about a batch of the column.
[[noreturn]] void raise_value(const Column& column, const std::string& message);

// A sample in messages.
std::string sample_name(const Column& column, uint64_t row);

// The indices of an element, from its number in C order.
std::vector<int64_t> place_of(uint64_t element, const int64_t* dims, size_t rank);

// Samples back to back, and their ends: bytes, or elements of arrays with equal trailing dimensions.
nb::tuple take_jagged(Reader& reader, nb::handle indices);

// The shapes of the ragged samples of a batch. They must have one rank of at least 1; nulls may have any
// rank.
struct BatchShapes {
  bool are_known = false;  // not if all are nulls
  size_t rank = 0;
  size_t first = 0;           // the first sample that is not null, if there is one
  std::vector<int64_t> dims;  // [samples, rank]; zeros for nulls
  std::vector<Span> spans;

  const int64_t* of(size_t sample) const { return dims.data() + sample * rank; }
};

BatchShapes shapes_of(const Column& column, const std::vector<uint64_t>& rows, const std::string& operation);

}  // namespace mmap_ninja
