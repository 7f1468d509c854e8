// Batches: many samples in one call.

#include <nanobind/stl/vector.h>
#include <string.h>

#include <algorithm>

#include "batch.h"
#include "decode.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

// Reads a batch; if the last one waited for the disk, all pages are prefetched first.
template <typename Read>
void adaptive(Hints& hints, const Column& column, const std::vector<uint64_t>& rows, Read read) {
  if (column.is_fetched()) {
    read();
    return;
  }
  if (hints.cold) {
    GilReleased release;
    will_need(column.part.spans, rows.data(), rows.size());
  }
  Stopwatch watch;
  auto bytes = static_cast<uint64_t>(read());
  hints.cold = watch.waited(rows.size(), bytes, column.part.frames.codec != nullptr);
}

[[noreturn]] void raise_value(const Column& column, const std::string& message) {
  raise(nb::borrow(PyExc_ValueError), column.path() + ": " + message);
}

std::string sample_name(const Column& column, uint64_t row) {
  return "sample " + std::to_string(column.origin(row));
}

nb::object take_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows);
nb::object take_records(Hints& hints, const Column& column, const std::vector<uint64_t>& rows);

// A list of owned samples.
nb::object take(Reader& reader, nb::handle indices) {
  if (reader.column->parts) return list_of_parts(reader, indices, &take);
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  if (column->fields) return take_records(reader.hints, *column, rows);
  if (column->part.frames.codec) return take_decoded(reader.hints, *column, rows);
  nb::object list;
  Status status;
  adaptive(reader.hints, *column, rows, [&] {
    // Made here, since the garbage collector must not see it half filled while other threads run.
    list = owned(PyList_New(static_cast<Py_ssize_t>(rows.size())));
    uint64_t bytes = 0;
    status = visit(column->part.spans, rows.data(), rows.size(), [&](uint64_t k, Span span) -> Status {
      Status decoded;
      PyObject* sample = decode(*column, rows[k], span, true, &reader.hints, &decoded);
      if (!sample && decoded.ok()) throw nb::python_error();
      if (!sample) {
        decoded.row = rows[k];
        return decoded;
      }
      PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), sample);
      bytes += span.size;
      return {};
    });
    return bytes;
  });
  check(status, *column);
  return list;
}

// A list of owned records, read column by column.
nb::object take_records(Hints& hints, const Column& column, const std::vector<uint64_t>& rows) {
  for (const Fields::Field& field : column.fields->fields) {
    if (!hints.cold) break;
    GilReleased release;
    will_need(field.column->part.spans, rows.data(), rows.size());
  }
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
  for (uint64_t row : rows) taken.push_back(owned(decode_record(column, row, true)));
  return list_of(taken);
}

// A list of owned samples of a compressed column; decodes some at a time, since all may need much memory.
nb::object take_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows) {
  constexpr uint64_t kAtOnce = 1024;
  // Not a list yet, since the garbage collector must not see it half filled while other threads run.
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
  adaptive(hints, column, rows, [&] {
    uint64_t bytes = 0;
    while (taken.size() < rows.size()) {
      Decoded decoded;
      uint64_t first = taken.size();
      Status status =
          decoded.decode(column, rows.data() + first, std::min<uint64_t>(kAtOnce, rows.size() - first));
      for (uint64_t k = 0; k < decoded.count; ++k) {
        Status read;
        PyObject* sample = decode_plain(column, rows[first + k], decoded.at(k), &hints, &read);
        read.row = rows[first + k];
        check(read, column);
        taken.push_back(owned(sample));
      }
      check(status, column);
      bytes += static_cast<uint64_t>(decoded.offsets[decoded.count]);
    }
    return bytes;
  });
  return list_of(taken);
}

