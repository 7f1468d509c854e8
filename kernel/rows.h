#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "edits.h"

namespace mmap_ninja {

// Rows at equal distances, run by run: where windows over samples start.
struct Runs {
  std::vector<uint64_t> before = {0};  // how many there are before each run, and in all
  std::vector<uint64_t> first;         // of each run
  uint64_t step = 1;
  bool is_ordered = true;  // whether the runs follow each other

  void add(uint64_t row, uint64_t count) {
    if (count == 0) return;
    is_ordered = is_ordered && (first.empty() || first.back() <= row);
    before.push_back(before.back() + count);
    first.push_back(row);
  }
  uint64_t row(uint64_t position) const {
    auto next = std::upper_bound(before.begin(), before.end(), position);
    auto run = static_cast<size_t>(next - before.begin()) - 1;
    return first[run] + (position - before[run]) * step;
  }
};

// Maps positions in a handle or view to physical rows.
class RowMap {
 public:
  // All rows in order, except those that edits hide; null: no edits.
  explicit RowMap(uint64_t rows, std::shared_ptr<const Edits> edits = {})
      : count_(edits ? rows - edits->hidden() : rows), edits_(std::move(edits)) {
    if (edits_ && edits_->empty()) edits_.reset();
    is_range_ = !edits_;
  }
  // Any rows; the array is shared, not copied.
  RowMap(uint64_t count, std::shared_ptr<const int64_t[]> rows)
      : count_(count), is_range_(false), rows_(std::move(rows)) {}
  explicit RowMap(std::shared_ptr<const Runs> runs)
      : count_(runs->before.back()), is_range_(false), runs_(std::move(runs)) {}

  // The positions start, start + step, ... of this map, all in range.
  RowMap select(int64_t start, int64_t step, uint64_t count) const {
    RowMap map = *this;
    map.start_ = start_ + step_ * start;
    map.step_ = step_ * step;
    map.count_ = count;
    return map;
  }

  uint64_t count() const { return count_; }
  // Whether the positions are a range of rows, in order or by steps.
  bool is_range() const { return is_range_; }
  bool is_contiguous() const { return is_range() && step_ == 1; }
  // Whether most positions are followed by a row soon after.
  bool is_ordered() const { return !rows_ && step_ == 1 && (!runs_ || runs_->is_ordered); }
  const std::shared_ptr<const Edits>& edits() const { return edits_; }

  // Where the sample at a position is stored.
  uint64_t row(uint64_t position) const {
    auto at = static_cast<uint64_t>(start_ + step_ * static_cast<int64_t>(position));
    if (is_range_) [[likely]]
      return at;
    if (rows_) return static_cast<uint64_t>(rows_[at]);
    return edits_ ? edits_->stored(at) : runs_->row(at);
  }
  // The same, and how many positions from there on have consecutive rows, at least one.
  uint64_t row(uint64_t position, uint64_t* count) const {
    auto at = static_cast<uint64_t>(start_ + step_ * static_cast<int64_t>(position));
    *count = rows_ || runs_ || step_ != 1 ? 1 : UINT64_MAX;
    if (!edits_ || rows_) return row(position);
    uint64_t run;
    uint64_t row = edits_->stored(at, &run);
    *count = std::min(*count, run);
    return row;
  }
  // The row that the sample had before it was replaced.
  uint64_t base(uint64_t position) const {
    auto at = static_cast<uint64_t>(start_ + step_ * static_cast<int64_t>(position));
    return edits_ && !rows_ ? edits_->base(at) : row(position);
  }

 private:
  uint64_t count_;
  int64_t start_ = 0;
  int64_t step_ = 1;
  bool is_range_;
  std::shared_ptr<const int64_t[]> rows_;
  std::shared_ptr<const Runs> runs_;
  std::shared_ptr<const Edits> edits_;
};

}  // namespace mmap_ninja
