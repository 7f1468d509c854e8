#pragma once

#include <array>
#include <cstdint>

#include "copies.h"
#include "numbers.h"
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
  scalar,  // not stored: every sample is one element
  flat,    // not stored: every sample is as long as its span
  rows,    // one row of u64 extents per sample, all of the same rank
  ranked,  // one row per sample: its rank, then as many extents as the greatest rank
  legacy,  // one span of i64 extents per sample, as in 0.x; shape [0] with one element is a scalar
};

// The shapes of a ragged column as a handle sees them, one per row of its spans.
class Shapes {
 public:
  Shapes(ShapeForm form, Spans spans) : form_(form), spans_(std::move(spans)) {}

  ShapeForm form() const { return form_; }
  const Spans& spans() const { return spans_; }

  // The shape of a row with `elements` elements. It is checked, since it comes from disk.
  Status at(uint64_t row, uint64_t elements, Shape* shape) const;

 private:
  ShapeForm form_;
  Spans spans_;
};

// A batch of ragged samples in one array: every sample is at the origin of its box, or at its end; the rest
// is filled.
struct Box {
  int rank = 0;
  std::array<int64_t, kMaxRank> dims = {};  // extents of a box; larger samples are cut off
  uint64_t unit = 0;                        // bytes of an element in the box
  const uint8_t* fill = nullptr;            // one element
  bool zero = false;                        // whether all bytes of the fill are
  uint64_t sample_unit = 0;                 // bytes of an element of a sample
  bool at_end = false;                      // samples end where their box ends, in every dimension
  Convert convert = nullptr;                // of the elements; null: they are copied as they are
  Into into = Into::caches;                 // where copies of samples go
};

// Copies one sample, of the rank of the box (at least 1), to a box in C order at `out`. Returns the first of
// its elements that cannot be converted, or null.
[[nodiscard]] const uint8_t* pad(const Box& box, const int64_t* dims, const uint8_t* sample, uint8_t* out);

}  // namespace mmap_ninja