// Memory for a batch: an array of this dtype and shape, in C order.
class Target {
 public:
  Target(const Column& column, nb::handle out, const std::vector<npy_intp>& shape) : shape_(shape) {
    if (out.is_none()) {
      array_ = filled_ = new_samples(column, shape);
      return;
    }
    if (!PyArray_Check(out.ptr()))
      raise(nb::borrow(PyExc_TypeError), column.path() + ": out: expected an ndarray");
    PyArrayObject* array = array_of(out);
    bool same_shape = PyArray_NDIM(array) == static_cast<int>(shape.size()) &&
                      std::equal(shape.begin(), shape.end(), PyArray_DIMS(array));
    auto descr = reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr());
    if (!same_shape || !PyArray_EquivTypes(PyArray_DESCR(array), descr))
      raise_value(column, "out: expected " + describe(column.layout->dtype, tuple_of(shape)) + ", got " +
                              describe(out.attr("dtype"), out.attr("shape")));
    if (!PyArray_ISWRITEABLE(array))
      raise_value(column, "out: expected a writable array, got a read-only one");
    array_ = nb::borrow(out);
    filled_ = PyArray_ISCARRAY(array) ? array_ : new_samples(column, shape);
  }

  nb::handle array() const { return filled_; }
  uint8_t* data() const { return data_of<uint8_t>(filled_); }
  bool is_empty() const { return PyArray_SIZE(array_of(filled_)) == 0; }

  nb::object finish() const {
    if (!filled_.is(array_) && PyArray_CopyInto(array_of(array_), array_of(filled_)) != 0)
      throw nb::python_error();
    return array_;
  }

 private:
  static nb::object tuple_of(const std::vector<npy_intp>& shape) {
    nb::list extents;
    for (npy_intp extent : shape) extents.append(extent);
    return nb::tuple(extents);
  }
  static std::string describe(nb::handle dtype, nb::handle shape) {
    return std::string(nb::str(dtype).c_str()) + " of shape " + nb::str(shape).c_str();
  }

  std::vector<npy_intp> shape_;
  nb::object array_;   // returned to the caller
  nb::object filled_;  // the array to fill: the same one, or a copy in C order
};

nb::object nulls_of(const Batch& batch);
nb::tuple take_rows_of_parts(Reader& reader, nb::handle indices, nb::handle out);
std::vector<npy_intp> shape_of(const Column& column, size_t count);
void gather_strided(const Column& column, const std::vector<uint64_t>& rows, nb::handle target);

// Samples of one shape as one array, and which are null; None if the column is not nullable.
nb::tuple take_rows(Reader& reader, nb::handle indices, nb::handle out) {
  if (reader.column->parts) return take_rows_of_parts(reader, indices, out);
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  if (column->layout->dtype.is_none() && !out.is_none()) return nb::make_tuple(out, nb::none());
  Target target(*column, out, shape_of(*column, rows.size()));
  if (!column->layout->strides.empty()) {
    gather_strided(*column, rows, target.array());
  } else if (!target.is_empty()) {
    adaptive(reader.hints, *column, rows, [&] {
      GilReleased release;
      gather_rows(column->part.spans, rows.data(), rows.size(), target.data());
      return rows.size() * column->part.spans.unit();
    });
  }
  return nb::make_tuple(target.finish(), nulls_of(batch));
}

// The shape of so many samples as one array.
std::vector<npy_intp> shape_of(const Column& column, size_t count) {
  std::vector<npy_intp> shape{static_cast<npy_intp>(count)};
  for (int k = 0; k < column.layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column.layout->shape.dims[static_cast<size_t>(k)]));
  return shape;
}

nb::tuple take_rows_of_parts(Reader& reader, nb::handle indices, nb::handle out) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> rows = rows_of(*column, indices);
  Target target(*column, out, shape_of(*column, rows.size()));
  nb::object nulls = nb::none();
  if (column->parts->is_nullable())
    nulls = owned(PyArray_ZEROS(1, shape_of(*column, rows.size()).data(), NPY_BOOL, 0));
  std::vector<Found> found;
  if (find_direct(*column, rows, &found)) {
    uint64_t size = column->part.spans.unit();
    for (size_t k = 0; k < found.size() && !nulls.is_none(); ++k)
      data_of<uint8_t>(nulls)[k] = found[k].part->part.is_null(found[k].row);
    GilReleased release;
    for (size_t k = 0; k < found.size() && size; ++k)
      memcpy(target.data() + k * size, found[k].span.data, size);
  } else {
    visit(reader, pieces_of(*column, rows), [&](const Piece& piece, Reader& of) {
      nb::tuple taken = take_rows(of, everything(), nb::none());
      place_values(piece, data_of<uint8_t>(taken[0]), column->part.spans.unit(), target.data());
      if (!taken[1].is_none()) place_values(piece, data_of<uint8_t>(taken[1]), 1, data_of<uint8_t>(nulls));
    });
  }
  return nb::make_tuple(target.finish(), nulls);
}

