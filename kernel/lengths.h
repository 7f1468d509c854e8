#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "file.h"
#include "status.h"

namespace mmap_ninja {

// How a file's length follows from a commit's rows and edits.
enum class LengthRule : uint8_t {
  rows,     // rows * unit
  offsets,  // (rows + 1) * unit: u64 ends with a leading zero
  payload,  // offsets[rows] * unit, offsets being the file at index `offsets`
  edits,    // edits * unit
  sums,     // unit per complete block of the sealed files above
};

// The name of a file in messages.
const char* name_of(LengthRule length);

struct FileRule {
  uint64_t id;  // the file's number in sums and digest
  LengthRule length;
  uint64_t unit;
  uint32_t offsets;
  bool sealed;                 // its complete blocks have sums, the rest is covered by the digest
  std::shared_ptr<File> file;  // open for writing, and perhaps shared with readers
};

// The bytes of each file that belong to a commit. `ends`: for each payload, the offset at `rows`, where its
// last row ends; entries of other files are ignored. The package has the same rules in Python.
Status extents(std::span<const FileRule> rules, uint64_t rows, uint64_t edits, std::span<const uint64_t> ends,
               std::vector<uint64_t>* found);

}  // namespace mmap_ninja
