// Batches: many samples in one call.

#include "take.h"

#include <string.h>

#include <algorithm>

#include "decode.h"
#include "parts.h"
#include "target.h"

namespace mmap_ninja {

void raise_value(const Column& column, const std::string& message) {
  raise(nb::borrow(PyExc_ValueError), column.path() + ": " + message);
}

std::string sample_name(const Column& column, uint64_t row) {
  if (column.layout->are_windows)
    return "the window from element " + std::to_string(column.origin(row)) + " on";
  return "sample " + std::to_string(column.origin(row));
}

std::vector<int64_t> place_of(uint64_t element, const int64_t* dims, size_t rank) {
  std::vector<int64_t> place(rank);
  for (size_t d = rank; d-- > 0;) {
    place[d] = static_cast<int64_t>(element % static_cast<uint64_t>(dims[d]));
    element /= static_cast<uint64_t>(dims[d]);
  }
  return place;
}

namespace {

nb::object take(Reader& reader, nb::handle indices);
nb::object take_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows);
nb::object take_records(const Column& column, const std::vector<uint64_t>& rows);

// A list of owned samples.
nb::object take(const ColumnPtr& shown, std::vector<uint64_t> chosen, Hints& hints) {
  if (shown->parts) return list_of_parts(shown, chosen, hints, &take);
  Batch batch = read_batch(shown, std::move(chosen), hints);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  if (column->fields) return take_records(*column, rows);
  if (column->part.frames.codec) return take_decoded(hints, *column, rows);
  // Made here, since the garbage collector must not see it half filled while other threads run.
  nb::object list = owned(PyList_New(static_cast<Py_ssize_t>(rows.size())));
  Status status = visit(column->part.spans, rows.data(), rows.size(), [&](uint64_t k, Span span) -> Status {
    Status decoded;
    PyObject* sample = decode(*column, rows[k], span, true, &hints, &decoded);
    if (!sample && decoded.ok()) throw nb::python_error();
    if (!sample) {
      decoded.row = rows[k];
      return decoded;
    }
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), sample);
    return {};
  });
  check(status, *column);
  return list;
}

nb::object take(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  return take(column, rows_of(*column, indices), reader.hints);
}

// A list of owned records, read column by column.
nb::object take_records(const Column& column, const std::vector<uint64_t>& rows) {
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
  for (uint64_t row : rows) taken.push_back(owned(decode_record(column, row, true)));
  return list_of(taken);
}

// A list of owned samples of a compressed column; decodes some at a time, since all may need much memory.
nb::object take(Reader& reader, nb::handle indices);
nb::object take_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows) {
  constexpr uint64_t kAtOnce = 1024;
  // Not a list yet, since the garbage collector must not see it half filled while other threads run.
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
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
  }
  return list_of(taken);
}

nb::object nulls_of(const Batch& batch);
nb::tuple take_rows(Reader& reader, nb::handle indices, nb::handle out, nb::handle dtype);
nb::tuple take_rows_of_parts(const ColumnPtr& column, const std::vector<uint64_t>& rows, Hints& hints,
                             nb::handle out, nb::handle dtype);
std::vector<npy_intp> shape_of(const Column& column, size_t count);
void gather_strided(const Column& column, const std::vector<uint64_t>& rows, nb::handle target);
void take_converted(const Column& column, const std::vector<uint64_t>& rows,
                    const std::vector<npy_intp>& shape, const Target& target);

