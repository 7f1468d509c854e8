// Queries over all samples: their sizes, their places, and a search for an equal one.

#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <string.h>

#include <algorithm>

#include "batch.h"
#include "decode.h"
#include "parts.h"

namespace mmap_ninja {
namespace {

// The rows where the samples at these positions are stored, or those they had before they were replaced.
nb::object physical_rows(Reader& reader, nb::handle indices, bool stored) {
  ColumnPtr column = reader.column;
  std::vector<uint64_t> places = positions_of(*column, indices);
  nb::object rows = new_array(places.size(), NPY_INT64);
  auto values = data_of<int64_t>(rows);
  for (uint64_t place : places)
    *values++ = static_cast<int64_t>(stored ? column->rows.row(place) : column->rows.base(place));
  return rows;
}

// Calls use(rows, count, k) for the rows of positions from `begin` to `end`, some at a time, without the GIL,
// until the first error. k: the number of rows before.
template <typename Use>
Status visit_rows(const Column& column, uint64_t begin, uint64_t end, Use use) {
  constexpr uint64_t kAtOnce = 2048;  // so many fit in the CPU's cache
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

nb::object null_mask_of_parts(Reader& reader, nb::handle indices);

// Whether each sample, or each one at `indices`, is null; None if the column is not nullable.
nb::object null_mask(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  if (column->parts) return null_mask_of_parts(reader, indices);
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

nb::object null_mask_of_parts(Reader& reader, nb::handle indices) {
  ColumnPtr column = reader.column;
  if (!column->parts->is_nullable()) return nb::none();
  std::vector<Piece> pieces =
      indices.is_none() ? pieces_of(*column) : pieces_of(*column, rows_of(*column, indices));
  npy_intp count = 0;
  for (const Piece& piece : pieces) count += static_cast<npy_intp>(piece.count());
  nb::object mask = owned(PyArray_ZEROS(1, &count, NPY_BOOL, 0));
  visit(reader.hints, pieces, [&](const Piece& piece, Reader& of) {
    nb::object some = null_mask(of, nb::none());
    if (!some.is_none()) place_values(piece, data_of<uint8_t>(some), 1, data_of<uint8_t>(mask));
  });
  return mask;
}

// Where samples are; with their sizes after decompression, unless `stored`.
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

// The size of each sample in units of the payload; if `stored`, before decompression.
nb::object sizes(Reader& reader, bool stored) {
  ColumnPtr column = reader.column;
  if (column->parts) return values_of_parts(reader, [&](Reader& of) { return sizes(of, stored); });
  nb::object lengths = new_array(column->rows.count(), NPY_INT64);
  auto values = data_of<int64_t>(lengths);
  uint64_t unit = std::max<uint64_t>(column->part.spans.unit(), 1);
  visit_ranges(*column, stored,
               [&](uint64_t k, Range range) { values[k] = static_cast<int64_t>(range.size / unit); });
  return lengths;
}

// Calls use(k, shape) for rows.
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
  if (column->parts) {
    Reader of{run_at(*column, position).column};
    return shape_of(of, 0);
  }
  check_sizes(*column);
  uint64_t row = column->rows.row(position);
  nb::list extents;
  auto add = [&](uint64_t, const Shape& shape) {
    for (int k = 0; k < shape.rank; ++k) extents.append(shape.dims[static_cast<size_t>(k)]);
  };
  check(visit_shapes(*column, &row, 1, add), column->path());
  return nb::tuple(extents);
}

// The first `columns` extents of every sample, or its rank if `columns` is 0.
nb::object shape_table(Reader& reader, uint64_t columns) {
  ColumnPtr column = reader.column;
  if (column->parts) return values_of_parts(reader, [&](Reader& of) { return shape_table(of, columns); });
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

// Calls use(position), without the GIL, for the samples from `begin` to `end` that are these bytes,
// ascending, as long as it returns true.
template <typename Use>
void visit_equal(const ColumnPtr& column, nb::bytes wanted, uint64_t begin, uint64_t end, Use use) {
  constexpr uint64_t kAtOnce = 8192, kMostBytes = uint64_t{1} << 20;
  check_sizes(*column);
  Span span{reinterpret_cast<const uint8_t*>(wanted.c_str()), wanted.size()};
  std::optional<Zstd::Worker> worker;
  if (column->part.frames.codec) worker.emplace(column->part.frames.codec->worker());
  size_t compared = std::clamp<uint64_t>(kMostBytes / std::max<uint64_t>(span.size, 1), 1, kAtOnce);
  std::vector<Range> ranges;
  std::vector<uint64_t> rows, positions;  // of samples of the right size; only these are read
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
      Batch batch = read_rows(column, {from, to});
      const Column& read = *batch.column;
      bool goes_on = true;
      Status status;
      {
        GilReleased release;
        for (uint64_t at = 0, found = 0; at < batch.rows.size() && goes_on && status.ok(); at += found + 1) {
          const uint64_t* rest = batch.rows.data() + at;
          uint64_t count = batch.rows.size() - at;
          status = worker
                       ? find_decoded(read.part.spans, read.part.frames, *worker, rest, count, span, &found)
                       : find(read.part.spans, rest, count, span, &found);
          if (status.ok() && found < count) goes_on = use(positions[k + at + found]);
        }
      }
      check(status, read);
      if (!goes_on) return;
    }
  }
}

// The first sample from `begin` to `end` that is these bytes; -1: there is none.
int64_t find_bytes(Reader& reader, nb::bytes wanted, uint64_t begin, uint64_t end) {
  ColumnPtr column = reader.column;
  if (column->parts) {
    end = std::min(end, column->rows.count());
    for (uint64_t first = begin; first < end;) {
      Reader of{run_at(*column, first).column};
      int64_t at = find_bytes(of, wanted, 0, end - first);
      if (at >= 0) return static_cast<int64_t>(first) + at;
      first += of.column->rows.count();
    }
    return -1;
  }
  int64_t found = -1;
  visit_equal(column, wanted, begin, std::min(end, column->rows.count()), [&](uint64_t position) {
    found = static_cast<int64_t>(position);
    return false;
  });
  return found;
}

// Whether each sample is these bytes; the stored bytes of a null are none.
nb::object equal_mask(Reader& reader, nb::bytes wanted) {
  ColumnPtr column = reader.column;
  if (column->parts) return values_of_parts(reader, [&](Reader& of) { return equal_mask(of, wanted); });
  uint64_t count = column->rows.count();
  nb::object mask = new_array(count, NPY_BOOL);
  auto is_equal = data_of<uint8_t>(mask);
  std::fill_n(is_equal, count, uint8_t{0});
  visit_equal(column, wanted, 0, count, [&](uint64_t position) {
    is_equal[position] = 1;
    return true;
  });
  return mask;
}

nb::object u64() { return owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT64))); }

