#include "shapes.h"

#include <string.h>

#include <algorithm>

namespace mmap_ninja {
namespace {

Status bad(uint64_t row, uint64_t elements) {
  return {.code = Code::bad_shape, .row = row, .found = elements};
}

// Writes `count` elements in doubling copies.
void fill(uint8_t* out, const uint8_t* element, uint64_t unit, uint64_t count) {
  uint64_t size = unit * count;
  if (size == 0) return;
  memcpy(out, element, unit);
  for (uint64_t done = unit; done < size; done *= 2) memcpy(out + done, out, std::min(done, size - done));
}

// Bytes per index of the first of these dimensions, in C order.
uint64_t step_of(const int64_t* dims, int rank, uint64_t unit) {
  for (int d = 1; d < rank; ++d) unit *= static_cast<uint64_t>(dims[d]);
  return unit;
}

const uint8_t* pad_from(const Box& box, int depth, const int64_t* dims, const uint8_t* sample, uint8_t* out) {
  auto at = static_cast<size_t>(depth);
  int rest = box.rank - depth;
  auto kept = static_cast<uint64_t>(std::min(box.dims[at], dims[0]));
  uint64_t box_step = step_of(box.dims.data() + depth, rest, box.unit);
  uint64_t filled = (static_cast<uint64_t>(box.dims[at]) - kept) * box_step;
  uint8_t* to = box.at_end ? out + filled : out;
  // If all further dimensions are those of the box, like the channels of images, it is one run.
  if (std::equal(dims + 1, dims + rest, box.dims.begin() + depth + 1)) {
    uint64_t count = kept * (box_step / box.unit);
    if (!box.convert) {
      copy_bytes(to, sample, kept * box_step, box.into);
    } else if (uint64_t place = box.convert(sample, count, to); place < count) {
      return sample + place * box.sample_unit;
    }
  } else {
    uint64_t step = step_of(dims, rest, box.sample_unit);
    for (uint64_t k = 0; k < kept; ++k)
      if (const uint8_t* unfit = pad_from(box, depth + 1, dims + 1, sample + k * step, to + k * box_step))
        return unfit;
  }
  uint8_t* empty = box.at_end ? out : out + kept * box_step;
  if (box.zero) {
    memset(empty, 0, filled);
  } else {
    fill(empty, box.fill, box.unit, filled / box.unit);
  }
  return nullptr;
}

}  // namespace

Status Shapes::at(uint64_t row, uint64_t elements, Shape* shape) const {
  shape->rank = 0;
  if (form_ == ShapeForm::scalar) return elements == 1 ? Status{} : bad(row, elements);
  if (form_ == ShapeForm::flat) {
    shape->rank = 1;
    shape->dims[0] = static_cast<int64_t>(elements);
    return {};
  }
  Span span;
  if (Status status = spans_.at(row, &span); !status.ok()) return status;
  uint64_t rank = span.size / sizeof(uint64_t);
  if (form_ == ShapeForm::ranked) {
    if (rank == 0) return bad(row, elements);
    uint64_t used;
    memcpy(&used, span.data, sizeof used);
    if (used > rank - 1) return bad(row, elements);
    rank = used;
    span.data += sizeof used;
  }
  if (rank > kMaxRank) return bad(row, elements);
  bool empty = false;
  uint64_t product = 1;
  for (uint64_t k = 0; k < rank; ++k) {
    int64_t extent;
    memcpy(&extent, span.data + k * sizeof extent, sizeof extent);
    if (extent < 0) return bad(row, elements);
    shape->dims[k] = extent;
    empty |= extent == 0;
  }
  // Check for zero first: (2^40, 2^40, 0) is an empty shape, not an overflow.
  for (uint64_t k = 0; k < rank && !empty; ++k)
    if (__builtin_mul_overflow(product, static_cast<uint64_t>(shape->dims[k]), &product))
      return bad(row, elements);
  if (empty) product = 0;
  if (form_ == ShapeForm::legacy && rank == 1 && empty && elements == 1) return {};
  if (product != elements) return bad(row, elements);
  shape->rank = static_cast<int>(rank);
  return {};
}

const uint8_t* pad(const Box& box, const int64_t* dims, const uint8_t* sample, uint8_t* out) {
  return pad_from(box, 0, dims, sample, out);
}

}  // namespace mmap_ninja
