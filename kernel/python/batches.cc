// Whole batches: many samples in one call.

#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>
#include <string.h>
#include <time.h>

#include <algorithm>

#include "samples.h"

namespace mmap_ninja {
namespace {

// Runs a batch read; where the last one waited for the disk, all its pages are asked for at once first.
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

// A list of owned samples of a compressed column, some at a time: the bytes of all may be many.
nb::object take_decoded(Hints& hints, const Column& column, const std::vector<uint64_t>& rows) {
  constexpr uint64_t kAtOnce = 1024;
  // Not yet a list: the collector must not see it half filled while other threads run.
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
  nb::object list = owned(PyList_New(static_cast<Py_ssize_t>(taken.size())));
  for (size_t k = 0; k < taken.size(); ++k)
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), taken[k].release().ptr());
  return list;
}

// A list of owned records, whose columns are read one after the other.
nb::object take_records(Hints& hints, const Column& column, const std::vector<uint64_t>& rows) {
  for (const Fields::Field& field : column.fields->fields) {
    if (!hints.cold) break;
    GilReleased release;
    will_need(field.column->part.spans, rows.data(), rows.size());
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
nb::object take(Reader& reader, nb::handle indices) {
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  if (column->fields) return take_records(reader.hints, *column, rows);
  if (column->part.frames.codec) return take_decoded(reader.hints, *column, rows);
  nb::object list;
  Status status;
  adaptive(reader.hints, *column, rows, [&] {
    // Made here: the collector must not see it half filled while other threads run.
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

// Memory that a batch read may fill: an array of this dtype and shape, in C order.
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
    if (!PyArray_ISWRITEABLE(array)) raise_value(column, "out: is read-only");
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
  nb::object array_;   // what the caller gets
  nb::object filled_;  // what is filled: the same, or a copy in C order
};

// Samples that are not stored in C order, one by one: only arrays of 0.x can be so.
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

// Samples of one shape as one array.
nb::object take_rows(Reader& reader, nb::handle indices, nb::handle out) {
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  std::vector<npy_intp> shape{static_cast<npy_intp>(rows.size())};
  for (int k = 0; k < column->layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column->layout->shape.dims[static_cast<size_t>(k)]));
  Target target(*column, out, shape);
  if (!column->layout->strides.empty()) {
    gather_strided(*column, rows, target.array());
  } else if (!target.is_empty()) {
    adaptive(reader.hints, *column, rows, [&] {
      GilReleased release;
      gather_rows(column->part.spans, rows.data(), rows.size(), target.data());
      return rows.size() * column->part.spans.unit();
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

BatchShapes shapes_of(const Column& column, const std::vector<uint64_t>& rows, const std::string& operation) {
  constexpr size_t kAhead = 16;
  BatchShapes shapes;
  size_t count = rows.size();
  while (shapes.first < count && column.part.is_null(rows[shapes.first])) ++shapes.first;
  if (shapes.first == count) {  // the rank that all samples have, where that is known
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
    if (rank != 0 && column.part.is_null(rows[k])) continue;  // it is empty
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
                              std::to_string(shapes.rank) + "; see take");
    std::copy_n(shape.dims.data(), rank, shapes.dims.data() + k * rank);
  }
  return shapes;
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

// Samples back to back, and where each ends: bytes, or elements of arrays of equal trailing dimensions.
nb::tuple take_jagged(Reader& reader, nb::handle indices) {
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
        raise_value(*column,
                    "take_jagged: " + sample_name(*column, rows[k]) +
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

// Samples in the corners of boxes of one shape, the rest filled. `lengths` and `multiples`: per dimension, 0
// where it is as large as the batch needs.
nb::tuple take_padded(Reader& reader, nb::handle indices, nb::handle fill_of,
                      const std::vector<int64_t>& lengths, const std::vector<int64_t>& multiples,
                      nb::handle out) {
  Batch batch = read_batch(reader, indices);
  const ColumnPtr& column = batch.column;
  const std::vector<uint64_t>& rows = batch.rows;
  BatchShapes shapes = shapes_of(*column, rows, "take_padded");
  // Of an empty batch, only what was asked for is known.
  size_t rank = rows.empty() ? std::max<size_t>({lengths.size(), multiples.size(), 1}) : shapes.rank;
  if (lengths.size() > rank || multiples.size() > rank)
    raise_value(*column, "take_padded: length and multiple_of speak of more than the " +
                             std::to_string(rank) + " dimensions of the samples");
  if (column->layout->dtype.is_none()) raise_value(*column, "take_padded: holds no arrays yet");
  nb::object fill = fill_of(column->layout->dtype);
  const uint8_t* element = data_of<uint8_t>(fill);
  uint64_t unit = column->part.spans.unit();
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
  for (size_t k = 0; k < rows.size(); ++k)
    for (size_t d = 0; d < rank; ++d) *valid_of++ = std::min(shapes.of(k)[d], box.dims[d]);
  if (!target.is_empty()) {
    uint64_t size = unit;
    for (size_t d = 0; d < rank; ++d) size *= static_cast<uint64_t>(box.dims[d]);
    adaptive(reader.hints, *column, rows, [&] {
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
nb::object take_windows(Reader& reader, nb::handle starts, uint64_t length, nb::handle out) {
  ColumnPtr column = reader.column;
  const Spans& spans = column->part.spans;
  auto count = static_cast<size_t>(PyArray_SIZE(array_of(starts)));
  auto begin = data_of<const int64_t>(starts);
  uint64_t units = spans.payload_size() / spans.unit();
  for (size_t k = 0; k < count; ++k)
    if (begin[k] < 0 || length > units || static_cast<uint64_t>(begin[k]) > units - length)
      raise(
          {.code = Code::bad_offsets, .row = k, .found = static_cast<uint64_t>(begin[k]), .expected = units},
          column->path());
  Target target(*column, out, {static_cast<npy_intp>(count), static_cast<npy_intp>(length)});
  check_sizes(*column);
  Status status;
  if (!target.is_empty()) {
    GilReleased release;
    constexpr size_t kAhead = 4;
    uint64_t size = length * spans.unit();
    const Mapping& payload = *spans.payload();
    const uint8_t* base = payload.data();
    auto start = [&](size_t k) { return static_cast<uint64_t>(begin[k]) * spans.unit(); };
    for (size_t k = 0; k < count && status.ok(); ++k) {
      if (!base) {
        status = payload.read(start(k), size, target.data() + k * size);
        continue;
      }
      if (k + kAhead < count)
        for (uint64_t line = 0; line < std::min<uint64_t>(size, 1024); line += 64)
          __builtin_prefetch(base + start(k + kAhead) + line);
      memcpy(target.data() + k * size, base + start(k), size);
    }
  }
  check(status, column->path());
  return target.finish();
}

// Where the samples at these positions are stored; or the rows that they had before they were replaced.
nb::object physical_rows(Reader& reader, nb::handle indices, bool stored) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> places = positions_of(*column, indices);
  nb::object rows = new_array(places.size(), NPY_INT64);
  auto values = data_of<int64_t>(rows);
  for (uint64_t place : places)
    *values++ = static_cast<int64_t>(stored ? column->rows.row(place) : column->rows.base(place));
  return rows;
}

// Calls use(rows, count, k) for the rows of positions from `begin` on to `end`, some at a time, without the
// GIL. k: how many came before. It stops at the first error.
template <typename Use>
Status visit_rows(const Column& column, uint64_t begin, uint64_t end, Use use) {
  constexpr uint64_t kAtOnce = 2048;  // what is kept of each fits in the CPU's cache
  GilReleased release;
  std::vector<uint64_t> rows(std::min(end - begin, kAtOnce));
  for (uint64_t first = begin; first < end;) {
    uint64_t count = std::min(end - first, kAtOnce);
    for (uint64_t k = 0; k < count;) {
      uint64_t run, row = column.rows.row(first + k, &run);
      for (uint64_t stop = k + std::min(run, count - k); k < stop; ++k) rows[k] = row++;
    }
    if (Status status = use(rows.data(), count, first - begin); !status.ok()) return status;
    first += count;
  }
  return {};
}

// Whether each sample is null, or each of those at `indices`; none where no sample can be.
nb::object null_mask(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  if (!column->part.nulls) return nb::none();
  std::vector<uint64_t> chosen;
  if (!indices.is_none()) chosen = rows_of(*column, indices);
  check_sizes(*column);
  nb::object mask = new_array(indices.is_none() ? column->rows.count() : chosen.size(), NPY_BOOL);
  auto is_null = data_of<uint8_t>(mask);
  auto read = [&](const uint64_t* rows, uint64_t count, uint64_t first) {
    Status status = read_rows(*column->part.nulls, 1, rows, count, is_null + first);
    for (uint64_t k = first; k < first + count; ++k) is_null[k] = is_null[k] != 0;
    return status;
  };
  check(indices.is_none() ? visit_rows(*column, 0, column->rows.count(), read)
                          : read(chosen.data(), chosen.size(), 0),
        column->path());
  return mask;
}

void prefetch(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> rows = rows_of(*column, indices);
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

// Where samples lie; with their sizes when they are decompressed, unless those that are stored are asked for.
Status locate(const Column& column, bool stored, const uint64_t* rows, uint64_t count, Range* ranges) {
  Status status = locate(column.part.spans, rows, count, ranges);
  if (!status.ok() || stored || !column.part.frames.codec) return status;
  Spans spans = column.part.spans;
  Frames frames = column.part.frames;
  bool fetches = column.access == Access::pread;
  if (fetches)
    status = frames.sizes ? fetch(column.part.frames.sizes, sizeof(uint32_t), rows, count, &frames.sizes)
                          : fetch(column.part.spans, ranges, count, &spans);
  for (uint64_t k = 0; k < count && status.ok(); ++k) {
    uint64_t row = fetches ? k : rows[k];
    Span frame{nullptr, ranges[k].size};
    if (!frames.sizes) status = spans.at(row, &frame);
    if (status.ok()) status = frames.said_size(row, frame, &ranges[k].size);
    status.row = rows[k];
  }
  return status;
}

// Calls use(k, range) for each sample, without the GIL.
template <typename Use>
void visit_ranges(const Column& column, bool stored, Use use) {
  check_sizes(column);
  std::vector<Range> ranges;
  auto read = [&](const uint64_t* rows, uint64_t count, uint64_t first) {
    ranges.resize(count);
    Status status = locate(column, stored, rows, count, ranges.data());
    for (uint64_t k = 0; k < count && status.ok(); ++k) use(first + k, ranges[k]);
    return status;
  };
  check(visit_rows(column, 0, column.rows.count(), read), column.path());
}

// How long each sample is, in units of its payload; or what is stored of it, where it is compressed.
nb::object sizes(Reader& reader, bool stored) {
  ColumnPtr column = reader.column;
  nb::object lengths = new_array(column->rows.count(), NPY_INT64);
  auto values = data_of<int64_t>(lengths);
  uint64_t unit = std::max<uint64_t>(column->part.spans.unit(), 1);
  visit_ranges(*column, stored,
               [&](uint64_t k, Range range) { values[k] = static_cast<int64_t>(range.size / unit); });
  return lengths;
}

// Where each sample starts in the payload, in its units.
nb::object element_starts(Reader& reader) {
  ColumnPtr column = reader.column;
  nb::object starts = new_array(column->rows.count(), NPY_INT64);
  auto values = data_of<int64_t>(starts);
  uint64_t unit = std::max<uint64_t>(column->part.spans.unit(), 1);
  visit_ranges(*column, true,
               [&](uint64_t k, Range range) { values[k] = static_cast<int64_t>(range.begin / unit); });
  return starts;
}

// Calls use(k, shape) for some rows.
template <typename Use>
Status visit_shapes(const Column& column, const uint64_t* rows, uint64_t count, Use use) {
  std::vector<Range> ranges(count);
  Status status = locate(column.part.spans, rows, count, ranges.data());
  bool fetches = column.access == Access::pread;
  Shapes shapes = column.part.shapes;
  if (status.ok() && fetches) status = fetch(column.part.shapes, rows, count, &shapes);
  Shape shape;
  for (uint64_t k = 0; k < count && status.ok(); ++k) {
    status = shapes.at(fetches ? k : rows[k], ranges[k].size / column.part.spans.unit(), &shape);
    status.row = rows[k];
    if (status.ok()) use(k, shape);
  }
  return status;
}

// The shape of a ragged sample; the position must be in range.
nb::tuple shape_of(Reader& reader, uint64_t position) {
  ColumnPtr column = reader.column;
  if (position >= column->rows.count())
    raise({.code = Code::row_range, .found = position, .expected = column->rows.count()}, column->path());
  check_sizes(*column);
  uint64_t row = column->rows.row(position);
  nb::list extents;
  auto add = [&](uint64_t, const Shape& shape) {
    for (int k = 0; k < shape.rank; ++k) extents.append(shape.dims[static_cast<size_t>(k)]);
  };
  check(visit_shapes(*column, &row, 1, add), column->path());
  return nb::tuple(extents);
}

// The first `columns` extents of every sample, or the rank of each where none are asked for.
nb::object shape_table(Reader& reader, uint64_t columns) {
  ColumnPtr column = reader.column;
  check_sizes(*column);
  uint64_t width = std::max<uint64_t>(columns, 1);
  const npy_intp dims[] = {static_cast<npy_intp>(column->rows.count()), static_cast<npy_intp>(width)};
  nb::object table = owned(PyArray_SimpleNew(2, dims, NPY_INT64));
  auto values = data_of<int64_t>(table);
  auto read = [&](const uint64_t* rows, uint64_t count, uint64_t first) {
    return visit_shapes(*column, rows, count, [&](uint64_t k, const Shape& shape) {
      int64_t* row = values + (first + k) * width;
      if (columns == 0) *row = shape.rank;
      for (size_t d = 0; d < columns; ++d) row[d] = d < static_cast<size_t>(shape.rank) ? shape.dims[d] : -1;
    });
  };
  check(visit_rows(*column, 0, column->rows.count(), read), column->path());
  return table;
}

int64_t find_bytes(Reader& reader, nb::bytes wanted, uint64_t begin, uint64_t end) {
  constexpr uint64_t kAtOnce = 8192, kMostBytes = uint64_t{1} << 20;
  ColumnPtr column = reader.column;
  check_sizes(*column);
  end = std::min(end, column->rows.count());
  Span span{reinterpret_cast<const uint8_t*>(wanted.c_str()), wanted.size()};
  std::optional<Zstd::Worker> worker;
  if (column->part.frames.codec) worker.emplace(column->part.frames.codec->worker());
  size_t compared = std::clamp<uint64_t>(kMostBytes / std::max<uint64_t>(span.size, 1), 1, kAtOnce);
  std::vector<Range> ranges;
  std::vector<uint64_t> rows, positions;  // of samples of the right size: no others are read
  for (uint64_t first = begin; first < end; first += kAtOnce) {
    rows.clear();
    positions.clear();
    auto sift = [&](const uint64_t* some, uint64_t count, uint64_t before) {
      ranges.resize(count);
      Status status = locate(*column, false, some, count, ranges.data());
      for (uint64_t k = 0; k < count && status.ok(); ++k) {
        if (ranges[k].size != span.size) continue;
        rows.push_back(some[k]);
        positions.push_back(first + before + k);
      }
      return status;
    };
    check(visit_rows(*column, first, std::min(first + kAtOnce, end), sift), column->path());
    for (size_t k = 0; k < rows.size(); k += compared) {
      auto from = rows.begin() + static_cast<std::ptrdiff_t>(k);
      auto to = from + static_cast<std::ptrdiff_t>(std::min(compared, rows.size() - k));
      Batch batch = read_rows(column, {from, to}, false);
      const Column& read = *batch.column;
      uint64_t found, count = batch.rows.size();
      Status status;
      {
        GilReleased release;
        status = worker ? find_decoded(read.part.spans, read.part.frames, *worker, batch.rows.data(), count,
                                       span, &found)
                        : find(read.part.spans, batch.rows.data(), count, span, &found);
      }
      check(status, read);
      if (found < count) return static_cast<int64_t>(positions[k + found]);
    }
  }
  return -1;
}

nb::object u64() { return owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT64))); }

// A read-only array over a range of a file: over its map, which it keeps, or what is read now. `data_at`:
// where its first element lies in the range.
nb::object over(const Column& column, const std::shared_ptr<Mapping>& file, Range range, nb::object dtype,
                const std::vector<npy_intp>& shape, const npy_intp* strides = nullptr, uint64_t data_at = 0) {
  std::shared_ptr<Mapping> memory;
  const uint8_t* data = nullptr;
  if (file->data()) {
    check(load(file, range, &memory, &data), column.path());
  } else {
    Status status;
    {
      GilReleased release;
      status = load(file, range, &memory, &data);
    }
    check(status, column.path());
  }
  auto descr = reinterpret_cast<PyArray_Descr*>(dtype.release().ptr());
  nb::object array =
      owned(PyArray_NewFromDescr(&PyArray_Type, descr, static_cast<int>(shape.size()), shape.data(), strides,
                                 const_cast<uint8_t*>(data) + data_at, 0, nullptr));
  if (PyArray_SetBaseObject(array_of(array), owner_of(memory).release().ptr()) != 0) throw nb::python_error();
  return array;
}

// Where the samples start and end in the payload, over the map.
nb::tuple bounds(Reader& reader) {
  ColumnPtr column = reader.column;
  const RowMap& rows = column->rows;
  if (!rows.is_contiguous())
    raise(nb::borrow(PyExc_AttributeError),
          column->path() + (rows.edits()
                                ? ": an edited dataset has no starts and ends in one order; see compact"
                                : ": a view by steps or indices has no starts and ends of its own"));
  const Index& index = column->part.spans.index();
  if (!index.starts) {
    nb::object none = new_array(0, NPY_UINT64);
    return nb::make_tuple(none, none);
  }
  uint64_t first = rows.count() == 0 ? 0 : rows.row(0) * sizeof(uint64_t);
  uint64_t size = rows.count() * sizeof(uint64_t);
  const std::vector<npy_intp> shape{static_cast<npy_intp>(rows.count())};
  return nb::make_tuple(over(*column, index.starts, {first, size}, u64(), shape),
                        over(*column, index.ends, {index.lead + first, size}, u64(), shape));
}

// Where the samples start, and where the last one ends, over the map: checked, for others read them without a
// look. None where they do not lie in one order, or are compressed.
nb::object offsets(Reader& reader) {
  ColumnPtr column = reader.column;
  const Spans& spans = column->part.spans;
  const Index& index = spans.index();
  const RowMap& rows = column->rows;
  if (!rows.is_contiguous() || column->part.frames.codec || (index.starts && index.starts != index.ends))
    return nb::none();
  if (!index.starts) {
    nb::object none = new_array(1, NPY_UINT64);
    *data_of<uint64_t>(none) = 0;
    return none;
  }
  check_sizes(*column);
  uint64_t count = rows.count(), first = count == 0 ? 0 : rows.row(0);
  nb::object array = over(*column, index.starts, {first * sizeof(uint64_t), (count + 1) * sizeof(uint64_t)},
                          u64(), {static_cast<npy_intp>(count + 1)});
  Status status;
  {
    GilReleased release;
    status = check_order(data_of<const uint64_t>(array), first, count, spans.payload_size() / spans.unit());
  }
  check(status, column->path());
  return array;
}

// All elements of the payload in their order, or `count` of them from `first` on, over the map.
nb::object flat(Reader& reader, uint64_t first, std::optional<uint64_t> count) {
  ColumnPtr column = reader.column;
  const Spans& spans = column->part.spans;
  nb::object dtype = column->layout->dtype;
  if (!spans.payload()) return dtype.is_none() ? new_array(0, NPY_UINT8) : new_samples(*column, {0});
  if (dtype.is_none()) dtype = owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT8)));
  auto itemsize = static_cast<uint64_t>(nb::cast<int64_t>(dtype.attr("itemsize")));
  uint64_t elements = spans.payload_size() / itemsize;
  first = std::min(first, elements);
  elements = std::min(count.value_or(elements), elements - first);
  return over(*column, spans.payload(), {first * itemsize, elements * itemsize}, dtype,
              {static_cast<npy_intp>(elements)});
}

// All samples of one shape as one array over the map; a view by indices has none, nor have edited samples.
nb::object whole(Reader& reader) {
  ColumnPtr column = reader.column;
  const Spans& spans = column->part.spans;
  auto count = static_cast<npy_intp>(column->rows.count());
  std::vector<npy_intp> shape{count};
  for (int k = 0; k < column->layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column->layout->shape.dims[static_cast<size_t>(k)]));
  if (!spans.payload() || count == 0) {
    nb::object nothing = new_samples(*column, shape);
    PyArray_CLEARFLAGS(array_of(nothing), NPY_ARRAY_WRITEABLE);
    return nothing;
  }
  const RowMap& rows = column->rows;
  if (!rows.is_range()) return nb::none();
  uint64_t first = rows.row(0), last = rows.row(static_cast<uint64_t>(count) - 1);
  int64_t step = count > 1 ? static_cast<int64_t>(rows.row(1)) - static_cast<int64_t>(first) : 1;
  auto unit = static_cast<npy_intp>(spans.unit());
  std::vector<npy_intp> strides(shape.size());
  strides[0] = unit * static_cast<npy_intp>(step);
  auto inner = static_cast<npy_intp>(nb::cast<int64_t>(column->layout->dtype.attr("itemsize")));
  for (size_t k = shape.size() - 1; k > 0; --k) {
    strides[k] = column->layout->strides.empty() ? inner : column->layout->strides[k - 1];
    inner *= shape[k];
  }
  bool scattered = !column->layout->strides.empty();
  uint64_t lowest = scattered ? 0 : std::min(first, last), highest = std::max(first, last);
  Range range{lowest * spans.unit(), (highest + 1 - lowest) * spans.unit()};
  if (scattered) range.size = spans.payload_size();
  return over(*column, spans.payload(), range, column->layout->dtype, shape, strides.data(),
              (first - lowest) * spans.unit());
}

}  // namespace

void define_batches(nb::class_<Reader>& column) {
  column.def("take", &take, nb::arg().none())
      .def("take_rows", &take_rows, nb::arg().none(), nb::arg().none())
      .def("take_jagged", &take_jagged, nb::arg().none())
      .def("take_padded", &take_padded, nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none())
      .def("take_windows", &take_windows, nb::arg(), nb::arg(), nb::arg().none())
      .def("prefetch", &prefetch, nb::arg().none())
      .def("find", &find_bytes)
      .def("sizes", [](Reader& self) { return sizes(self, false); })
      .def("stored_sizes", [](Reader& self) { return sizes(self, true); })
      .def("null_mask", &null_mask, nb::arg().none())
      .def(
          "stored_rows", [](Reader& self, nb::handle indices) { return physical_rows(self, indices, true); },
          nb::arg().none())
      .def(
          "base_rows", [](Reader& self, nb::handle indices) { return physical_rows(self, indices, false); },
          nb::arg().none())
      .def("element_starts", &element_starts)
      .def("shape_of", &shape_of)
      .def("shape_table", &shape_table)
      .def("bounds", &bounds)
      .def("offsets", &offsets)
      .def("flat", &flat, nb::arg("first") = 0, nb::arg("count").none() = nb::none())
      .def("whole", &whole);
}

void define_batches(nb::class_<Samples>& samples) {
  samples
      .def(
          "_take", [](Samples& self, nb::handle indices) { return take(shown(self), indices); },
          nb::arg().none())
      .def(
          "_take_rows",
          [](Samples& self, nb::handle indices, nb::handle out) {
            return take_rows(shown(self), indices, out);
          },
          nb::arg().none(), nb::arg().none())
      .def(
          "_take_jagged", [](Samples& self, nb::handle indices) { return take_jagged(shown(self), indices); },
          nb::arg().none())
      .def(
          "_take_padded",
          [](Samples& self, nb::handle indices, nb::handle fill_of, const std::vector<int64_t>& lengths,
             const std::vector<int64_t>& multiples,
             nb::handle out) { return take_padded(shown(self), indices, fill_of, lengths, multiples, out); },
          nb::arg().none(), nb::arg(), nb::arg(), nb::arg(), nb::arg().none());
}

}  // namespace mmap_ninja