// Memory with a range of a file, for an array that is given out.
Memory memory_of(const Column& column, const std::shared_ptr<Mapping>& file, Range range) {
  constexpr uint64_t kMostCopied = uint64_t{64} << 20;
  if (file->data()) {
    const Part& part = column.part;
    bool is_payload = file == part.spans.payload();
    check(file->check_size(is_payload ? part.spans.payload_size() : range.begin + range.size), column.path());
    if (is_payload) {
      part.views->open();
      if (const uint8_t* data = part.views->place(file->data() + range.begin, range.size))
        return {data, nb::borrow(part.views->owner())};
    }
    if (Memory own = own_map(file, range); own.data) return own;
    if (is_payload && range.size > kMostCopied)
      raise(
          nb::borrow(PyExc_MemoryError),
          column.path() + ": " + std::to_string(range.size) +
              " bytes as one array: the system refuses a private map of so many; open the dataset with mode \"c\" "
              "and take fewer samples at once");
  }
  std::shared_ptr<Mapping> memory;
  uint8_t* bytes;
  check(Mapping::allocate(range.size, &memory, &bytes), column.path());
  Status status;
  {
    GilReleased release;
    if (file->data()) {
      memcpy(bytes, file->data() + range.begin, range.size);
    } else {
      status = file->read(range.begin, range.size, bytes);
    }
  }
  check(status, column.path());
  return {bytes, owner_of(memory)};
}

