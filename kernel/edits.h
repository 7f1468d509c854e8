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
  kDelete = 1,   // rows [row, row + count) are no longer samples
  kReplace = 2,  // the sample of row + k is stored at new_row + k, which is not a sample itself
};

// The combined effect of all edits up to a commit. Immutable: the edits of the next commit share nearly all
// memory, so that handles and views of several commits can coexist. A look-up takes logarithmic time.
class Edits {
 public:
  // Applies further lines of the log, of a commit with `rows` rows. Code::bad_edit names a line with other
  // rows.
  static Status apply(const std::shared_ptr<const Edits>& before, std::span<const Edit> log, uint64_t rows,
                      std::shared_ptr<const Edits>* after);

  bool empty() const { return chunks_.empty(); }
  // Rows that are not samples: deleted, or stored as a replacement.
  uint64_t hidden() const { return hidden_; }

  // The row where the sample at a position is stored.
  uint64_t stored(uint64_t position) const { return find(position).stored; }
  // The same, and how many samples from there on are stored consecutively, at least one.
  uint64_t stored(uint64_t position, uint64_t* count) const;
  // The row that the sample at a position had before it was replaced: the one used in edits.
  uint64_t base(uint64_t position) const { return find(position).base; }
  bool is_hidden(uint64_t row) const;
  // The row where the sample with this base row is stored.
  uint64_t stored_of(uint64_t base) const;

  // Consecutive rows that are all hidden, or all stored elsewhere.
  struct Range {
    uint64_t row;
    uint64_t count;
    uint64_t target;  // where the first one is stored, or kHidden

    bool hides() const { return target == kHidden; }
    uint64_t end() const { return row + count; }
  };
  static constexpr uint64_t kHidden = UINT64_MAX;
  // All ranges in the order of their rows; they do not overlap.
  std::vector<Range> ranges() const;
  // Where all samples are stored, in their order: (first row, count), with as few pairs as possible.
  std::vector<std::pair<uint64_t, uint64_t>> runs(uint64_t rows) const;

 private:
  struct Chunk {
    std::vector<Range> ranges;
    // For each range: its row minus the rows hidden before it in the chunk; then the greatest number.
    std::vector<uint64_t> keys;
    uint64_t hidden = 0;
  };
  using ChunkPtr = std::shared_ptr<const Chunk>;

  // The part of a chunk that a look-up needs, in one cache line.
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
  std::vector<uint64_t> first_positions_;  // for each chunk: the position at or after its first range
  uint64_t hidden_ = 0;
};

}  // namespace mmap_ninja