// Samples of one shape as one array, and which are null; None if the column is not nullable.
nb::tuple take_rows(const ColumnPtr& shown, std::vector<uint64_t> chosen, Hints& hints, nb::handle out,
                    nb::handle dtype) {
  if (shown->parts) return take_rows_of_parts(shown, chosen, hints, out, dtype);
  Batch batch = read_batch(shown, std::move(chosen), hints);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  if (column->layout->dtype.is_none() && !out.is_none()) return nb::make_tuple(out, nb::none());
  std::vector<npy_intp> shape = shape_of(*column, rows.size());
  Target target(*column, out, dtype, shape);
  if (target.convert()) {
    take_converted(*column, rows, shape, target);
  } else if (!column->layout->strides.empty()) {
    gather_strided(*column, rows, target.array());
  } else if (!target.is_empty()) {
    GilReleased release;
    gather_rows(column->part.spans, rows.data(), rows.size(), target.data());
  }
  return nb::make_tuple(target.finish(), nulls_of(batch));
}

nb::tuple take_rows(Reader& reader, nb::handle indices, nb::handle out, nb::handle dtype) {
  ColumnPtr column = reader.column;
  return take_rows(column, rows_of(*column, indices), reader.hints, out, dtype);
}

// The shape of so many samples as one array.
std::vector<npy_intp> shape_of(const Column& column, size_t count) {
  std::vector<npy_intp> shape{static_cast<npy_intp>(count)};
  for (int k = 0; k < column.layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column.layout->shape.dims[static_cast<size_t>(k)]));
  return shape;
}

nb::tuple take_rows_of_parts(const ColumnPtr& column, const std::vector<uint64_t>& rows, Hints& hints,
                             nb::handle out, nb::handle dtype) {
  std::vector<npy_intp> shape = shape_of(*column, rows.size());
  Target target(*column, out, dtype, shape);
  ask_if_cold(*column, rows, hints);
  nb::object nulls = nb::none();
  if (column->parts->is_nullable()) nulls = owned(PyArray_ZEROS(1, shape.data(), NPY_BOOL, 0));
  std::vector<Found> found;
  // Of a sample in the target.
  uint64_t size =
      rows.empty() ? 0 : static_cast<uint64_t>(PyArray_NBYTES(array_of(target.array()))) / rows.size();
  if (!target.convert() && find_direct(*column, rows, &found)) {
    for (size_t k = 0; k < found.size() && !nulls.is_none(); ++k)
      data_of<uint8_t>(nulls)[k] = found[k].part->part.is_null(found[k].row);
    GilReleased release;
    for (size_t k = 0; k < found.size() && size; ++k)
      copy_bytes(target.data() + k * size, found[k].span.data, size, into(rows.size() * size));
  } else {
    nb::object as = target.convert() ? target.array().attr("dtype") : nb::none();
    visit(hints, pieces_of(*column, rows), [&](const Piece& piece, Reader& of) {
      nb::tuple taken = take_rows(of, everything(), nb::none(), as);
      place_values(piece, data_of<uint8_t>(taken[0]), size, target.data());
      if (!taken[1].is_none()) place_values(piece, data_of<uint8_t>(taken[1]), 1, data_of<uint8_t>(nulls));
    });
  }
  return nb::make_tuple(target.finish(), nulls);
}