// A read-only array of a range of a file. `data_at`: where its first element is in the range.
nb::object over(const Column& column, const std::shared_ptr<Mapping>& file, Range range, nb::object dtype,
                const std::vector<npy_intp>& shape, const npy_intp* strides = nullptr, uint64_t data_at = 0) {
  Memory memory = memory_of(column, file, range);
  auto descr = reinterpret_cast<PyArray_Descr*>(dtype.release().ptr());
  nb::object array =
      owned(PyArray_NewFromDescr(&PyArray_Type, descr, static_cast<int>(shape.size()), shape.data(), strides,
                                 const_cast<uint8_t*>(memory.data) + data_at, 0, nullptr));
  if (PyArray_SetBaseObject(array_of(array), memory.owner.release().ptr()) != 0) throw nb::python_error();
  return array;
}

// Where samples start and end in the payload, as arrays over the map.
nb::tuple bounds(Reader& reader) {
  ColumnPtr column = reader.column;
  const RowMap& rows = column->rows;
  if (column->parts)
    raise(nb::borrow(PyExc_AttributeError),
          column->path() + ": several datasets have no common starts and ends; use those of each dataset");
  if (!rows.is_contiguous())
    raise(nb::borrow(PyExc_AttributeError),
          column->path() +
              (rows.edits()
                   ? ": samples were deleted or replaced, so starts and ends are not in order; "
                     "call compact first"
                   : ": a view by steps or indices has no starts and ends; use those of the whole dataset"));
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

// Where samples start, and where the last one ends, over the map, and checked, since other libraries do not.
// None if the samples are not in order, or are compressed.
nb::object offsets(Reader& reader) {
  ColumnPtr column = reader.column;
  const Spans& spans = column->part.spans;
  const Index& index = spans.index();
  const RowMap& rows = column->rows;
  if (!rows.is_contiguous() || column->parts || column->part.frames.codec ||
      (index.starts && index.starts != index.ends))
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
    const uint8_t* shared = index.starts->data();  // its pages are those that others have read
    const uint64_t* read =
        shared ? reinterpret_cast<const uint64_t*>(shared) + first : data_of<const uint64_t>(array);
    status = check_order(read, first, count, spans.payload_size() / spans.unit());
  }
  check(status, column->path());
  return array;
}

// All elements of the payload in order, over the map.
nb::object flat(Reader& reader) {
  ColumnPtr column = reader.column;
  if (column->parts)
    raise(nb::borrow(PyExc_AttributeError),
          column->path() +
              ": several datasets have no common memory; use that of each dataset, or take_jagged");
  const Spans& spans = column->part.spans;
  nb::object dtype = column->layout->dtype;
  if (!spans.payload()) return dtype.is_none() ? new_array(0, NPY_UINT8) : new_samples(*column, {0});
  if (dtype.is_none()) dtype = owned(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_UINT8)));
  auto itemsize = static_cast<uint64_t>(nb::cast<int64_t>(dtype.attr("itemsize")));
  uint64_t elements = spans.payload_size() / itemsize;
  return over(*column, spans.payload(), {0, elements * itemsize}, dtype, {static_cast<npy_intp>(elements)});
}

nb::object over_rows(const Column& column, const RowMap& rows, const std::vector<npy_intp>& shape);
nb::object whole_of_parts(Reader& reader, int64_t from, int64_t by, std::optional<uint64_t> samples,
                          bool writable);

// The samples of one shape at positions first, first + step, ..., or all of them, as one array over a private
// map; None if they are not a range of rows. `writable`: what is written to it is seen by no other array.
nb::object whole(Reader& reader, int64_t from, int64_t by, std::optional<uint64_t> samples, bool writable) {
  if (reader.column->parts) return whole_of_parts(reader, from, by, samples, writable);
  ColumnPtr column = writable ? with_rows(*reader.column, reader.column->rows).column : reader.column;
  const Spans& spans = column->part.spans;
  RowMap rows = column->rows.select(from, by, samples.value_or(column->rows.count()));
  auto count = static_cast<npy_intp>(rows.count());
  std::vector<npy_intp> shape{count};
  for (int k = 0; k < column->layout->shape.rank; ++k)
    shape.push_back(static_cast<npy_intp>(column->layout->shape.dims[static_cast<size_t>(k)]));
  nb::object array;
  if (!spans.payload() || count == 0) {
    array = new_samples(*column, shape);
    PyArray_CLEARFLAGS(array_of(array), NPY_ARRAY_WRITEABLE);
  } else if (rows.is_range()) {
    array = over_rows(*column, rows, shape);
  } else {
    return nb::none();
  }
  if (writable) PyArray_ENABLEFLAGS(array_of(array), NPY_ARRAY_WRITEABLE);
  return array;
}

