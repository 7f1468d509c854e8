// Whole batches: many samples in one call.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <string.h>
#include <time.h>

#include <algorithm>

#include "samples.h"

namespace mmap_ninja {
namespace {

using ColumnPtr = std::shared_ptr<const Column>;

double seconds() {
  timespec now;
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Runs a batch read; where the last one waited for the disk, all its pages are asked for at once first.
// Measured: 5x faster than faulting them in one by one when cold, up to 3x slower when warm, so it must
// adapt.
template <typename Read>
void adaptive(Samples& samples, const Spans& spans, const std::vector<uint64_t>& rows, Read read) {
  constexpr double kWarmSample =
      5e-6;  // a warm sample of 1.3 kB takes 0.5 us, a read from the fastest disk 15 us
  constexpr double kWarmByte = 1e-9;
  constexpr double kDecoded = 4;  // times as long where samples are decompressed
  check(spans.check_size(), samples.path);
  double patience = samples.column && samples.column->frames.codec ? kDecoded : 1;
  if (samples.cold) {
    GilReleased release;
    will_need(spans, rows.data(), rows.size());
  }
  double begin = seconds();
  auto bytes = static_cast<double>(read());
  double warm = static_cast<double>(rows.size()) * kWarmSample + bytes * kWarmByte;
  samples.cold = seconds() - begin > warm * patience;
}

[[noreturn]] void raise_value(const std::string& path, const std::string& message) {
  raise(nb::borrow(PyExc_ValueError), path + ": " + message);
}

std::string sample_name(uint64_t row) { return "sample " + std::to_string(row); }

// A list of owned samples of a compressed column, some at a time: the bytes of all may be many.
nb::object take_decoded(Samples& samples, const Column& column, const std::vector<uint64_t>& rows) {
  constexpr uint64_t kAtOnce = 1024;
  // Not yet a list: the collector must not see it half filled while other threads run.
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
  adaptive(samples, column.spans, rows, [&] {
    uint64_t bytes = 0;
    while (taken.size() < rows.size()) {
      Decoded decoded;
      uint64_t first = taken.size();
      Status status =
          decoded.decode(column, rows.data() + first, std::min<uint64_t>(kAtOnce, rows.size() - first));
      for (uint64_t k = 0; k < decoded.count; ++k) {
        Status read;
        PyObject* sample = decode_plain(samples, column, rows[first + k], decoded.at(k), &read);
        read.row = rows[first + k];
        check(read, samples.path);
        taken.push_back(owned(sample));
      }
      check(status, samples.path);
      bytes += static_cast<uint64_t>(decoded.offsets[decoded.count]);
    }
    return bytes;
  });
  nb::object list = owned(PyList_New(static_cast<Py_ssize_t>(taken.size())));
  for (size_t k = 0; k < taken.size(); ++k)
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), taken[k].release().ptr());
  return list;
}

// A list of owned records, whose columns are read one after the other.
nb::object take_records(Samples& samples, const Column& column, const std::vector<uint64_t>& rows) {
  for (const Fields::Field& field : column.fields->fields) {
    check(field.samples.column->spans.check_size(), samples.path);
    if (!samples.cold) continue;
    GilReleased release;
    will_need(field.samples.column->spans, rows.data(), rows.size());
  }
  std::vector<nb::object> taken;
  taken.reserve(rows.size());
  for (uint64_t row : rows) taken.push_back(owned(decode_record(column, row, true)));
  nb::object list = owned(PyList_New(static_cast<Py_ssize_t>(taken.size())));
  for (size_t k = 0; k < taken.size(); ++k)
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), taken[k].release().ptr());
  return list;
}

