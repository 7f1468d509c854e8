#include "shapes.h"

#include <string.h>

#include <algorithm>

namespace mmap_ninja {
namespace {

Status bad(const Spans& spans, uint64_t position, uint64_t elements) {
  return {.code = Code::bad_shape, .row = spans.rows().row(position), .found = elements};
}

// Writes `count` elements in doubling copies.
void fill(uint8_t* out, const uint8_t* element, uint64_t unit, uint64_t count) {
  uint64_t size = unit * count;
  if (size == 0) return;
  bool same = std::all_of(element, element + unit, [&](uint8_t byte) { return byte == element[0]; });
  if (same) {
    memset(out, element[0], size);
    return;
  }
  memcpy(out, element, unit);
  for (uint64_t done = unit; done < size; done *= 2) memcpy(out + done, out, std::min(done, size - done));
}

// The box from dimension `depth` on; `steps` are the bytes of one index of each dimension of the sample.
void pad_from(int depth, const Box& box, const Shape& shape, const std::array<uint64_t, kMaxRank>& box_steps,
              const std::array<uint64_t, kMaxRank>& steps, const uint8_t* sample, uint8_t* out) {
  auto at = static_cast<size_t>(depth);
  auto kept = static_cast<uint64_t>(std::min(box.dims[at], shape.dims[at]));
  auto whole = static_cast<uint64_t>(box.dims[at]);
  if (depth == box.rank - 1) {
    memcpy(out, sample, kept * box.unit);
  } else {
    for (uint64_t k = 0; k < kept; ++k)
      pad_from(depth + 1, box, shape, box_steps, steps, sample + k * steps[at], out + k * box_steps[at]);
  }
  fill(out + kept * box_steps[at], box.fill, box.unit, (whole - kept) * (box_steps[at] / box.unit));
}

void steps_of(const std::array<int64_t, kMaxRank>& dims, int rank, uint64_t unit,
              std::array<uint64_t, kMaxRank>* steps) {
  for (int k = rank - 1; k >= 0; --k) {
    auto at = static_cast<size_t>(k);
    (*steps)[at] = unit;
    unit *= static_cast<uint64_t>(dims[at]);
  }
}

}  // namespace

Status Shapes::at(uint64_t position, uint64_t elements, Shape* shape) const {
  shape->rank = 0;
  if (form_ == ShapeForm::scalar) return elements == 1 ? Status{} : bad(spans_, position, elements);
  if (form_ == ShapeForm::flat) {
    shape->rank = 1;
    shape->dims[0] = static_cast<int64_t>(elements);
    return {};
  }
  Span span;
  if (Status status = spans_.at(position, &span); !status.ok()) return status;
  uint64_t rank = span.size / sizeof(uint64_t);
  if (form_ == ShapeForm::ranked) {
    if (rank == 0) return bad(spans_, position, elements);
    uint64_t used;
    memcpy(&used, span.data, sizeof used);
    if (used > rank - 1) return bad(spans_, position, elements);
    rank = used;
    span.data += sizeof used;
  }
  if (rank > kMaxRank) return bad(spans_, position, elements);
  bool empty = false;
  uint64_t product = 1;
  for (uint64_t k = 0; k < rank; ++k) {
    int64_t extent;
    memcpy(&extent, span.data + k * sizeof extent, sizeof extent);
    if (extent < 0) return bad(spans_, position, elements);
    shape->dims[k] = extent;
    empty |= extent == 0;
  }
  // Zero first: (2^40, 2^40, 0) is a shape of no elements, not an overflow.
  for (uint64_t k = 0; k < rank && !empty; ++k)
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(shape->dims[k]), &product))
      return bad(spans_, position, elements);
  if (empty) product = 0;
  if (form_ == ShapeForm::legacy && rank == 1 && empty && elements == 1) return {};
  if (product != elements) return bad(spans_, position, elements);
  shape->rank = static_cast<int>(rank);
  return {};
}

void pad(const Box& box, const Shape& shape, const uint8_t* sample, uint8_t* out) {
  if (box.rank == 0) {
    memcpy(out, sample, box.unit);
    return;
  }
  std::array<uint64_t, kMaxRank> box_steps{}, steps{};
  steps_of(box.dims, box.rank, box.unit, &box_steps);
  steps_of(shape.dims, box.rank, box.unit, &steps);
  pad_from(0, box, shape, box_steps, steps, sample, out);
}

}  // namespace mmap_ninja