nb::object whole_of_parts(Reader& reader, int64_t from, int64_t by, std::optional<uint64_t> samples,
                          bool writable) {
  Column column = *reader.column;
  column.rows = column.rows.select(from, by, samples.value_or(column.rows.count()));
  uint64_t count = column.rows.count();
  Reader of = count ? Reader{run_at(column, 0).column} : none_of(column);
  return of.column->rows.count() == count ? whole(of, 0, 1, {}, writable) : nb::none();
}

nb::object over_rows(const Column& column, const RowMap& rows, const std::vector<npy_intp>& shape) {
  const Spans& spans = column.part.spans;
  npy_intp count = shape[0];
  uint64_t first = rows.row(0), last = rows.row(static_cast<uint64_t>(count) - 1);
  int64_t step = count > 1 ? static_cast<int64_t>(rows.row(1)) - static_cast<int64_t>(first) : 1;
  auto unit = static_cast<npy_intp>(spans.unit());
  std::vector<npy_intp> strides(shape.size());
  strides[0] = unit * static_cast<npy_intp>(step);
  auto inner = static_cast<npy_intp>(nb::cast<int64_t>(column.layout->dtype.attr("itemsize")));
  for (size_t k = shape.size() - 1; k > 0; --k) {
    strides[k] = column.layout->strides.empty() ? inner : column.layout->strides[k - 1];
    inner *= shape[k];
  }
  bool scattered = !column.layout->strides.empty();
  uint64_t lowest = scattered ? 0 : std::min(first, last), highest = std::max(first, last);
  Range range{lowest * spans.unit(), (highest + 1 - lowest) * spans.unit()};
  if (scattered) range.size = spans.payload_size();
  return over(column, spans.payload(), range, column.layout->dtype, shape, strides.data(),
              (first - lowest) * spans.unit());
}

// An array in C order for DLPack, if NumPy cannot export its dtype. `code`: the dtype's number in DLPack.
nb::object exported(nb::object array, uint8_t code) {
  PyArrayObject* of = array_of(array);
  std::vector<size_t> shape(PyArray_DIMS(of), PyArray_DIMS(of) + PyArray_NDIM(of));
  nb::dlpack::dtype dtype{code, static_cast<uint8_t>(8 * PyArray_ITEMSIZE(of)), 1};
  return nb::cast(
      nb::ndarray<nb::array_api>(PyArray_DATA(of), shape.size(), shape.data(), array, nullptr, dtype));
}

}  // namespace

void define_exports(nb::module_& m) { m.def("exported", &exported); }

void define_tables(nb::class_<Reader>& column) {
  column.def("find", &find_bytes)
      .def("equal_mask", &equal_mask)
      .def("sizes", [](Reader& self) { return sizes(self, false); })
      .def("stored_sizes", [](Reader& self) { return sizes(self, true); })
      .def("null_mask", &null_mask, nb::arg().none())
      .def(
          "stored_rows", [](Reader& self, nb::handle indices) { return physical_rows(self, indices, true); },
          nb::arg().none())
      .def(
          "base_rows", [](Reader& self, nb::handle indices) { return physical_rows(self, indices, false); },
          nb::arg().none())
      .def("shape_of", &shape_of)
      .def("shape_table", &shape_table)
      .def("bounds", &bounds)
      .def("offsets", &offsets)
      .def("flat", &flat)
      .def("whole", &whole, nb::arg("first") = 0, nb::arg("step") = 1, nb::arg("count").none() = nb::none(),
           nb::kw_only(), nb::arg("writable") = false);
}

}  // namespace mmap_ninja