// A list of owned samples.
nb::object take(Samples& samples, nb::handle indices) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  if (column->fields) return take_records(samples, *column, rows);
  if (column->frames.codec) return take_decoded(samples, *column, rows);
  nb::object list;
  Status status;
  adaptive(samples, column->spans, rows, [&] {
    // Made here: the collector must not see it half filled while other threads run.
    list = owned(PyList_New(static_cast<Py_ssize_t>(rows.size())));
    uint64_t bytes = 0;
    status = visit(column->spans, rows.data(), rows.size(), [&](uint64_t k, Span span) -> Status {
      Status decoded;
      PyObject* sample = decode(samples, *column, rows[k], span, true, &decoded);
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
  check(status, samples.path);
  return list;
}

// Memory that a batch read may fill: an array of this dtype and shape, in C order.
class Target {
 public:
  Target(const Samples& samples, const Column& column, nb::handle out, const std::vector<npy_intp>& shape)
      : shape_(shape) {
    if (out.is_none()) {
      array_ = filled_ = new_samples(samples, column, shape);
      return;
    }
    if (!PyArray_Check(out.ptr()))
      raise(nb::borrow(PyExc_TypeError), samples.path + ": out: expected an ndarray");
    PyArrayObject* array = array_of(out);
    bool same_shape = PyArray_NDIM(array) == static_cast<int>(shape.size()) &&
                      std::equal(shape.begin(), shape.end(), PyArray_DIMS(array));
    auto descr = reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr());
    if (!same_shape || !PyArray_EquivTypes(PyArray_DESCR(array), descr))
      raise_value(samples.path, "out: expected " + describe(column.layout->dtype, tuple_of(shape)) +
                                    ", got " + describe(out.attr("dtype"), out.attr("shape")));
    if (!PyArray_ISWRITEABLE(array)) raise_value(samples.path, "out: is read-only");
    array_ = nb::borrow(out);
    filled_ = PyArray_ISCARRAY(array) ? array_ : new_samples(samples, column, shape);
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
  nb::object array_;   // what the caller gets
  nb::object filled_;  // what is filled: the same, or a copy in C order
};

// Samples that are not stored in C order, one by one: only arrays of 0.x can be so.
void gather_strided(Samples& samples, const Column& column, const std::vector<uint64_t>& rows,
                    nb::handle target) {
  for (size_t k = 0; k < rows.size(); ++k) {
    Span span;
    Status status = column.spans.at(rows[k], &span);
    check(status, samples.path);
    nb::object sample = owned(decode(samples, column, rows[k], span, false, &status));
    if (PySequence_SetItem(target.ptr(), static_cast<Py_ssize_t>(k), sample.ptr()) != 0)
      throw nb::python_error();
  }
}

// Samples of one shape as one array.
nb::object take_rows(Samples& samples, nb::handle indices, nb::handle out) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  std::vector<npy_intp> shape{static_cast<npy_intp>(rows.size())};
  for (int k = 0; k < column->layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column->layout->shape.dims[static_cast<size_t>(k)]));
  Target target(samples, *column, out, shape);
  if (!column->layout->strides.empty()) {
    check(column->spans.check_size(), samples.path);
    gather_strided(samples, *column, rows, target.array());
  } else if (!target.is_empty()) {
    adaptive(samples, column->spans, rows, [&] {
      GilReleased release;
      gather_rows(column->spans, rows.data(), rows.size(), target.data());
      return rows.size() * column->spans.unit();
    });
  }
  return target.finish();
}

// The shapes of ragged samples that a batch is made of. They must have one rank, of at least 1; nulls have
// any.
struct BatchShapes {
  size_t rank = 0;
  size_t first = 0;           // that is no null, if there is one
  std::vector<int64_t> dims;  // [samples, rank]; zeros for nulls
  std::vector<Span> spans;

  const int64_t* of(size_t sample) const { return dims.data() + sample * rank; }
};

BatchShapes shapes_of(const Samples& samples, const Column& column, const std::vector<uint64_t>& rows,
                      const std::string& operation) {
  constexpr size_t kAhead = 16;
  BatchShapes shapes;
  size_t count = rows.size();
  while (shapes.first < count && column.is_null(rows[shapes.first])) ++shapes.first;
  if (shapes.first == count) {  // the rank that all samples have, where that is known
    bool is_table = column.shapes.form() == ShapeForm::rows;
    shapes.rank = is_table ? column.shapes.spans().unit() / sizeof(uint64_t) : 1;
    shapes.dims.resize(count * shapes.rank);
    shapes.first = 0;
  }
  Shape shape;
  shapes.spans.reserve(count);
  for (size_t k = 0; k < count; ++k) {
    if (k + kAhead < count) column.spans.prefetch_offsets(rows[k + kAhead]);
    Span span;
    Status status = column.spans.at(rows[k], &span);
    if (status.ok()) status = column.shapes.at(rows[k], span.size / column.spans.unit(), &shape);
    check(status, samples.path);
    shapes.spans.push_back(span);
    auto rank = static_cast<size_t>(shape.rank);
    if (rank != 0 && column.is_null(rows[k])) continue;  // it is empty
    if (rank == 0)
      raise_value(samples.path,
                  operation + ": " + sample_name(rows[k]) + " is a scalar, which has no length");
    if (k == shapes.first) {
      shapes.rank = rank;
      shapes.dims.resize(count * rank);
    }
    if (rank != shapes.rank)
      raise_value(samples.path, operation + ": " + sample_name(rows[k]) + " has rank " +
                                    std::to_string(rank) + " where the batch's first has rank " +
                                    std::to_string(shapes.rank) + "; see take");
    std::copy_n(shape.dims.data(), rank, shapes.dims.data() + k * rank);
  }
  return shapes;
}

nb::tuple take_jagged_bytes(Samples& samples, const Column& column, const std::vector<uint64_t>& rows,
                            nb::object offsets, nb::object values, const int64_t* ends, uint64_t unit) {
  Status status;
  auto bytes = data_of<uint8_t>(values);
  adaptive(samples, column.spans, rows, [&] {
    GilReleased release;
    status = gather(column.spans, rows.data(), rows.size(), unit, ends, bytes);
    return static_cast<uint64_t>(ends[rows.size()]) * unit;
  });
  check(status, samples.path);
  return nb::make_tuple(values, offsets);
}

nb::tuple take_jagged_decoded(Samples& samples, const Column& column, const std::vector<uint64_t>& rows,
                              nb::object offsets) {
  auto ends = data_of<int64_t>(offsets);
  Status status;
  uint64_t done;
  {
    GilReleased release;
    status = measure_decoded(column.spans, column.frames, rows.data(), rows.size(), ends, &done);
  }
  check(status, samples.path);
  auto bytes = static_cast<uint64_t>(ends[rows.size()]);
  nb::object values = new_array(bytes, NPY_UINT8);
  std::vector<Zstd::Worker> workers = batch_workers(*column.frames.codec, bytes);
  adaptive(samples, column.spans, rows, [&] {
    GilReleased release;
    status =
        decode_batch(column.spans, workers, rows.data(), rows.size(), ends, data_of<uint8_t>(values), &done);
    return bytes;
  });
  check(status, samples.path);
  return nb::make_tuple(values, offsets);
}

// Samples back to back, and where each ends: bytes, or elements of arrays of equal trailing dimensions.
nb::tuple take_jagged(Samples& samples, nb::handle indices) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  nb::object offsets = new_array(rows.size() + 1, NPY_INT64);
  if (column->frames.codec) return take_jagged_decoded(samples, *column, rows, offsets);
  auto ends = data_of<int64_t>(offsets);
  uint64_t unit = column->spans.unit();
  std::vector<npy_intp> shape{0};
  bool is_flat = samples.kind != SampleKind::ragged || column->shapes.form() == ShapeForm::flat;
  if (!is_flat && !rows.empty()) {
    BatchShapes shapes = shapes_of(samples, *column, rows, "take_jagged");
    const int64_t* first = shapes.of(shapes.first);
    for (size_t k = 0; k < rows.size(); ++k) {
      if (!column->is_null(rows[k]) && !std::equal(first + 1, first + shapes.rank, shapes.of(k) + 1))
        raise_value(samples.path,
                    "take_jagged: " + sample_name(rows[k]) +
                        " has other trailing dimensions than the batch's first; see take, take_padded");
    }
    for (size_t d = 1; d < shapes.rank; ++d) {
      shape.push_back(static_cast<npy_intp>(first[d]));
      unit *= static_cast<uint64_t>(first[d]);
    }
    if (unit == 0) {  // nothing but lengths
      ends[0] = 0;
      for (size_t k = 0; k < rows.size(); ++k) ends[k + 1] = ends[k] + shapes.of(k)[0];
      shape[0] = static_cast<npy_intp>(ends[rows.size()]);
      return nb::make_tuple(new_samples(samples, *column, shape), offsets);
    }
  }
  Status status;
  {
    GilReleased release;
    status = measure(column->spans, rows.data(), rows.size(), std::max<uint64_t>(unit, 1), ends);
  }
  check(status, samples.path);
  shape[0] = static_cast<npy_intp>(ends[rows.size()]);
  nb::object values = samples.kind == SampleKind::ragged
                          ? new_samples(samples, *column, shape)
                          : new_array(static_cast<uint64_t>(shape[0]), NPY_UINT8);
  return take_jagged_bytes(samples, *column, rows, offsets, values, ends, std::max<uint64_t>(unit, 1));
}

