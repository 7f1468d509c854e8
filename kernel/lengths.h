#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "status.h"

namespace mmap_ninja {

// How a file's length follows from a commit's rows and edits.
enum class LengthRule : uint8_t {
  rows,     // rows * unit
  offsets,  // (rows + 1) * unit: u64 ends with a leading zero
  payload,  // offsets[rows] * unit, offsets being the file at index `offsets`
  edits,    // edits * unit
  sums,     // unit for each complete block of the sealed files above
};

// What messages call a file.
const char* name_of(LengthRule length);

struct FileRule {
  uint64_t id;  // names the file in sums and digest
  LengthRule length;
  uint64_t unit;
  uint32_t offsets;
  bool sealed;  // its complete blocks have sums, and its end is in the digest
  int fd;       // owned by the log from `Log::open` on
};

// How many bytes of each file belong to a commit. `ends`: for each payload, the offset at `rows`, where its
// last row ends; what stands for other files is not looked at. The package has the same rule in Python.
Status extents(std::span<const FileRule> rules, uint64_t rows, uint64_t edits, std::span<const uint64_t> ends,
               std::vector<uint64_t>* found);

}  // namespace mmap_ninja
