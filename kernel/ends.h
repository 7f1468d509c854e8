#pragma once

#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

namespace mmap_ninja {

// Where consecutive runs of rows end, to find the run with a row. There are fewer than 2^32 runs; some may be
// empty.
class Ends {
 public:
  explicit Ends(std::vector<uint64_t> ends) : ends_(std::move(ends)) {
    uint64_t rows = ends_.empty() ? 0 : ends_.back();
    if (rows == 0) return;
    // At least two stretches for each run, so that most of them are within one.
    constexpr uint64_t kStretches = 4;
    shift_ = std::bit_width(rows / (kStretches * ends_.size()));
    uint32_t run = 0;
    for (uint64_t row = 0; row < rows; row += uint64_t{1} << shift_) {
      while (ends_[run] <= row) ++run;
      firsts_.push_back(run);
    }
    firsts_.push_back(static_cast<uint32_t>(ends_.size() - 1));
  }

  const std::vector<uint64_t>& all() const { return ends_; }
  size_t size() const { return ends_.size(); }
  uint64_t start(size_t run) const { return run ? ends_[run - 1] : 0; }
  // The run with a row, which must be before the last end.
  size_t find(uint64_t row) const {
    const uint32_t* first = &firsts_[row >> shift_];
    const uint64_t* end = &ends_[first[0]];
    // Without branches, since which way to go cannot be predicted.
    for (size_t count = first[1] - first[0] + 1; count > 1;) {
      size_t half = count / 2;
      end += end[half - 1] <= row ? half : 0;
      count -= half;
    }
    return static_cast<size_t>(end - ends_.data());
  }

 private:
  std::vector<uint64_t> ends_;
  std::vector<uint32_t>
      firsts_;  // for each stretch of 2^shift_ rows: the run with the first one; then the last run
  int shift_ = 0;
};

}  // namespace mmap_ninja