// Samples in the corners of boxes of one shape, the rest filled. `lengths` and `multiples`: per dimension, 0
// where it is as large as the batch needs.
nb::tuple take_padded(Samples& samples, nb::handle indices, nb::handle fill_of,
                      const std::vector<int64_t>& lengths, const std::vector<int64_t>& multiples,
                      nb::handle out) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  BatchShapes shapes = shapes_of(samples, *column, rows, "take_padded");
  // Of an empty batch, only what was asked for is known.
  size_t rank = rows.empty() ? std::max<size_t>({lengths.size(), multiples.size(), 1}) : shapes.rank;
  if (lengths.size() > rank || multiples.size() > rank)
    raise_value(samples.path, "take_padded: length and multiple_of speak of more than the " +
                                  std::to_string(rank) + " dimensions of the samples");
  if (column->layout->dtype.is_none()) raise_value(samples.path, "take_padded: holds no arrays yet");
  nb::object fill = fill_of(column->layout->dtype);
  const uint8_t* element = data_of<uint8_t>(fill);
  uint64_t unit = column->spans.unit();
  bool zero = std::all_of(element, element + unit, [](uint8_t byte) { return byte == 0; });
  Box box{static_cast<int>(rank), {}, unit, element, zero};
  std::vector<npy_intp> shape{static_cast<npy_intp>(rows.size())};
  for (size_t d = 0; d < rank; ++d) {
    int64_t extent = d < lengths.size() && lengths[d] >= 0 ? lengths[d] : 0;
    if (d >= lengths.size() || lengths[d] < 0)
      for (size_t k = 0; k < rows.size(); ++k) extent = std::max(extent, shapes.of(k)[d]);
    int64_t multiple = d < multiples.size() ? std::max<int64_t>(multiples[d], 1) : 1;
    int64_t rest = extent % multiple;
    if (rest != 0 && __builtin_add_overflow(extent, multiple - rest, &extent))
      raise({.code = Code::overflow, .what = "batch"}, samples.path);
    box.dims[d] = extent;
    shape.push_back(static_cast<npy_intp>(extent));
  }
  Target target(samples, *column, out, shape);
  std::vector<npy_intp> lengths_shape{shape[0]};
  if (rank > 1) lengths_shape.push_back(static_cast<npy_intp>(rank));
  nb::object valid =
      owned(PyArray_SimpleNew(static_cast<int>(lengths_shape.size()), lengths_shape.data(), NPY_INT64));
  auto valid_of = data_of<int64_t>(valid);
  for (size_t k = 0; k < rows.size(); ++k)
    for (size_t d = 0; d < rank; ++d) *valid_of++ = std::min(shapes.of(k)[d], box.dims[d]);
  if (!target.is_empty()) {
    uint64_t size = unit;
    for (size_t d = 0; d < rank; ++d) size *= static_cast<uint64_t>(box.dims[d]);
    adaptive(samples, column->spans, rows, [&] {
      GilReleased release;
      for (size_t k = 0; k < rows.size(); ++k) {
        if (k + kSamplesAhead < rows.size()) prefetch_span(shapes.spans[k + kSamplesAhead]);
        pad(box, shapes.of(k), shapes.spans[k].data, target.data() + k * size);
      }
      return rows.size() * size;
    });
  }
  return nb::make_tuple(target.finish(), valid);
}

