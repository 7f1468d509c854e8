// Batches of ragged samples, padded to one shape.

#include <nanobind/stl/vector.h>
#include <string.h>

#include <algorithm>

#include "parts.h"
#include "take.h"
#include "target.h"

namespace mmap_ninja {

BatchShapes shapes_of(const Column& column, const std::vector<uint64_t>& rows, const std::string& operation) {
  constexpr size_t kAhead = 16;
  BatchShapes shapes;
  size_t count = rows.size();
  while (shapes.first < count && column.part.is_null(rows[shapes.first])) ++shapes.first;
  shapes.are_known = shapes.first < count;
  if (!shapes.are_known) {  // the rank of all samples, if known
    bool is_table = column.part.shapes.form() == ShapeForm::rows;
    shapes.rank = is_table ? column.part.shapes.spans().unit() / sizeof(uint64_t) : 1;
    shapes.dims.resize(count * shapes.rank);
    shapes.first = 0;
  }
  Shape shape;
  shapes.spans.reserve(count);
  for (size_t k = 0; k < count; ++k) {
    if (k + kAhead < count) column.part.spans.prefetch_offsets(rows[k + kAhead]);
    Span span;
    Status status = column.part.spans.at(rows[k], &span);
    if (status.ok()) status = column.part.shapes.at(rows[k], span.size / column.part.spans.unit(), &shape);
    check(status, column);
    shapes.spans.push_back(span);
    auto rank = static_cast<size_t>(shape.rank);
    if (rank != 0 && column.part.is_null(rows[k])) continue;  // a null is empty
    if (rank == 0)
      raise_value(column,
                  operation + ": " + sample_name(column, rows[k]) + " is a scalar, which has no length");
    if (k == shapes.first) {
      shapes.rank = rank;
      shapes.dims.resize(count * rank);
    }
    if (rank != shapes.rank)
      raise_value(column, operation + ": " + sample_name(column, rows[k]) + " has rank " +
                              std::to_string(rank) + " where the batch's first has rank " +
                              std::to_string(shapes.rank) + "; use take");
    std::copy_n(shape.dims.data(), rank, shapes.dims.data() + k * rank);
  }
  return shapes;
}

namespace {

// The shapes of a batch of a column of several parts. `batches`: what keeps the samples.
BatchShapes shapes_of_parts(const Column& column, const std::vector<uint64_t>& rows,
                            std::vector<Batch>* batches) {
  BatchShapes shapes;
  shapes.spans.resize(rows.size());
  for (const Piece& piece : pieces_of(column, rows)) {
    const Column& part = *piece.column;
    std::vector<uint64_t> mine = rows_of(part, everything());
    BatchShapes some;
    if (part.parts) {
      some = shapes_of_parts(part, mine, batches);
    } else {
      const Batch& batch = batches->emplace_back(read_rows(piece.column, std::move(mine)));
      some = shapes_of(*batch.column, batch.rows, "take_padded");
    }
    if (shapes.are_known && some.are_known && some.rank != shapes.rank)
      raise_value(part, "take_padded: its samples have rank " + std::to_string(some.rank) +
                            " where the batch's first has rank " + std::to_string(shapes.rank) +
                            "; use take");
    if (!shapes.are_known) {
      shapes.are_known = some.are_known;
      shapes.rank = some.rank;
      shapes.dims.assign(rows.size() * some.rank, 0);
    }
    place_values(piece, some.spans.data(), sizeof(Span), shapes.spans.data());
    if (some.rank == shapes.rank)
      place_values(piece, some.dims.data(), some.rank * sizeof(int64_t), shapes.dims.data());
  }
  return shapes;
}

// What `take_padded` is asked for, beside the samples.
struct Padding {
  nb::handle fill_of;              // called with the dtype of the batch
  std::vector<int64_t> lengths;    // per dimension; 0: as large as the batch needs
  std::vector<int64_t> multiples;  // per dimension; 0: any size
  nb::handle out;
  nb::handle dtype;
  bool at_end;  // samples are at the end of their boxes
  bool mask;    // also returns which elements are not padding
};

// Which elements of a batch are not padding.
nb::object mask_of(Box box, const BatchShapes& shapes, std::vector<npy_intp> shape) {
  nb::object mask = new_array(NPY_BOOL, static_cast<int>(shape.size()), shape.data());
  box.unit = 1;
  box.zero = true;
  box.convert = [](const uint8_t*, uint64_t count, uint8_t* to) {
    memset(to, 1, count);
    return count;
  };
  auto at = data_of<uint8_t>(mask);
  auto size = shape[0] ? static_cast<uint64_t>(PyArray_SIZE(array_of(mask)) / shape[0]) : 0;
  for (size_t k = 0; size && k < shapes.spans.size(); ++k)
    (void)pad(box, shapes.of(k), shapes.spans[k].data, at + k * size);
  return mask;
}

// Samples padded to boxes of one shape, and their lengths.
nb::tuple take_padded(Reader& reader, nb::handle indices, const Padding& padding) {
  const std::vector<int64_t>&lengths = padding.lengths, &multiples = padding.multiples;
  ColumnPtr column = reader.column;
  std::vector<Batch> batches;  // one, or one for each part
  if (!column->parts) column = batches.emplace_back(read_batch(reader, indices)).column;
  std::vector<uint64_t> rows = column->parts ? rows_of(*column, indices) : batches[0].rows;
  if (column->parts) ask_if_cold(*column, rows, reader.hints);
  auto result = [&](nb::object batch_of, nb::object valid_of, const auto& make_mask) {
    return padding.mask ? nb::make_tuple(batch_of, valid_of, make_mask())
                        : nb::make_tuple(batch_of, valid_of);
  };
  if (column->layout->dtype.is_none())  // no samples yet
    return result(Target(*column, nb::none(), padding.dtype, {0, 0}).finish(), new_array(0, NPY_INT64),
                  [] { return mask_of({}, {}, {0, 0}); });
  BatchShapes shapes =
      column->parts ? shapes_of_parts(*column, rows, &batches) : shapes_of(*column, rows, "take_padded");
  size_t count = shapes.spans.size();
  // For an empty batch, only the arguments determine the rank.
  size_t rank = count == 0 ? std::max<size_t>({lengths.size(), multiples.size(), 1}) : shapes.rank;
  if (lengths.size() > rank || multiples.size() > rank)
    raise_value(*column, "take_padded: length and multiple_of: expected at most the " + std::to_string(rank) +
                             " dimensions of the samples");
  Box box{.rank = static_cast<int>(rank), .sample_unit = column->part.spans.unit(), .at_end = padding.at_end};
  std::vector<npy_intp> shape{static_cast<npy_intp>(count)};
  for (size_t d = 0; d < rank; ++d) {
    int64_t extent = d < lengths.size() && lengths[d] >= 0 ? lengths[d] : 0;
    if (d >= lengths.size() || lengths[d] < 0)
      for (size_t k = 0; k < count; ++k) extent = std::max(extent, shapes.of(k)[d]);
    int64_t multiple = d < multiples.size() ? std::max<int64_t>(multiples[d], 1) : 1;
    int64_t rest = extent % multiple;
    if (rest != 0 && __builtin_add_overflow(extent, multiple - rest, &extent))
      raise({.code = Code::overflow, .what = "batch"}, column->path());
    box.dims[d] = extent;
    shape.push_back(static_cast<npy_intp>(extent));
  }
  Target target(*column, padding.out, padding.dtype, shape);
  nb::object fill = padding.fill_of(target.dtype());
  box.unit = target.unit();
  box.fill = data_of<uint8_t>(fill);
  // The dtype that NumPy converts from might not hold the padding, which is set afterwards.
  bool is_recast = target.is_recast();
  box.zero = is_recast || std::all_of(box.fill, box.fill + box.unit, [](uint8_t byte) { return byte == 0; });
  box.convert = target.convert();
  std::vector<npy_intp> lengths_shape{shape[0]};
  if (rank > 1) lengths_shape.push_back(static_cast<npy_intp>(rank));
  nb::object valid = new_array(NPY_INT64, static_cast<int>(lengths_shape.size()), lengths_shape.data());
  auto valid_of = data_of<int64_t>(valid);
  for (size_t k = 0; k < count; ++k)
    for (size_t d = 0; d < rank; ++d) *valid_of++ = std::min(shapes.of(k)[d], box.dims[d]);
  if (!target.is_empty()) {
    uint64_t size = box.unit;
    for (size_t d = 0; d < rank; ++d) size *= static_cast<uint64_t>(box.dims[d]);
    box.into = into(count * size);
    const uint8_t* unfit = nullptr;
    size_t k = 0;
    {
      GilReleased release;
      for (; k < count && !unfit; ++k) {
        if (k + kSamplesAhead < count) prefetch_span(shapes.spans[k + kSamplesAhead]);
        unfit = pad(box, shapes.of(k), shapes.spans[k].data, target.data() + k * size);
      }
    }
    if (unfit) {
      auto element = static_cast<uint64_t>(unfit - shapes.spans[k - 1].data) / box.sample_unit;
      target.refuse(*column, "take_padded: " + sample_name(*column, rows[k - 1]), unfit,
                    place_of(element, shapes.of(k - 1), rank));
    }
  }
  nb::object filled = target.finish();
  if (is_recast) filled[~mask_of(box, shapes, shape)] = fill;
  return result(filled, valid, [&] { return mask_of(box, shapes, shape); });
}

}  // namespace

void define_padded(nb::class_<Samples>& samples) {
  samples.def(
      "_take_padded",
      [](Samples& self, nb::handle indices, nb::handle fill_of, const std::vector<int64_t>& lengths,
         const std::vector<int64_t>& multiples, nb::handle out, nb::handle dtype, bool at_end, bool mask) {
        Padding padding{fill_of, lengths, multiples, out, dtype, at_end, mask};
        return looking_up(self, [&] { return take_padded(shown(self), indices, padding); });
      },
      nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg().none(), nb::arg(),
      nb::arg());
}

}  // namespace mmap_ninja