nb::object nulls_of(const Batch& batch) {
  const Part& part = batch.column->part;
  if (!part.nulls) return nb::none();
  nb::object mask = new_array(batch.rows.size(), NPY_BOOL);
  auto is_null = data_of<uint8_t>(mask);
  for (uint64_t row : batch.rows) *is_null++ = part.is_null(row);
  return mask;
}

// Samples that are not stored in C order, one by one; only for arrays of 0.x.
void gather_strided(const Column& column, const std::vector<uint64_t>& rows, nb::handle target) {
  Hints unused;
  for (size_t k = 0; k < rows.size(); ++k) {
    Span span;
    Status status = column.part.spans.at(rows[k], &span);
    check(status, column);
    nb::object sample = owned(decode(column, rows[k], span, false, &unused, &status));
    if (PySequence_SetItem(target.ptr(), static_cast<Py_ssize_t>(k), sample.ptr()) != 0)
      throw nb::python_error();
  }
}

// The shapes of the ragged samples of a batch. They must have one rank of at least 1; nulls may have any
// rank.
struct BatchShapes {
  bool are_known = false;  // not if all are nulls
  size_t rank = 0;
  size_t first = 0;           // the first sample that is not null, if there is one
  std::vector<int64_t> dims;  // [samples, rank]; zeros for nulls
  std::vector<Span> spans;

  const int64_t* of(size_t sample) const { return dims.data() + sample * rank; }
};

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

nb::tuple take_jagged_bytes(Hints& hints, const Column& column, const std::vector<uint64_t>& rows,
                            nb::object offsets, nb::object values, const int64_t* ends, uint64_t unit);
nb::tuple take_jagged_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows,
                              nb::object offsets);

// Samples back to back, and their ends: bytes, or elements of arrays with equal trailing dimensions.
nb::tuple take_jagged(Reader& reader, nb::handle indices) {
  if (reader.column->parts) return jagged_of_parts(reader, indices, &take_jagged);
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  nb::object offsets = new_array(rows.size() + 1, NPY_INT64);
  if (column->part.frames.codec) return take_jagged_decoded(reader.hints, *column, rows, offsets);
  auto ends = data_of<int64_t>(offsets);
  uint64_t unit = column->part.spans.unit();
  std::vector<npy_intp> shape{0};
  bool is_flat = column->kind != SampleKind::ragged || column->part.shapes.form() == ShapeForm::flat;
  if (!is_flat && !rows.empty()) {
    BatchShapes shapes = shapes_of(*column, rows, "take_jagged");
    const int64_t* first = shapes.of(shapes.first);
    for (size_t k = 0; k < rows.size(); ++k) {
      if (!column->part.is_null(rows[k]) && !std::equal(first + 1, first + shapes.rank, shapes.of(k) + 1))
        raise_value(
            *column,
            "take_jagged: " + sample_name(*column, rows[k]) +
                " differs from the batch's first in its trailing dimensions; use take or take_padded");
    }
    for (size_t d = 1; d < shapes.rank; ++d) {
      shape.push_back(static_cast<npy_intp>(first[d]));
      unit *= static_cast<uint64_t>(first[d]);
    }
    if (unit == 0) {  // only lengths
      ends[0] = 0;
      for (size_t k = 0; k < rows.size(); ++k) ends[k + 1] = ends[k] + shapes.of(k)[0];
      shape[0] = static_cast<npy_intp>(ends[rows.size()]);
      return nb::make_tuple(new_samples(*column, shape), offsets);
    }
  }
  Status status;
  {
    GilReleased release;
    status = measure(column->part.spans, rows.data(), rows.size(), std::max<uint64_t>(unit, 1), ends);
  }
  check(status, *column);
  shape[0] = static_cast<npy_intp>(ends[rows.size()]);
  nb::object values = column->kind == SampleKind::ragged
                          ? new_samples(*column, shape)
                          : new_array(static_cast<uint64_t>(shape[0]), NPY_UINT8);
  return take_jagged_bytes(reader.hints, *column, rows, offsets, values, ends, std::max<uint64_t>(unit, 1));
}