// Runs of `length` elements that start at `starts` in the payload, as an array [len(starts), length].
nb::object take_windows(Samples& samples, nb::handle starts, uint64_t length, nb::handle out) {
  ColumnPtr column = open_column(samples);
  const Spans& spans = column->spans;
  auto count = static_cast<size_t>(PyArray_SIZE(array_of(starts)));
  auto begin = data_of<const int64_t>(starts);
  uint64_t units = spans.payload_size() / spans.unit();
  for (size_t k = 0; k < count; ++k)
    if (begin[k] < 0 || length > units || static_cast<uint64_t>(begin[k]) > units - length)
      raise(
          {.code = Code::bad_offsets, .row = k, .found = static_cast<uint64_t>(begin[k]), .expected = units},
          samples.path);
  Target target(samples, *column, out, {static_cast<npy_intp>(count), static_cast<npy_intp>(length)});
  check(spans.check_size(), samples.path);
  if (!target.is_empty()) {
    GilReleased release;
    constexpr size_t kAhead = 4;
    uint64_t size = length * spans.unit();
    const uint8_t* base = spans.payload()->data();
    for (size_t k = 0; k < count; ++k) {
      if (k + kAhead < count)
        for (uint64_t line = 0; line < std::min<uint64_t>(size, 1024); line += 64)
          __builtin_prefetch(base + static_cast<uint64_t>(begin[k + kAhead]) * spans.unit() + line);
      memcpy(target.data() + k * size, base + static_cast<uint64_t>(begin[k]) * spans.unit(), size);
    }
  }
  return target.finish();
}

