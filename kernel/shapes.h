#pragma once

#include <array>
#include <cstdint>

#include "spans.h"
#include "status.h"

namespace mmap_ninja {

constexpr int kMaxRank = 64;  // NumPy 2's limit

struct Shape {
  int rank = 0;
  std::array<int64_t, kMaxRank> dims;
};

// How the shapes of a ragged column are stored.
enum class ShapeForm : uint8_t {
  scalar,  // not at all: every sample is one element
  flat,    // not at all: every sample is as long as its span
  rows,    // a row of u64 extents each, all samples having the same rank
  ranked,  // a row each: the rank, then as many extents as the greatest rank has
  legacy,  // a span of i64 extents each, as 0.x wrote it: [0] over one element is a scalar
};

// What a handle sees of the shapes of a ragged column, row for row with its spans.
class Shapes {
 public:
  Shapes(ShapeForm form, Spans spans) : form_(form), spans_(std::move(spans)) {}

  ShapeForm form() const { return form_; }
  const Spans& spans() const { return spans_; }

  // The shape of a row, which has so many elements. It comes from disk: it is checked.
  Status at(uint64_t row, uint64_t elements, Shape* shape) const;

 private:
  ShapeForm form_;
  Spans spans_;
};

// A batch of ragged samples in one array: every sample in the corner of its own box, the rest filled.
struct Box {
  int rank;
  std::array<int64_t, kMaxRank> dims;  // extents of a box; what a sample has beyond them is cut off
  uint64_t unit;                       // bytes of an element
  const uint8_t* fill;                 // one element
  bool zero;                           // its bytes are
};

// Copies one sample, of the box's rank of at least 1, into a box of C order at `out`.
void pad(const Box& box, const int64_t* dims, const uint8_t* sample, uint8_t* out);

}  // namespace mmap_ninja