nb::tuple take_jagged_bytes(Hints& hints, const Column& column, const std::vector<uint64_t>& rows,
                            nb::object offsets, nb::object values, const int64_t* ends, uint64_t unit) {
  Status status;
  auto bytes = data_of<uint8_t>(values);
  adaptive(hints, column, rows, [&] {
    GilReleased release;
    status = gather(column.part.spans, rows.data(), rows.size(), unit, ends, bytes);
    return static_cast<uint64_t>(ends[rows.size()]) * unit;
  });
  check(status, column);
  return nb::make_tuple(values, offsets);
}

nb::tuple take_jagged_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows,
                              nb::object offsets) {
  auto ends = data_of<int64_t>(offsets);
  Status status;
  uint64_t done;
  {
    GilReleased release;
    status = measure_decoded(column.part.spans, column.part.frames, rows.data(), rows.size(), ends, &done);
  }
  check(status, column);
  auto bytes = static_cast<uint64_t>(ends[rows.size()]);
  nb::object values = new_array(bytes, NPY_UINT8);
  std::vector<Zstd::Worker> workers = batch_workers(*column.part.frames.codec, bytes);
  adaptive(hints, column, rows, [&] {
    GilReleased release;
    status = decode_batch(column.part.spans, workers, rows.data(), rows.size(), ends,
                          data_of<uint8_t>(values), &done);
    return bytes;
  });
  check(status, column);
  return nb::make_tuple(values, offsets);
}