// Where the samples at these positions are stored; or the rows that they had before they were replaced.
nb::object physical_rows(Samples& samples, nb::handle indices, bool stored) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> places = positions_of(*column, indices, samples.path);
  nb::object rows = new_array(places.size(), NPY_INT64);
  auto values = data_of<int64_t>(rows);
  for (uint64_t place : places)
    *values++ = static_cast<int64_t>(stored ? column->rows.row(place) : column->rows.base(place));
  return rows;
}

// Whether each sample is null, or each of those at `indices`; none where no sample can be.
nb::object null_mask(Samples& samples, nb::handle indices) {
  ColumnPtr column = open_column(samples);
  if (!column->nulls) return nb::none();
  if (indices.is_none()) {
    const RowMap& rows = column->rows;
    bool dense = rows.is_contiguous();
    uint64_t count = rows.count(), first = dense && count != 0 ? rows.row(0) : 0;
    nb::object mask = new_array(count, NPY_BOOL);
    auto is_null = data_of<npy_bool>(mask);
    GilReleased release;
    for (uint64_t k = 0; k < count; ++k) is_null[k] = column->is_null(dense ? first + k : rows.row(k));
    return mask;
  }
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  nb::object mask = new_array(rows.size(), NPY_BOOL);
  auto is_null = data_of<npy_bool>(mask);
  for (uint64_t row : rows) *is_null++ = column->is_null(row);
  return mask;
}

void prefetch(Samples& samples, nb::handle indices) {
  ColumnPtr column = open_column(samples);
  std::vector<uint64_t> rows = rows_of(*column, indices, samples.path);
  GilReleased release;
  will_need(column->spans, rows.data(), rows.size());
  if (!column->fields) return;
  for (const Fields::Field& field : column->fields->fields)
    will_need(field.samples.column->spans, rows.data(), rows.size());
}

// How long each sample is, in units of its payload; or what is stored of it, where it is compressed.
nb::object sizes(Samples& samples, bool stored) {
  ColumnPtr column = open_column(samples);
  const Spans& spans = column->spans;
  check(spans.check_size(), samples.path);
  nb::object lengths = new_array(column->rows.count(), NPY_INT64);
  auto values = data_of<int64_t>(lengths);
  Status status;
  {
    GilReleased release;
    uint64_t unit = std::max<uint64_t>(spans.unit(), 1);
    const Frames& frames = column->frames;
    for (uint64_t k = 0; k < column->rows.count() && status.ok(); ++k) {
      uint64_t row = column->rows.row(k);
      Span span;
      status = spans.at(row, &span);
      if (status.ok() && frames.codec && !stored) status = frames.said_size(row, span, &span.size);
      if (status.ok()) values[k] = static_cast<int64_t>(span.size / unit);
    }
  }
  check(status, samples.path);
  return lengths;
}

// Where each sample starts in the payload, in its units.
nb::object element_starts(Samples& samples) {
  ColumnPtr column = open_column(samples);
  const Spans& spans = column->spans;
  nb::object starts = new_array(column->rows.count(), NPY_INT64);
  auto values = data_of<int64_t>(starts);
  for (uint64_t k = 0; k < column->rows.count(); ++k) {
    Span span;
    check(spans.at(column->rows.row(k), &span), samples.path);
    values[k] =
        static_cast<int64_t>(static_cast<uint64_t>(span.data - spans.payload()->data()) / spans.unit());
  }
  return starts;
}

Shape shape_at(const Samples& samples, const Column& column, uint64_t position) {
  uint64_t row = column.rows.row(position);
  Span span;
  Shape shape;
  Status status = column.spans.at(row, &span);
  if (status.ok()) status = column.shapes.at(row, span.size / column.spans.unit(), &shape);
  check(status, samples.path);
  return shape;
}

