#include "lengths.h"

#include "sums.h"

namespace mmap_ninja {

Status extents(std::span<const FileRule> rules, uint64_t rows, uint64_t edits, std::span<const uint64_t> ends,
               std::vector<uint64_t>* found) {
  constexpr Status kTooLarge{.code = Code::overflow, .what = "dataset"};
  uint64_t blocks = 0;  // complete blocks of the sealed files so far
  found->clear();
  for (size_t k = 0; k < rules.size(); ++k) {
    uint64_t units = 0, extent;
    switch (rules[k].length) {
      case LengthRule::rows:
        units = rows;
        break;
      case LengthRule::offsets:
        if (__builtin_add_overflow(rows, 1, &units)) return kTooLarge;
        break;
      case LengthRule::payload:
        units = ends[k];
        break;
      case LengthRule::edits:
        units = edits;
        break;
      case LengthRule::sums:
        units = blocks;
        break;
    }
    // Offsets into files (off_t, NumPy) are signed 64-bit numbers.
    if (__builtin_mul_overflow(units, rules[k].unit, &extent) || extent > INT64_MAX) return kTooLarge;
    if (rules[k].sealed) blocks += extent / kBlock;
    found->push_back(extent);
  }
  return {};
}

const char* name_of(LengthRule length) {
  switch (length) {
    case LengthRule::rows:
      return "rows";
    case LengthRule::offsets:
      return "offsets";
    case LengthRule::payload:
      return "data";
    case LengthRule::edits:
      return "edits";
    case LengthRule::sums:
      return "sums";
  }
  return "";
}

}  // namespace mmap_ninja