// The shapes of a batch of a column of several parts. `batches`: what keeps the samples.
BatchShapes shapes_of_parts(const Column& column, const std::vector<uint64_t>& rows, bool is_cold,
                            std::vector<Batch>* batches) {
  BatchShapes shapes;
  shapes.spans.resize(rows.size());
  for (const Piece& piece : pieces_of(column, rows)) {
    const Column& part = *piece.column;
    std::vector<uint64_t> mine = rows_of(part, everything());
    BatchShapes some;
    if (part.parts) {
      some = shapes_of_parts(part, mine, is_cold, batches);
    } else {
      const Batch& batch = batches->emplace_back(read_rows(piece.column, std::move(mine), is_cold));
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

// Samples padded to boxes of one shape. `lengths` and `multiples`: per dimension; 0: as large as the batch
// needs.
nb::tuple take_padded(Reader& reader, nb::handle indices, nb::handle fill_of,
                      const std::vector<int64_t>& lengths, const std::vector<int64_t>& multiples,
                      nb::handle out) {
  ColumnPtr column = reader.column;
  std::vector<Batch> batches;  // one, or one for each part
  if (!column->parts) column = batches.emplace_back(read_batch(reader, indices)).column;
  if (column->layout->dtype.is_none())  // no samples yet
    return nb::make_tuple(new_samples(*column, {0, 0}), new_array(0, NPY_INT64));
  BatchShapes shapes = column->parts
                           ? shapes_of_parts(*column, rows_of(*column, indices), reader.hints.cold, &batches)
                           : shapes_of(*column, batches[0].rows, "take_padded");
  size_t count = shapes.spans.size();
  // For an empty batch, only the arguments determine the rank.
  size_t rank = count == 0 ? std::max<size_t>({lengths.size(), multiples.size(), 1}) : shapes.rank;
  if (lengths.size() > rank || multiples.size() > rank)
    raise_value(*column, "take_padded: length and multiple_of: expected at most the " + std::to_string(rank) +
                             " dimensions of the samples");
  nb::object fill = fill_of(column->layout->dtype);
  const uint8_t* element = data_of<uint8_t>(fill);
  uint64_t unit = column->part.spans.unit();
  bool zero = std::all_of(element, element + unit, [](uint8_t byte) { return byte == 0; });
  Box box{static_cast<int>(rank), {}, unit, element, zero};
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
  Target target(*column, out, shape);
  std::vector<npy_intp> lengths_shape{shape[0]};
  if (rank > 1) lengths_shape.push_back(static_cast<npy_intp>(rank));
  nb::object valid =
      owned(PyArray_SimpleNew(static_cast<int>(lengths_shape.size()), lengths_shape.data(), NPY_INT64));
  auto valid_of = data_of<int64_t>(valid);
  for (size_t k = 0; k < count; ++k)
    for (size_t d = 0; d < rank; ++d) *valid_of++ = std::min(shapes.of(k)[d], box.dims[d]);
  if (!target.is_empty()) {
    uint64_t size = unit;
    for (size_t d = 0; d < rank; ++d) size *= static_cast<uint64_t>(box.dims[d]);
    auto fill_boxes = [&] {
      GilReleased release;
      for (size_t k = 0; k < count; ++k) {
        if (k + kSamplesAhead < count) prefetch_span(shapes.spans[k + kSamplesAhead]);
        pad(box, shapes.of(k), shapes.spans[k].data, target.data() + k * size);
      }
      return count * size;
    };
    if (column->parts)
      fill_boxes();
    else
      adaptive(reader.hints, *column, batches[0].rows, fill_boxes);
  }
  return nb::make_tuple(target.finish(), valid);
}

void prefetch(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> rows = rows_of(*column, indices);
  if (column->parts)
    return visit(reader, pieces_of(*column, rows),
                 [](const Piece&, Reader& of) { prefetch(of, everything()); });
  check_sizes(*column);
  auto ask = [&](const Spans& spans) {
    std::vector<Range> ranges(rows.size());
    Status status = spans.payload() ? locate(spans, rows.data(), rows.size(), ranges.data()) : Status{};
    for (size_t k = 0; spans.payload() && k < rows.size() && status.ok(); ++k)
      if (ranges[k].size) spans.payload()->will_need(ranges[k].begin, ranges[k].begin + ranges[k].size);
    return status;
  };
  Status status;
  {
    GilReleased release;
    status = ask(column->part.spans);
    if (column->fields)
      for (const Fields::Field& field : column->fields->fields)
        if (status.ok()) status = ask(field.column->part.spans);
  }
  check(status, column->path());
}

}  // namespace

void define_takes(nb::class_<Reader>& column) {
  column.def("take", &take, nb::arg().none())
      .def("take_rows", &take_rows, nb::arg().none(), nb::arg().none())
      .def("take_jagged", &take_jagged, nb::arg().none())
      .def("take_padded", &take_padded, nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none())
      .def("prefetch", &prefetch, nb::arg().none());
}

void define_takes(nb::class_<Samples>& samples) {
  samples
      .def(
          "_take",
          [](Samples& self, nb::handle indices) {
            return looking_up(self, [&] { return take(shown(self), indices); });
          },
          nb::arg().none())
      .def(
          "_take_rows",
          [](Samples& self, nb::handle indices, nb::handle out) {
            return looking_up(self, [&] { return take_rows(shown(self), indices, out); });
          },
          nb::arg().none(), nb::arg().none())
      .def(
          "_take_jagged",
          [](Samples& self, nb::handle indices) {
            return looking_up(self, [&] { return take_jagged(shown(self), indices); });
          },
          nb::arg().none())
      .def(
          "_take_padded",
          [](Samples& self, nb::handle indices, nb::handle fill_of, const std::vector<int64_t>& lengths,
             const std::vector<int64_t>& multiples, nb::handle out) {
            return looking_up(
                self, [&] { return take_padded(shown(self), indices, fill_of, lengths, multiples, out); });
          },
          nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
}

}  // namespace mmap_ninja