// The shape of a ragged sample; the position must be in range.
nb::tuple shape_of(Samples& samples, uint64_t position) {
  ColumnPtr column = open_column(samples);
  if (position >= column->rows.count())
    raise({.code = Code::row_range, .found = position, .expected = column->rows.count()}, samples.path);
  Shape shape = shape_at(samples, *column, position);
  nb::list extents;
  for (int k = 0; k < shape.rank; ++k) extents.append(shape.dims[static_cast<size_t>(k)]);
  return nb::tuple(extents);
}

// The first `columns` extents of every sample, or the rank of each where none are asked for.
nb::object shape_table(Samples& samples, uint64_t columns) {
  ColumnPtr column = open_column(samples);
  uint64_t count = column->rows.count(), width = std::max<uint64_t>(columns, 1);
  const npy_intp dims[] = {static_cast<npy_intp>(count), static_cast<npy_intp>(width)};
  nb::object table = owned(PyArray_SimpleNew(2, dims, NPY_INT64));
  auto row = data_of<int64_t>(table);
  for (uint64_t k = 0; k < count; ++k, row += width) {
    Shape shape = shape_at(samples, *column, k);
    if (columns == 0) *row = shape.rank;
    for (size_t d = 0; d < columns; ++d) row[d] = d < static_cast<size_t>(shape.rank) ? shape.dims[d] : -1;
  }
  return table;
}

int64_t find_bytes(Samples& samples, nb::bytes wanted, uint64_t begin, uint64_t end) {
  ColumnPtr column = open_column(samples);
  check(column->spans.check_size(), samples.path);
  end = std::min(end, column->rows.count());
  Span span{reinterpret_cast<const uint8_t*>(wanted.c_str()), wanted.size()};
  uint64_t position = begin;
  Status status;
  if (begin < end && column->frames.codec) {
    Zstd::Worker worker = column->frames.codec->worker();
    GilReleased release;
    status = find_decoded(column->spans, column->rows, column->frames, worker, span, begin, end, &position);
  } else if (begin < end) {
    GilReleased release;
    status = find(column->spans, column->rows, span, begin, end, &position);
  }
  check(status, samples.path);
  return position < end ? static_cast<int64_t>(position) : -1;
}

// A read-only array over a map, which it keeps alive.
nb::object over(const std::shared_ptr<Mapping>& mapping, nb::object dtype, uint64_t lead,
                const std::vector<npy_intp>& shape, const npy_intp* strides) {
  auto data = const_cast<uint8_t*>(mapping->data()) + lead;
  auto descr = reinterpret_cast<PyArray_Descr*>(dtype.release().ptr());
  nb::object array = owned(PyArray_NewFromDescr(&PyArray_Type, descr, static_cast<int>(shape.size()),
                                                shape.data(), strides, data, 0, nullptr));
  nb::capsule owner(new std::shared_ptr<Mapping>(mapping),
                    [](void* kept) noexcept { delete static_cast<std::shared_ptr<Mapping>*>(kept); });
  if (PyArray_SetBaseObject(array_of(array), owner.release().ptr()) != 0) throw nb::python_error();
  return array;
}

// Where the samples start and end in the payload, over the map.
nb::tuple bounds(Samples& samples) {
  ColumnPtr column = open_column(samples);
  const RowMap& rows = column->rows;
  if (!rows.is_contiguous())
    raise(
        nb::borrow(PyExc_AttributeError),
        samples.path + (rows.edits() ? ": an edited dataset has no starts and ends in one order; see compact"
                                     : ": a view by steps or indices has no starts and ends of its own"));
  const Index& index = column->spans.index();
  if (!index.starts) {
    nb::object none = new_array(0, NPY_UINT64);
    return nb::make_tuple(none, none);
  }
  uint64_t first = rows.count() == 0 ? 0 : rows.row(0) * sizeof(uint64_t);
  const std::vector<npy_intp> shape{static_cast<npy_intp>(rows.count())};
  auto u64 = [] { return owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT64))); };
  return nb::make_tuple(over(index.starts, u64(), first, shape, nullptr),
                        over(index.ends, u64(), index.lead + first, shape, nullptr));
}

