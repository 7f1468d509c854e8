// Rows of packed documents, and what attention has to know of the documents in rows and in windows.

#include <nanobind/stl/vector.h>
#include <string.h>

#include <algorithm>

#include "decode.h"
#include "packing.h"
#include "parts.h"
#include "take.h"

namespace mmap_ninja {
namespace {

// Documents in rows, and their lengths: an array that nobody changes.
struct PackedRows {
  Packing packing;
  uint64_t length;
  nb::object lengths;

  // What is in the rows with these numbers, all of them in range.
  Pieces in(nb::handle rows) const {
    auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(rows)));
    return packing.in(data_of<const uint64_t>(rows), count, length);
  }
};

nb::object numbers_of(const std::vector<uint64_t>& numbers) {
  nb::object array = new_array(numbers.size(), NPY_INT64);
  if (!numbers.empty()) memcpy(data_of<int64_t>(array), numbers.data(), numbers.size() * sizeof(uint64_t));
  return array;
}

nb::object new_table(uint64_t rows, uint64_t length, int type) {
  npy_intp shape[] = {static_cast<npy_intp>(rows), static_cast<npy_intp>(length)};
  return new_array(type, 2, shape);
}

// Numbers of segments, positions, lengths and their offsets, bounds, and the longest of these.
nb::tuple described(const Segments& segments, uint64_t length, uint64_t bound_count,
                    const std::string& path) {
  uint64_t elements;
  if (__builtin_mul_overflow(segments.rows(), length, &elements) || elements > INT32_MAX)
    raise(nb::borrow(PyExc_ValueError),
          path + ": documents: expected fewer than 2^31 elements in a batch, found " +
              std::to_string(segments.rows()) + " rows of " + std::to_string(length) +
              "; cu_seqlens is int32, so take fewer rows at once");
  nb::object numbers = new_table(segments.rows(), length, NPY_INT32),
             positions = new_table(segments.rows(), length, NPY_INT32),
             bounds = new_array(bound_count, NPY_INT32),
             lengths = new_array(segments.lengths.size(), NPY_INT32);
  uint64_t longest;
  {
    GilReleased release;
    longest = describe(segments, length,
                       {.numbers = data_of<int32_t>(numbers),
                        .positions = data_of<int32_t>(positions),
                        .bounds = data_of<int32_t>(bounds),
                        .bound_count = bound_count});
    std::copy(segments.lengths.begin(), segments.lengths.end(), data_of<int32_t>(lengths));
  }
  return nb::make_tuple(numbers, positions, nb::make_tuple(lengths, numbers_of(segments.offsets)), bounds,
                        longest);
}

// ---- packings

// Raises if a document has another length than the rows were packed for.
void check_lengths(const PackedRows& packed, const Pieces& pieces, const std::vector<Span>& documents,
                   uint64_t unit, const Column& column) {
  for (size_t k = 0; k < documents.size(); ++k) {
    uint64_t found = documents[k].size / unit, expected = pieces.starts[k] + pieces.lengths[k];
    if (pieces.lengths[k] == packed.length)  // there may be more of it
      expected = data_of<const uint64_t>(packed.lengths)[pieces.documents[k]];
    if (found != expected)
      raise_value(column, "sample " + std::to_string(pieces.documents[k]) + " has " + std::to_string(found) +
                              " elements, and the plan was made from a length of " +
                              std::to_string(expected) +
                              "; make it from the lengths of this column, or choose others with columns=");
  }
}

// Rows of a column whose samples are read one by one.
void gather_each(Hints& hints, const ColumnPtr& shown, std::vector<uint64_t> chosen, const PackedRows& packed,
                 const Pieces& pieces, uint8_t* rows) {
  constexpr size_t kAhead = 64;
  Batch batch = read_batch(shown, std::move(chosen), hints);
  const Spans& spans = batch.column->part.spans;
  std::vector<Span> documents(batch.rows.size());
  Status status;
  {
    GilReleased release;
    for (size_t k = 0; k < documents.size() && status.ok(); ++k) {
      if (k + kAhead < documents.size()) spans.prefetch_offsets(batch.rows[k + kAhead]);
      status = spans.at(batch.rows[k], &documents[k]);
    }
  }
  check(status, *batch.column);
  check_lengths(packed, pieces, documents, spans.unit(), *shown);
  GilReleased release;
  gather(pieces, documents.data(), spans.unit(), packed.length, rows);
}