// Records by columns: of each, its samples as `take` or, if they have one shape, `take_rows` gives them.
nb::list take_columns(Reader& reader, nb::handle indices) {
  ColumnPtr records = reader.column;
  nb::list taken;
  if (!records->fields) return taken;
  std::vector<uint64_t> rows = rows_of(*records, indices);
  for (const Fields::Field& field : records->fields->fields) {
    bool one_shape = field.column->kind == SampleKind::array;
    taken.append(one_shape ? nb::object(take_rows(field.column, rows, field.hints, nb::none(), nb::none()))
                           : nb::object(nb::make_tuple(take(field.column, rows, field.hints), nb::none())));
  }
  return taken;
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

// Samples of one shape as numbers of another dtype.
void take_converted(const Column& column, const std::vector<uint64_t>& rows,
                    const std::vector<npy_intp>& shape, const Target& target) {
  if (target.is_empty()) return;
  nb::object ordered;  // the samples, if they are not stored in C order
  if (!column.layout->strides.empty()) {
    ordered = new_samples(column, shape);
    gather_strided(column, rows, ordered);
  }
  auto elements = static_cast<uint64_t>(PyArray_SIZE(array_of(target.array()))) / rows.size();
  uint64_t size =
      elements *
      static_cast<uint64_t>(PyDataType_ELSIZE(reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr())));
  const uint8_t* unfit = nullptr;
  size_t sample = 0;
  uint64_t place = elements;
  Status status;
  {
    GilReleased release;
    for (; sample < rows.size(); ++sample) {
      Span span{};
      if (ordered.is_valid())
        span = {data_of<uint8_t>(ordered) + sample * size, size};
      else if (status = column.part.spans.at(rows[sample], &span); !status.ok())
        break;
      place = target.convert()(span.data, elements, target.data() + sample * elements * target.unit());
      if (place == elements) continue;
      unfit = span.data + place * (size / elements);
      break;
    }
  }
  check(status, column);
  if (!unfit) return;
  const Shape& of = column.layout->shape;
  target.refuse(column, sample_name(column, rows[sample]), unfit,
                place_of(place, of.dims.data(), static_cast<size_t>(of.rank)));
}

nb::tuple take_jagged_bytes(const Column& column, const std::vector<uint64_t>& rows, nb::object offsets,
                            nb::object values, const int64_t* ends, uint64_t unit);
nb::tuple take_jagged_decoded(const Column& column, const std::vector<uint64_t>& rows, nb::object offsets);

}  // namespace

nb::tuple take_jagged(Reader& reader, nb::handle indices) {
  if (reader.column->parts) return jagged_of_parts(reader, indices, &take_jagged);
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  nb::object offsets = new_array(rows.size() + 1, NPY_INT64);
  if (column->part.frames.codec) return take_jagged_decoded(*column, rows, offsets);
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
  return take_jagged_bytes(*column, rows, offsets, values, ends, std::max<uint64_t>(unit, 1));
}

namespace {

nb::tuple take_jagged_bytes(const Column& column, const std::vector<uint64_t>& rows, nb::object offsets,
                            nb::object values, const int64_t* ends, uint64_t unit) {
  Status status;
  auto bytes = data_of<uint8_t>(values);
  {
    GilReleased release;
    status = gather(column.part.spans, rows.data(), rows.size(), unit, ends, bytes);
  }
  check(status, column);
  return nb::make_tuple(values, offsets);
}

nb::tuple take_jagged_decoded(const Column& column, const std::vector<uint64_t>& rows, nb::object offsets) {
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
  {
    GilReleased release;
    status = decode_batch(column.part.spans, workers, rows.data(), rows.size(), ends,
                          data_of<uint8_t>(values), &done);
  }
  check(status, column);
  return nb::make_tuple(values, offsets);
}

}  // namespace

void define_takes(nb::class_<Reader>& column) {
  column.def("take", nb::overload_cast<Reader&, nb::handle>(&take), nb::arg().none())
      .def(
          "take_rows",
          [](Reader& self, nb::handle indices, nb::handle out) {
            return take_rows(self, indices, out, nb::none());
          },
          nb::arg().none(), nb::arg().none())
      .def("take_columns", &take_columns, nb::arg().none())
      .def("take_jagged", &take_jagged, nb::arg().none());
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
            return looking_up(self, [&] { return take_rows(shown(self), indices, out, nb::none()); });
          },
          nb::arg().none(), nb::arg().none())
      .def(
          "_take_rows_as",
          [](Samples& self, nb::handle indices, nb::handle out, nb::handle dtype) {
            return looking_up(self, [&] { return take_rows(shown(self), indices, out, dtype); });
          },
          nb::arg().none(), nb::arg().none(), nb::arg().none())
      .def(
          "_take_jagged",
          [](Samples& self, nb::handle indices) {
            return looking_up(self, [&] { return take_jagged(shown(self), indices); });
          },
          nb::arg().none());
}

}  // namespace mmap_ninja