// Where the samples start, and where the last one ends, over the map: checked, for others read them without a
// look. None where they do not lie in one order, or are compressed.
nb::object offsets(Samples& samples) {
  ColumnPtr column = open_column(samples);
  const Index& index = column->spans.index();
  const RowMap& rows = column->rows;
  if (!rows.is_contiguous() || column->frames.codec || (index.starts && index.starts != index.ends))
    return nb::none();
  if (!index.starts) {
    nb::object none = new_array(1, NPY_UINT64);
    *data_of<uint64_t>(none) = 0;
    return none;
  }
  check(column->spans.check_size(), samples.path);
  uint64_t count = rows.count(), first = count == 0 ? 0 : rows.row(0);
  Status status;
  {
    GilReleased release;
    status = column->spans.check_order(first, count);
  }
  check(status, samples.path);
  auto u64 = owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT64)));
  return over(index.starts, u64, first * sizeof(uint64_t), {static_cast<npy_intp>(count + 1)}, nullptr);
}

// All elements of the payload in their order, over the map.
nb::object flat(Samples& samples) {
  ColumnPtr column = open_column(samples);
  const Spans& spans = column->spans;
  if (column->layout->dtype.is_none()) {  // of text and bytes
    if (!spans.payload()) return new_array(0, NPY_UINT8);
    auto u8 = owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT8)));
    return over(spans.payload(), u8, 0, {static_cast<npy_intp>(spans.payload_size())}, nullptr);
  }
  if (!spans.payload()) return new_samples(samples, *column, {0});
  auto itemsize = static_cast<uint64_t>(nb::cast<int64_t>(column->layout->dtype.attr("itemsize")));
  return over(spans.payload(), column->layout->dtype, 0,
              {static_cast<npy_intp>(spans.payload_size() / itemsize)}, nullptr);
}

// All samples of one shape as one array over the map; a view by indices has none, nor have edited samples.
nb::object whole(Samples& samples) {
  ColumnPtr column = open_column(samples);
  const Spans& spans = column->spans;
  auto count = static_cast<npy_intp>(column->rows.count());
  std::vector<npy_intp> shape{count};
  for (int k = 0; k < column->layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column->layout->shape.dims[static_cast<size_t>(k)]));
  if (!spans.payload() || count == 0) return new_samples(samples, *column, shape);
  const RowMap& rows = column->rows;
  if (!rows.is_range()) return nb::none();
  auto first = static_cast<int64_t>(rows.row(0));
  int64_t step = count > 1 ? static_cast<int64_t>(rows.row(1)) - first : 1;
  auto unit = static_cast<npy_intp>(spans.unit());
  std::vector<npy_intp> strides(shape.size());
  strides[0] = unit * static_cast<npy_intp>(step);
  auto inner = static_cast<npy_intp>(nb::cast<int64_t>(column->layout->dtype.attr("itemsize")));
  for (size_t k = shape.size() - 1; k > 0; --k) {
    strides[k] = column->layout->strides.empty() ? inner : column->layout->strides[k - 1];
    inner *= shape[k];
  }
  return over(spans.payload(), column->layout->dtype, static_cast<uint64_t>(first) * spans.unit(), shape,
              strides.data());
}

}  // namespace

void define_batches(nb::class_<Samples>& samples) {
  samples.def("_take", &take, nb::arg().none())
      .def("_take_rows", &take_rows, nb::arg().none(), nb::arg().none())
      .def("_take_jagged", &take_jagged, nb::arg().none())
      .def("_take_padded", &take_padded, nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none())
      .def("_take_windows", &take_windows, nb::arg(), nb::arg(), nb::arg().none())
      .def("_prefetch", &prefetch, nb::arg().none())
      .def("_find", &find_bytes)
      .def("_sizes", [](Samples& self) { return sizes(self, false); })
      .def("_stored_sizes", [](Samples& self) { return sizes(self, true); })
      .def("_null_mask", &null_mask, nb::arg().none())
      .def(
          "_stored_rows",
          [](Samples& self, nb::handle indices) { return physical_rows(self, indices, true); },
          nb::arg().none())
      .def(
          "_base_rows", [](Samples& self, nb::handle indices) { return physical_rows(self, indices, false); },
          nb::arg().none())
      .def("_element_starts", &element_starts)
      .def("_shape_of", &shape_of)
      .def("_shape_table", &shape_table)
      .def("_bounds", &bounds)
      .def("_offsets", &offsets)
      .def("_flat", &flat)
      .def("_whole", &whole);
}

}  // namespace mmap_ninja