// Elements of a column in rows, with zeros after them.
nb::object gathered(Reader& reader, const PackedRows& packed, const Pieces& pieces, nb::handle numbers) {
  ColumnPtr column = reader.column;
  bool is_array = column->kind == SampleKind::ragged;
  bool is_flat = !is_array || column->part.shapes.form() == ShapeForm::flat;
  nb::object rows =
      is_array
          ? new_samples(*column, {static_cast<npy_intp>(pieces.rows()), static_cast<npy_intp>(packed.length)})
          : new_table(pieces.rows(), packed.length, NPY_UINT8);
  auto unit = static_cast<uint64_t>(PyArray_ITEMSIZE(array_of(rows)));
  std::vector<uint64_t> chosen = rows_of(*column, numbers);
  if (is_flat && !column->parts && !column->part.frames.codec) {
    gather_each(reader.hints, column, std::move(chosen), packed, pieces, data_of<uint8_t>(rows));
    return rows;
  }
  if (is_flat && column->parts) ask_if_cold(*column, chosen, reader.hints);
  std::vector<Span> documents;
  std::vector<Found> found;
  nb::tuple jagged;
  if (is_flat && column->parts && find_direct(*column, chosen, &found)) {
    for (const Found& sample : found) documents.push_back(sample.span);
  } else {
    jagged = take_jagged(reader, numbers);
    PyArrayObject* values = array_of(jagged[0]);
    if (PyArray_NDIM(values) != 1)
      raise(nb::borrow(PyExc_TypeError),
            column->path() + ": a packing needs samples of one dimension, found " +
                std::to_string(PyArray_NDIM(values)) + "; choose others with columns=");
    auto offsets = data_of<const int64_t>(jagged[1]);
    for (size_t k = 0; k < chosen.size(); ++k)
      documents.push_back(
          {static_cast<const uint8_t*>(PyArray_DATA(values)) + static_cast<uint64_t>(offsets[k]) * unit,
           static_cast<uint64_t>(offsets[k + 1] - offsets[k]) * unit});
  }
  check_lengths(packed, pieces, documents, unit, *column);
  GilReleased release;
  gather(pieces, documents.data(), unit, packed.length, data_of<uint8_t>(rows));
  return rows;
}

// Rows of several columns, one after the other, and what describes them. `most_rows`: of any batch.
nb::list batch(const PackedRows& packed, const std::vector<Samples*>& columns, nb::handle rows,
               uint64_t most_rows) {
  Pieces pieces = packed.in(rows);
  nb::object numbers = numbers_of(pieces.documents);
  nb::list parts;
  for (Samples* samples : columns) parts.append(gathered(shown(*samples), packed, pieces, numbers));
  // Each row's padding is a segment, too; the array has one length, whatever the batch.
  uint64_t bounds = most_rows * (packed.packing.most_segments + 1) + 1;
  parts.extend(described(pieces, packed.length, bounds, columns[0]->path));
  return parts;
}

// ---- windows

void cut(const Column& column, uint64_t row, uint64_t size, uint64_t step, Segments* segments) {
  if (column.parts) {
    auto [part, position] = column.parts->of(row);
    const Column& of = *column.parts->at(part);
    return cut(of, of.rows.row(position), size, step, segments);
  }
  if (column.documents) return column.documents->cut(row, size, step, segments);
  segments->lengths.push_back(size / step);
  segments->offsets.push_back(segments->lengths.size());
}

nb::tuple describe_windows(Samples& samples, nb::handle indices) {
  ColumnPtr column = shown(samples).column;
  const Shape& shape = column->layout->shape;
  uint64_t step = 1;
  for (size_t d = 1; d < static_cast<size_t>(shape.rank); ++d) step *= static_cast<uint64_t>(shape.dims[d]);
  auto length = static_cast<uint64_t>(shape.dims[0]);
  Segments segments;
  for (uint64_t row : rows_of(*column, indices)) cut(*column, row, length * step, step, &segments);
  uint64_t most = column->documents ? column->documents->most() : 1;
  return described(segments, length, segments.rows() * most + 1, column->path());
}

}  // namespace

void define_packing(nb::module_& m) {
  nb::class_<PackedRows>(m, "PackedRows")
      .def("__init__",
           [](PackedRows* self, nb::object lengths, uint64_t length, uint64_t key) {
             auto count = static_cast<uint64_t>(PyArray_SIZE(array_of(lengths)));
             auto values = data_of<const int64_t>(lengths);
             Packing packing;
             {
               GilReleased release;
               packing = pack(values, count, length, key);
             }
             new (self) PackedRows{std::move(packing), length, std::move(lengths)};
           })
      .def("__len__", [](const PackedRows& self) { return self.packing.ends.size(); })
      .def_prop_ro("most_segments", [](const PackedRows& self) { return self.packing.most_segments; })
      .def("segments",
           [](const PackedRows& self, nb::handle rows) {
             Pieces found = self.in(rows);
             return nb::make_tuple(numbers_of(found.offsets), numbers_of(found.documents),
                                   numbers_of(found.starts), numbers_of(found.lengths));
           })
      .def("batch", &batch);
}

void define_descriptions(nb::class_<Samples>& samples) {
  samples.def(
      "_describe_windows",
      [](Samples& self, nb::handle indices) {
        return looking_up(self, [&] { return describe_windows(self, indices); });
      },
      nb::arg().none());
}

}  // namespace mmap_ninja
