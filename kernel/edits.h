#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "status.h"

namespace mmap_ninja {

// A line of the edits file.
struct Edit {
  uint64_t op;
  uint64_t row;
  uint64_t count;
  uint64_t new_row;
};
static_assert(sizeof(Edit) == 32);

enum EditOp : uint64_t {
  kDelete = 1,   // rows [row, row + count) are no samples any more
  kReplace = 2,  // the sample of row + k is stored at new_row + k, which is none of its own
};

// What all edits up to a commit come to. Immutable: what one more commit makes of it shares nearly all
// memory, so that handles and views of several commits live side by side. A look-up takes logarithmic time.
class Edits {
 public:
  // Applies further lines of the log, of a commit with so many rows. Code::bad_edit names the line that
  // speaks of other rows.
  static Status apply(const std::shared_ptr<const Edits>& before, std::span<const Edit> log, uint64_t rows,
                      std::shared_ptr<const Edits>* after);

  bool empty() const { return chunks_.empty(); }
  // Rows that are no samples: deleted, or stored in another one's stead.
  uint64_t hidden() const { return hidden_; }

  // The row where the sample at a position is stored.
  uint64_t stored(uint64_t position) const { return find(position).stored; }
  // The same, and how many samples from there on are stored one after the other, at least one.
  uint64_t stored(uint64_t position, uint64_t* count) const;
  // The row that the sample at a position had before it was replaced: what edits speak of.
  uint64_t base(uint64_t position) const { return find(position).base; }
  bool is_hidden(uint64_t row) const;
  // The row where the sample is stored that had this one before it was replaced.
  uint64_t stored_of(uint64_t base) const;

  // Rows that have something in common: no sample, or stored elsewhere.
  struct Range {
    uint64_t row;
    uint64_t count;
    uint64_t target;  // where the first of them is stored, or kHidden

    bool hides() const { return target == kHidden; }
    uint64_t end() const { return row + count; }
  };
  static constexpr uint64_t kHidden = UINT64_MAX;
  // All ranges in the order of their rows, which do not overlap.
  std::vector<Range> ranges() const;
  // Where all samples are stored, in their order: (first row, count), with as few pairs as can be.
  std::vector<std::pair<uint64_t, uint64_t>> runs(uint64_t rows) const;

 private:
  struct Chunk {
    std::vector<Range> ranges;
    // Of each range: its row less the rows that are hidden before it in the chunk; then the greatest number.
    std::vector<uint64_t> keys;
    uint64_t hidden = 0;
  };
  using ChunkPtr = std::shared_ptr<const Chunk>;

  // What a look-up needs of a chunk, on one line of the CPU's cache.
  struct Head {
    uint64_t hidden_before;
    const uint64_t* keys;
    const Range* ranges;
    uint64_t size;
  };
  struct Found {
    const Head* head;
    size_t range;
    uint64_t row;
  };
  struct Place {
    uint64_t stored;
    uint64_t base;
  };

  static void add_chunks(std::span<const Range> ranges, std::vector<ChunkPtr>* chunks);
  void assign(std::span<const Range> ranges);
  void index();
  bool locate(uint64_t position, Found* found) const;
  Place find(uint64_t position) const;
  const Range* range_before(uint64_t row) const;

  std::vector<ChunkPtr> chunks_;
  std::vector<Head> heads_;
  std::vector<uint64_t> first_positions_;  // of each chunk: the position at or after its first range
  uint64_t hidden_ = 0;
};

}  // namespace mmap_ninja
