// The hot slots: samples by index and in order.

#include "samples.h"

#include <nanobind/stl/vector.h>
#include <string.h>

#include <algorithm>
#include <new>

#include "utf8.h"

namespace mmap_ninja {
namespace {

const char* const kIndexing = "_get_many";         // what is done with all keys but integers
const char* const kAttachAgain = "_attach_again";  // what a handle does that had no memory for its map

// The name of what a handle shows, beside the column. One object for ever: Python looks up what it has met.
nb::handle state_name() {
  static PyObject* const name = PyUnicode_InternFromString("_state");
  return name;
}

// ---- objects from spans

// `ascii`: whether the text before was, as this one then most likely is. It saves ASCII text a pass, and
// other text an allocation in vain.
PyObject* decode_text(Span span, bool* ascii, Status* status) {
  uint64_t prefix = 0;  // known to be ASCII
  if (*ascii) {
    PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(span.size), 127);
    if (!text) return nullptr;
    prefix = copy_ascii(PyUnicode_1BYTE_DATA(text), span.data, span.size);
    if (prefix == span.size) [[likely]]
      return text;
    Py_DECREF(text);
  }
  const uint8_t* rest = span.data + prefix;
  TextMeasure measure = measure_utf8(rest, span.size - prefix);
  if (!measure.valid) {
    *status = {.code = Code::bad_text, .found = prefix + measure.error_offset};
    return nullptr;
  }
  *ascii = measure.ascii;
  constexpr Py_UCS4 kLargest[] = {0, 0xff, 0xffff, 0, 0x10ffff};
  PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(prefix + measure.num_chars),
                                 measure.ascii ? 127 : kLargest[measure.width]);
  if (!text) return nullptr;
  if (measure.width == 1) {
    memcpy(PyUnicode_1BYTE_DATA(text), span.data, prefix);
    decode_latin1(rest, span.size - prefix, PyUnicode_1BYTE_DATA(text) + prefix);
  }
  if (measure.width == 2) decode_ucs2(span.data, span.size, PyUnicode_2BYTE_DATA(text));
  if (measure.width == 4) decode_ucs4(span.data, span.size, PyUnicode_4BYTE_DATA(text));
  return text;
}

const npy_intp* extents(const Shape& shape) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t));
  return reinterpret_cast<const npy_intp*>(shape.dims.data());
}

PyArray_Descr* new_descr(const Column& column) {
  return reinterpret_cast<PyArray_Descr*>(nb::object(column.layout->dtype).release().ptr());
}

// A read-only array over the map.
PyObject* view(const Column& column, const Shape& shape, const uint8_t* data) {
  const std::vector<npy_intp>& own = column.layout->strides;
  const npy_intp* strides = own.empty() ? nullptr : own.data();
  PyObject* array = PyArray_NewFromDescr(&PyArray_Type, new_descr(column), shape.rank, extents(shape),
                                         strides, const_cast<uint8_t*>(data), 0, nullptr);
  if (!array) return nullptr;
  Py_INCREF(column.owner.ptr());
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array), column.owner.ptr()) != 0) {
    Py_DECREF(array);
    return nullptr;
  }
  return array;
}

PyObject* frozen(const Column& column, PyObject* array) {
  if (array && column.is_frozen)
    PyArray_CLEARFLAGS(reinterpret_cast<PyArrayObject*>(array), NPY_ARRAY_WRITEABLE);
  return array;
}

// An array of its own, writable unless it stands for a view.
PyObject* copy(const Column& column, const Shape& shape, Span span) {
  if (!column.layout->strides.empty()) {
    PyObject* source = view(column, shape, span.data);
    if (!source) return nullptr;
    PyObject* array = PyArray_NewCopy(reinterpret_cast<PyArrayObject*>(source), NPY_CORDER);
    Py_DECREF(source);
    return frozen(column, array);
  }
  PyObject* array = PyArray_NewFromDescr(&PyArray_Type, new_descr(column), shape.rank, extents(shape),
                                         nullptr, nullptr, 0, nullptr);
  if (!array) return nullptr;
  memcpy(PyArray_DATA(reinterpret_cast<PyArrayObject*>(array)), span.data, span.size);
  return frozen(column, array);
}

PyObject* decode_array(const Samples& samples, const Column& column, uint64_t row, Span span, bool owns,
                       Status* status) {
  bool copies = owns || samples.copies;
  if (samples.kind == SampleKind::array) {
    const Shape& shape = column.layout->shape;
    if (shape.rank == 0)
      return PyArray_Scalar(const_cast<uint8_t*>(span.data),
                            reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr()), nullptr);
    return copies ? copy(column, shape, span) : view(column, shape, span.data);
  }
  Shape shape;
  *status = column.shapes.at(row, span.size / column.spans.unit(), &shape);
  if (!status->ok()) return nullptr;
  PyObject* array = copies ? copy(column, shape, span) : view(column, shape, span.data);
  if (!array && PyErr_ExceptionMatches(PyExc_ValueError)) {  // an empty shape whose other extents are too big
    PyErr_Clear();
    *status = {.code = Code::bad_shape, .row = row, .found = span.size / column.spans.unit()};
  }
  return array;
}

[[gnu::noinline]] PyObject* wrap_by(nb::object wrapper, PyObject* sample) {
  PyObject* wrapped = may_run_python([&] { return PyObject_CallOneArg(wrapper.ptr(), sample); });
  Py_DECREF(sample);
  return wrapped;
}

PyObject* wrap(const Samples& samples, PyObject* sample) {
  if (!sample || samples.wrapper.is_none()) [[likely]]
    return sample;
  return wrap_by(samples.wrapper, sample);
}

// One sample of a compressed column.
PyObject* decode_frame(Samples& samples, const Column& column, uint64_t row, Span frame, Status* status) {
  uint64_t size;
  *status = column.frames.size(row, frame, &size);
  if (!status->ok()) return nullptr;
  Zstd::Worker worker = column.frames.codec->worker();
  const uint8_t* sample = nullptr;
  *status = worker.decode(frame, size, &sample);
  return status->ok() ? decode_plain(samples, column, row, {sample, size}, status) : nullptr;
}

// ---- slots

Samples* samples_of(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "the dataset was never opened");
    return nullptr;
  }
  return nb::inst_ptr<Samples>(self);
}

// For slots: whether a function that may throw has not.
template <typename Function>
bool succeeds(Function function) {
  try {
    function();
    return true;
  } catch (nb::python_error& error) {
    error.restore();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  }
  return false;
}

inline PyObject* get_direct(Samples& samples, const Column& column, uint64_t row) {
  Span span;
  Status status = column.spans.at(row, &span);
  if (status.ok()) [[likely]] {
    PyObject* sample = decode(samples, column, row, span, false, &status);
    if (sample || status.ok()) [[likely]]
      return sample;
    status.row = row;
  }
  status.row = column.origin(status.row);
  set_error(status, samples.path);
  return nullptr;
}

// A record, or a sample of files that are not mapped.
[[gnu::noinline]] PyObject* get_indirect(Samples& samples, const Column& column, uint64_t row) {
  if (column.access == Access::map) return decode_record(column, row, samples.copies);
  std::shared_ptr<const Column> kept = samples.column, fetched;  // another thread may close the handle
  if (!succeeds([&] { fetched = fetch(column, {row}, {}, samples.path); })) return nullptr;
  return fetched->fields ? decode_record(*fetched, 0, samples.copies) : get_direct(samples, *fetched, 0);
}

inline PyObject* get(Samples& samples, const Column& column, uint64_t row) {
  return column.is_direct ? get_direct(samples, column, row) : get_indirect(samples, column, row);
}

[[gnu::noinline]] PyObject* subscript_many(PyObject* self, PyObject* key) {
  // "(O)": a tuple is one argument, too.
  return may_run_python([&] { return PyObject_CallMethod(self, kIndexing, "(O)", key); });
}

PyObject* subscript(PyObject* self, PyObject* key) {
  Samples* samples = samples_of(self);
  if (!samples) return nullptr;
  if (!PyLong_CheckExact(key)) {
    // Those of other types, such as tensors of one element, are told apart in Python.
    bool is_integer = PyArray_IsScalar(key, Integer) || (PyLong_Check(key) && !PyBool_Check(key));
    if (!is_integer) return subscript_many(self, key);
  }
  Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred()) return nullptr;
  // After the key's own code, which may have closed the handle; a wrapper may, too, after the sample is made.
  const Column* column = samples->column.get();
  if (!column) [[unlikely]] {
    if (!succeeds([&] { column = open_column(*samples).get(); })) return nullptr;
  }
  auto count = static_cast<Py_ssize_t>(column->rows.count());
  Py_ssize_t position = index < 0 ? index + count : index;
  if (position < 0 || position >= count) [[unlikely]] {
    set_error(
        {.code = Code::row_range, .found = static_cast<uint64_t>(index), .expected = column->rows.count()},
        samples->path);
    return nullptr;
  }
  return get(*samples, *column, column->rows.row(static_cast<uint64_t>(position)));
}

// What `bisect` and NumPy call, which take for a list only what has this slot.
PyObject* item(PyObject* self, Py_ssize_t index) {
  nb::object key = nb::steal(PyLong_FromSsize_t(index));
  return key.is_valid() ? subscript(self, key.ptr()) : nullptr;
}

Py_ssize_t length(PyObject* self) {
  Samples* samples = samples_of(self);
  if (!samples) return -1;
  if (!samples->column && !succeeds([&] { (void)open_column(*samples); })) [[unlikely]]
    return -1;
  return static_cast<Py_ssize_t>(samples->column->rows.count());
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  Samples* samples = nb::inst_ptr<Samples>(self);
  Py_VISIT(samples->wrapper.ptr());
  return 0;
}

int clear(PyObject* self) {
  if (nb::inst_ready(self)) nb::inst_ptr<Samples>(self)->wrapper = nb::none();
  return 0;
}

// ---- iteration

// Goes over the samples that the handle saw when it was made, whatever happens to the handle meanwhile.
struct Iterator {
  Samples samples;
  uint64_t next = 0;
  std::shared_ptr<const Decoded> ahead;  // of a compressed column: samples from `ahead_first` on
  uint64_t ahead_first = 0;
  uint64_t run_first = 0;  // position of a run of samples that are stored one after the other
  uint64_t run_count = 0;
  uint64_t run_row = 0;
  std::shared_ptr<const Column> chunk = {};  // where nothing is mapped: samples from `chunk_first` on
  uint64_t chunk_first = 0;
  bool freezes = false;
  uint64_t next_look = 0;  // position from which on reading ahead goes on

  // Where a sample is stored; looked up once per run.
  uint64_t row(const RowMap& rows, uint64_t position) {
    if (position - run_first >= run_count) {
      run_first = position;
      run_row = rows.row(position, &run_count);
    }
    return run_row + (position - run_first);
  }

  static constexpr uint64_t kStep = uint64_t{2} << 20;
  static constexpr uint64_t kMostUnseen = 16;

  // Reads ahead of a sequential pass, once per map: page faults cost as much as the copies.
  Status read_ahead(const Column& column, uint64_t position, uint64_t row) {
    next_look = position + kMostUnseen;
    // Not where a replaced sample lies: the next one is elsewhere.
    if (!column.rows.is_ordered() || column.rows.base(position) != row) return {};
    if (!column.fields) return read_ahead_of(column, position, row);
    for (const Fields::Field& field : column.fields->fields)
      if (Status status = read_ahead_of(*field.samples.column, position, row); !status.ok()) return status;
    return {};
  }

  Status read_ahead_of(const Column& column, uint64_t position, uint64_t row) {
    const Spans& spans = column.spans;
    uint64_t begin, size;
    if (!column.layout->strides.empty() || !spans.payload() || !spans.range(row, &begin, &size).ok())
      return {};
    Mapping& payload = *spans.payload();
    next_look =
        std::min(next_look, position + std::max<uint64_t>(kStep / 2 / std::max<uint64_t>(size, 1), 1));
    uint64_t end = std::min(begin + size + kStep / 2, spans.payload_size());
    if (payload.is_populated(begin, end)) [[likely]]
      return {};
    end = std::min(begin + size + kStep, spans.payload_size());
    GilReleased release;
    payload.will_need(end, std::min(end + kStep, spans.payload_size()));
    return payload.populate(begin, end);
  }

  // Where nothing is mapped: a chunk of samples that a position is in, read now if it is in none. `position`
  // is the one in the chunk then.
  std::shared_ptr<const Column> chunk_of(uint64_t* position) {
    // Whoever wants one sample should not wait for many; by doubling, nobody reads twice what is asked for.
    constexpr uint64_t kMost = 256, kMostBytes = uint64_t{1} << 20;
    std::shared_ptr<const Column> kept = chunk;
    uint64_t first = chunk_first, count = kept ? kept->rows.count() : 0;
    if (*position - first >= count) {
      const Column& column = *samples.column;
      count = count && *position == first + count ? std::min(2 * count, kMost) : 1;
      if (!column.layout->strides.empty()) count = column.rows.count();  // each needs all of the file
      std::vector<uint64_t> rows(std::min(count, column.rows.count() - *position));
      for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(*position + k);
      FetchOptions options{.most_bytes = kMostBytes, .one_by_one = freezes};
      try {
        kept = fetch(column, rows, options, samples.path);
      } catch (nb::python_error&) {  // one of them is damaged: the others come before and after it
        if (rows.size() == 1) throw;
        rows.resize(1);
        kept = fetch(column, rows, options, samples.path);
      }
      chunk = kept;
      chunk_first = first = *position;
      ahead.reset();
    }
    *position -= first;
    return kept;
  }
};

// A sample of a compressed column. The next ones are decoded with it, on several threads.
PyObject* next_decoded(Iterator& iterator, const Column& column, uint64_t position, uint64_t row) {
  // As for chunks; what is in one was asked for by doubling already.
  constexpr uint64_t kMost = 256;
  Samples& samples = iterator.samples;
  std::shared_ptr<const Decoded> ahead = iterator.ahead;
  uint64_t at = position - iterator.ahead_first;
  if (!ahead || at >= ahead->count) {
    uint64_t count = ahead && at == ahead->count ? std::min(2 * ahead->count, kMost) : 1;
    if (column.is_fetched()) count = kMost;
    std::vector<uint64_t> rows(std::min(count, column.rows.count() - position));
    for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(position + k);
    auto decoded = std::make_shared<Decoded>();
    Status status = decoded->decode(column, rows.data(), rows.size());
    if (decoded->count == 0) {
      status.row = column.origin(status.row);
      set_error(status, samples.path);
      return nullptr;
    }
    ahead = std::move(decoded);
    if (!column.is_fetched() || iterator.chunk.get() == &column) {  // no other thread has gone on meanwhile
      iterator.ahead = ahead;
      iterator.ahead_first = position;
    }
    at = 0;
  }
  Status status;
  PyObject* sample = decode_plain(samples, column, row, ahead->at(at), &status);
  if (sample || status.ok()) [[likely]]
    return sample;
  status.row = column.origin(row);
  set_error(status, samples.path);
  return nullptr;
}

PyObject* iterate(PyObject* self) {
  Samples* samples = samples_of(self);
  if (!samples || (!samples->column && !succeeds([&] { (void)open_column(*samples); }))) return nullptr;
  try {
    Iterator iterator{*samples};
    if (samples->column->access == Access::pread) {
      // One array that somebody keeps must not keep a whole chunk.
      iterator.freezes = !samples->copies;
      iterator.samples.copies = true;
    }
    return nb::cast(std::move(iterator)).release().ptr();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
    return nullptr;
  }
}

PyObject* iterator_next(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "an iterator is made by iter() of a dataset");
    return nullptr;
  }
  Iterator* iterator = nb::inst_ptr<Iterator>(self);
  const Column& column = *iterator->samples.column;
  if (iterator->next >= column.rows.count()) return nullptr;
  // Taken before the GIL is released below: other threads may share the iterator.
  uint64_t position = iterator->next++;
  if (column.access == Access::pread) {
    std::shared_ptr<const Column> chunk;
    if (!succeeds([&] { chunk = iterator->chunk_of(&position); })) return nullptr;
    if (chunk->frames.codec) return next_decoded(*iterator, *chunk, position, position);
    return get(iterator->samples, *chunk, position);
  }
  if (position % 256 == 0 && !succeeds([&] { check_sizes(column, iterator->samples.path); })) return nullptr;
  uint64_t row = iterator->row(column.rows, position);
  if (position >= iterator->next_look) {
    Status status = iterator->read_ahead(column, position, row);
    if (!status.ok()) {
      set_error(status, iterator->samples.path);
      return nullptr;
    }
  }
  if (column.frames.codec) return next_decoded(*iterator, column, position, row);
  return get(iterator->samples, column, row);
}

PyObject* itself(PyObject* self) {
  Py_INCREF(self);
  return self;
}

// ---- what a handle sees

using MapPtr = std::shared_ptr<Mapping>;

MapPtr map(const Samples& samples, int fd, uint64_t size, const char* what) {
  MapPtr mapping;
  check(Mapping::open(fd, size, samples.access, what, &mapping), samples.path);
  return mapping;
}

// The same file at a later commit: mapped again only where it has outgrown its reservation.
MapPtr grown(const std::string& path, const MapPtr& mapping, uint64_t size) {
  MapPtr result = mapping;
  if (mapping && size > mapping->capacity()) check(mapping->reopen(size, &result), path);
  return result;
}

uint64_t rows_size(const std::string& path, uint64_t rows, uint64_t unit) {
  uint64_t size;
  if (__builtin_mul_overflow(rows, unit, &size) || size > INT64_MAX)
    raise({.code = Code::overflow, .what = "dataset"}, path);
  return size;
}

uint64_t sizes_size(uint64_t rows) { return rows * sizeof(uint32_t); }

uint64_t offsets_size(uint64_t rows) { return (rows + 1) * sizeof(uint64_t); }

Index offsets_index(MapPtr offsets) { return {offsets, offsets, sizeof(uint64_t)}; }

// The rows of a column that is attached now.
void show(Samples& samples, uint64_t rows, Spans spans, Frames frames = {}) {
  Column column;
  column.rows = RowMap(rows);
  column.owner = owner_of(spans.payload());
  column.spans = std::move(spans);
  column.frames = std::move(frames);
  column.layout = samples.layout;
  column.stored = rows;
  column.access = samples.access;
  column.is_direct = samples.access == Access::map;
  samples.column = std::make_shared<const Column>(std::move(column));
}

// The same column, other rows.
void share(Samples& samples, const Column& seen, RowMap rows) {
  Column column = seen;
  column.rows = std::move(rows);
  samples.access = column.access;
  samples.column = std::make_shared<const Column>(std::move(column));
}

// Rows of one size, `unit` bytes apart.
void attach_fixed(Samples& samples, int payload_fd, uint64_t payload_size, uint64_t unit, uint64_t rows) {
  uint64_t needed = rows_size(samples.path, rows, unit);
  if (needed > payload_size)
    raise({.code = Code::short_file, .what = "data", .found = payload_size, .expected = needed},
          samples.path);
  show(samples, rows, {map(samples, payload_fd, payload_size, "data"), payload_size, unit, {}});
}

// Rows of any size. `codec`: what they are compressed with, `sizes_fd` saying what each decodes to.
void attach(Samples& samples, int payload_fd, uint64_t payload_size, uint64_t unit, int offsets_fd,
            uint64_t rows, nb::handle codec, int sizes_fd) {
  MapPtr offsets = map(samples, offsets_fd, offsets_size(rows), "offsets");
  Frames frames;
  if (!codec.is_none()) frames = {codec_of(codec), map(samples, sizes_fd, sizes_size(rows), "sizes")};
  show(samples, rows,
       {map(samples, payload_fd, payload_size, "data"), payload_size, unit, offsets_index(offsets)},
       std::move(frames));
}

// The directories of 0.x: starts and ends in files of their own, and only the frames say what they decode to.
void attach_legacy(Samples& samples, int payload_fd, uint64_t payload_size, uint64_t unit, int starts_fd,
                   int ends_fd, uint64_t rows, nb::handle codec) {
  uint64_t size = rows * sizeof(uint64_t);
  Index index{map(samples, starts_fd, size, "starts"), map(samples, ends_fd, size, "ends"), 0};
  Frames frames;
  if (!codec.is_none()) frames.codec = codec_of(codec);
  show(samples, rows, {map(samples, payload_fd, payload_size, "data"), payload_size, unit, std::move(index)},
       std::move(frames));
}

void attach_shapes(Samples& samples, Shapes shapes) {
  Column column = *samples.column;
  column.shapes = std::move(shapes);
  samples.column = std::make_shared<const Column>(std::move(column));
}

// The shapes of the rows: form 0 one element each, 1 as long as their spans, 2 and 3 rows of `width` numbers.
void attach_shape_rows(Samples& samples, int form, int fd, uint64_t width) {
  uint64_t rows = samples.column->rows.count();
  auto shape_form = static_cast<ShapeForm>(form);
  if (shape_form < ShapeForm::rows) return attach_shapes(samples, {shape_form, {nullptr, 0, 0, {}}});
  uint64_t unit = width * sizeof(uint64_t), size = rows_size(samples.path, rows, unit);
  attach_shapes(samples, {shape_form, {map(samples, fd, size, "shapes"), size, unit, {}}});
}

void attach_legacy_shape_rows(Samples& samples, int fd, uint64_t width) {
  uint64_t rows = samples.column->rows.count();
  uint64_t unit = width * sizeof(uint64_t), size = rows_size(samples.path, rows, unit);
  attach_shapes(samples, {ShapeForm::legacy, {map(samples, fd, size, "shapes"), size, unit, {}}});
}

void attach_legacy_shape_spans(Samples& samples, int fd, uint64_t size, int starts_fd, int ends_fd) {
  uint64_t rows = samples.column->rows.count(), index_size = rows * sizeof(uint64_t);
  Index index{map(samples, starts_fd, index_size, "starts of shapes"),
              map(samples, ends_fd, index_size, "ends of shapes"), 0};
  attach_shapes(samples, {ShapeForm::legacy,
                          {map(samples, fd, size, "shapes"), size, sizeof(uint64_t), std::move(index)}});
}

// The same files at another commit of so many rows.
std::shared_ptr<const Column> grown(const std::string& path, const Column& seen, uint64_t payload_size,
                                    uint64_t rows, RowMap map) {
  auto grow_spans = [&](const Spans& spans, uint64_t size) -> Spans {
    Index index = spans.index();
    if (index.starts) index = offsets_index(grown(path, index.starts, offsets_size(rows)));
    return {grown(path, spans.payload(), size), size, spans.unit(), std::move(index)};
  };
  Column column = seen;
  column.rows = std::move(map);
  column.stored = rows;
  column.spans = grow_spans(seen.spans, payload_size);
  const Spans& shapes = seen.shapes.spans();
  column.shapes = {seen.shapes.form(), grow_spans(shapes, rows_size(path, rows, shapes.unit()))};
  // The same map, the same owner: only a batch that outgrew the reservation makes a new one.
  if (column.spans.payload() != seen.spans.payload()) column.owner = owner_of(column.spans.payload());
  if (seen.frames.codec) column.frames.sizes = grown(path, seen.frames.sizes, sizes_size(rows));
  column.nulls = grown(path, seen.nulls, rows);
  return std::make_shared<const Column>(std::move(column));
}

// What an object shows, and what it is of. They change in one step, in which no Python code runs.
void publish(nb::handle self, std::shared_ptr<const Column> column, nb::handle state) {
  auto& samples = nb::cast<Samples&>(self);
  nb::object before = nb::getattr(self, state_name(), nb::none());  // let go of when both have changed
  nb::setattr(self, state_name(), state);
  if (column) {
    samples.layout = column->layout;
    samples.access = column->access;
  }
  samples.column.swap(column);
}

void grow(nb::handle self, const std::vector<uint64_t>& payload_sizes, uint64_t rows, const PyEdits& edits,
          nb::handle state) {
  auto& samples = nb::cast<Samples&>(self);
  std::shared_ptr<const Column> seen = open_column(samples);
  RowMap map(rows, edits.edits);
  if (payload_sizes.size() != (seen->fields ? seen->fields->fields.size() : 1))
    raise(nb::borrow(PyExc_ValueError), samples.path + ": has another number of columns");
  if (!seen->fields)
    return publish(self, grown(samples.path, *seen, payload_sizes[0], rows, std::move(map)), state);
  auto fields = std::make_shared<Fields>(*seen->fields);
  for (size_t k = 0; k < fields->fields.size(); ++k) {
    Samples& field = fields->fields[k].samples;
    field.column = grown(samples.path, *field.column, payload_sizes[k], rows, RowMap(rows));
  }
  Column column = *seen;
  column.rows = std::move(map);
  column.fields = std::move(fields);
  publish(self, std::make_shared<const Column>(std::move(column)), state);
}

// Which rows of the column that is attached are null: a byte each.
void attach_nulls(Samples& samples, int fd) {
  Column column = *open_column(samples);
  column.nulls = map(samples, fd, column.rows.count(), "nulls");
  samples.column = std::make_shared<const Column>(std::move(column));
}

// Records of the columns that were attached to other objects, which have the same rows. `keys`: those that
// lead to each.
void attach_fields(Samples& samples, const std::vector<nb::tuple>& keys,
                   const std::vector<const Samples*>& columns) {
  auto fields = std::make_shared<Fields>();
  fields->groups.push_back({0, nb::none(), 0});
  nb::dict groups;
  for (size_t k = 0; k < columns.size(); ++k) {
    size_t group = 0, depth = keys[k].size() - 1;
    nb::tuple path;
    for (size_t level = 0; level < depth; ++level) {
      path = nb::tuple(path + nb::make_tuple(keys[k][level]));
      if (!groups.contains(path)) {
        groups[path] = fields->groups.size();
        fields->groups.push_back({group, nb::borrow(keys[k][level]), k});
      }
      group = nb::cast<size_t>(groups[path]);
    }
    fields->fields.push_back({group, nb::borrow(keys[k][depth]), *columns[k]});
  }
  Column column;
  column.layout = samples.layout;
  column.access = samples.access;
  column.is_direct = false;
  if (!columns.empty()) column.rows = open_column(*columns[0])->rows;
  column.fields = std::move(fields);
  samples.column = std::make_shared<const Column>(std::move(column));
}

// The samples of one column of records.
void show_field(Samples& samples, const Samples& records, size_t place) {
  std::shared_ptr<const Column> seen = open_column(records);
  if (!seen->fields || place >= seen->fields->fields.size())
    raise(nb::borrow(PyExc_IndexError), records.path + ": has no column " + std::to_string(place));
  const Samples& field = seen->fields->fields[place].samples;
  samples.layout = field.layout;
  samples.wrapper = field.wrapper;
  share(samples, *field.column, seen->rows);
}

// What the arrays are made of that are attached next. `strides`: in bytes, of samples that are not stored in
// C order.
void describe(Samples& samples, nb::object dtype, const std::vector<int64_t>& shape,
              const std::vector<npy_intp>& strides) {
  if (!PyArray_DescrCheck(dtype.ptr()) || shape.size() > kMaxRank)
    raise(nb::borrow(PyExc_TypeError), "a dtype and a shape were expected");
  Layout layout{std::move(dtype), {}, strides};
  layout.shape.rank = static_cast<int>(shape.size());
  std::copy(shape.begin(), shape.end(), layout.shape.dims.begin());
  samples.layout = std::make_shared<const Layout>(std::move(layout));
}

// The rank that all ragged samples have, as far as the way that their shapes are stored tells it.
nb::object rank_of_all(const Samples& samples) {
  const Shapes& shapes = open_column(samples)->shapes;
  switch (shapes.form()) {
    case ShapeForm::scalar:
      return nb::int_(0);
    case ShapeForm::flat:
      return nb::int_(1);
    case ShapeForm::rows:
      return nb::int_(shapes.spans().unit() / sizeof(uint64_t));
    default:
      return nb::none();
  }
}

// What edits make of the rows that were attached.
void apply_edits(Samples& samples, const PyEdits& edits) {
  const Column& seen = *open_column(samples);
  share(samples, seen, RowMap(seen.rows.count(), edits.edits));
}

// A view of `count` of the parent's samples: start, start + step, ... in the parent's positions.
void select_range(Samples& samples, const Samples& parent, int64_t start, int64_t step, uint64_t count) {
  std::shared_ptr<const Column> seen = open_column(parent);
  if (count == 0) return share(samples, *seen, RowMap(0));
  int64_t last = start + step * static_cast<int64_t>(count - 1),
          rows = static_cast<int64_t>(seen->rows.count());
  if (std::min(start, last) < 0 || std::max(start, last) >= rows)
    raise({.code = Code::row_range, .found = static_cast<uint64_t>(last), .expected = seen->rows.count()},
          samples.path);
  share(samples, *seen, seen->rows.select(start, step, count));
}

void select_positions(Samples& samples, const Samples& parent, nb::handle indices) {
  // Kept alive: `rows_of` may run Python code, and another thread's append or close then.
  std::shared_ptr<const Column> seen = open_column(parent);
  std::vector<uint64_t> chosen = rows_of(*seen, indices);
  std::shared_ptr<int64_t[]> rows(new int64_t[chosen.size()]);
  std::copy(chosen.begin(), chosen.end(), rows.get());
  share(samples, *seen, RowMap(chosen.size(), std::move(rows)));
}

SampleKind kind_of(const std::string& name) {
  if (name == "text") return SampleKind::text;
  if (name == "binary") return SampleKind::binary;
  if (name == "record") return SampleKind::record;
  return name == "array" ? SampleKind::array : SampleKind::ragged;
}

}  // namespace

PyObject* decode_plain(Samples& samples, const Column& column, uint64_t row, Span span, Status* status) {
  if (column.is_null(row)) Py_RETURN_NONE;
  if (samples.kind == SampleKind::text) return wrap(samples, decode_text(span, &samples.ascii, status));
  return wrap(samples, PyBytes_FromStringAndSize(reinterpret_cast<const char*>(span.data),
                                                 static_cast<Py_ssize_t>(span.size)));
}

PyObject* decode(Samples& samples, const Column& column, uint64_t row, Span span, bool owns, Status* status) {
  if (column.is_null(row)) Py_RETURN_NONE;
  if (samples.kind > SampleKind::binary)
    return wrap(samples, decode_array(samples, column, row, span, owns, status));
  if (column.frames.codec) return decode_frame(samples, column, row, span, status);
  return decode_plain(samples, column, row, span, status);
}

PyObject* decode_record(const Column& column, uint64_t row, bool owns) {
  std::shared_ptr<const Fields> fields = column.fields;  // a wrapper may close the handle
  std::vector<nb::object> dicts;
  dicts.reserve(fields->groups.size());
  for (size_t k = 0; k < fields->fields.size(); ++k) {
    for (size_t next = dicts.size(); next < fields->groups.size(); ++next) {
      const Fields::Group& group = fields->groups[next];
      if (group.first_field > k) break;
      dicts.push_back(nb::steal(PyDict_New()));
      if (!dicts.back().is_valid()) return nullptr;
      if (next > 0 && PyDict_SetItem(dicts[group.parent].ptr(), group.key.ptr(), dicts.back().ptr()) != 0)
        return nullptr;
    }
    const Fields::Field& field = fields->fields[k];
    const Column& of_field = *field.samples.column;
    Span span;
    Status status = of_field.spans.at(row, &span);
    nb::object value;
    if (status.ok()) value = nb::steal(decode(field.samples, of_field, row, span, owns, &status));
    if (!value.is_valid()) {
      status.row = of_field.origin(row);
      if (!status.ok()) set_error(status, field.samples.path);
      return nullptr;
    }
    if (PyDict_SetItem(dicts[field.group].ptr(), field.key.ptr(), value.ptr()) != 0) return nullptr;
  }
  return dicts[0].release().ptr();
}

Status Decoded::decode(const Column& column, const uint64_t* rows, uint64_t size) {
  constexpr int64_t kMostBytes = int64_t{4} << 20;
  const Frames& frames = column.frames;
  offsets.resize(size + 1);
  Status measured, decoded;
  {
    GilReleased release;
    measured = measure_decoded(column.spans, frames, rows, size, offsets.data(), &count);
  }
  if (count == 0) return measured;
  if (offsets[count] > kMostBytes) {
    auto end =
        std::upper_bound(offsets.begin() + 1, offsets.begin() + static_cast<int64_t>(count), kMostBytes);
    count = std::max<uint64_t>(1, static_cast<uint64_t>(end - offsets.begin()) - 1);
    measured = {};
  }
  auto bytes = static_cast<uint64_t>(offsets[count]);
  values.reset(new (std::nothrow) uint8_t[bytes]);
  if (!values) {
    count = 0;
    return {.code = Code::no_memory};
  }
  std::vector<Zstd::Worker> workers = batch_workers(*frames.codec, bytes);
  {
    GilReleased release;
    decoded = decode_batch(column.spans, workers, rows, count, offsets.data(), values.get(), &count);
  }
  return decoded.ok() ? measured : decoded;
}

nb::object owner_of(const std::shared_ptr<Mapping>& payload) {
  using Kept = std::shared_ptr<Mapping>;
  return nb::capsule(new Kept(payload), [](void* kept) noexcept { delete static_cast<Kept*>(kept); });
}

std::shared_ptr<const Column> open_column(const Samples& samples) {
  if (samples.column) [[likely]]
    return samples.column;
  nb::object self = nb::find(samples);
  if (self.is_valid() && nb::hasattr(self, kAttachAgain))
    may_run_python([&] { return nb::object(self.attr(kAttachAgain)()); });
  if (!samples.column) raise({.code = Code::closed}, samples.path);
  return samples.column;
}

nb::object new_samples(const Samples& samples, const Column& column, const std::vector<npy_intp>& shape) {
  if (column.layout->dtype.is_none())
    raise(nb::borrow(PyExc_ValueError), samples.path + ": holds no arrays yet, so no dtype is known");
  return owned(PyArray_NewFromDescr(&PyArray_Type, new_descr(column), static_cast<int>(shape.size()),
                                    shape.data(), nullptr, nullptr, 0, nullptr));
}

void define_samples(nb::module_& m) {
  static PyType_Slot samples_slots[] = {
      {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
      {Py_mp_length, reinterpret_cast<void*>(length)},
      {Py_sq_length, reinterpret_cast<void*>(length)},
      {Py_sq_item, reinterpret_cast<void*>(item)},
      {Py_tp_iter, reinterpret_cast<void*>(iterate)},
      {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
      {Py_tp_clear, reinterpret_cast<void*>(clear)},
      {0, nullptr},
  };
  static PyType_Slot iterator_slots[] = {
      {Py_tp_iter, reinterpret_cast<void*>(itself)},
      {Py_tp_iternext, reinterpret_cast<void*>(iterator_next)},
      {0, nullptr},
  };
  nb::class_<Iterator>(m, "SamplesIterator", nb::type_slots(iterator_slots))
      .def("__length_hint__", [](const Iterator& it) { return it.samples.column->rows.count() - it.next; });
  nb::class_<Samples> samples(m, "Samples", nb::type_slots(samples_slots));
  samples
      .def("__init__",
           [](Samples* self, const std::string& kind, const std::string& path) {
             new (self) Samples{.kind = kind_of(kind),
                                .path = path,
                                .column = {},
                                .layout = std::make_shared<const Layout>(),
                                .wrapper = nb::none()};
           })
      .def("_attach", &attach, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
           nb::arg("codec").none() = nb::none(), nb::arg("sizes_fd") = -1)
      .def("_attach_fixed", &attach_fixed)
      .def("_attach_legacy", &attach_legacy, nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(), nb::arg(),
           nb::arg("codec").none() = nb::none())
      .def("_attach_shapes", &attach_shape_rows)
      .def("_attach_legacy_shape_rows", &attach_legacy_shape_rows)
      .def("_attach_legacy_shape_spans", &attach_legacy_shape_spans)
      .def("_attach_nothing", [](Samples& self) { show(self, 0, {nullptr, 0, 0, {}}); })
      .def("_attach_nulls", &attach_nulls)
      .def("_attach_fields", &attach_fields)
      .def("_show_field", &show_field)
      .def(
          "_show_column",
          [](nb::handle self, const Samples& attached, nb::handle state) {
            publish(self, open_column(attached), state);
          },
          nb::arg(), nb::arg("state").none())
      .def("_share_column",
           [](Samples& self, nb::handle parent) {
             auto& of = nb::cast<Samples&>(parent);
             (void)open_column(of);
             nb::object state = nb::getattr(parent, state_name(), nb::none());
             std::shared_ptr<const Column> column = of.column;  // of the same moment: no Python code has run
             self.layout = column->layout;
             share(self, *column, column->rows);
             return state;
           })
      .def(
          "_detach", [](nb::handle self, nb::handle state) { publish(self, nullptr, state); },
          nb::arg("state").none())
      .def("_grow", &grow, nb::arg(), nb::arg(), nb::arg(), nb::arg("state").none())
      .def("_apply_edits", &apply_edits)
      .def("_describe", &describe)
      .def(
          "_wrap_with", [](Samples& self, nb::object wrapper) { self.wrapper = std::move(wrapper); },
          nb::arg().none())
      .def("_map_files",
           [](Samples& self, bool mapped) { self.access = mapped ? Access::map : Access::pread; })
      .def_prop_ro("_is_mapped", [](const Samples& self) { return self.access == Access::map; })
      .def("_give_copies", [](Samples& self, bool copies) { self.copies = copies; })
      .def_prop_ro("_described", [](const Samples& self) { return open_column(self)->layout->dtype; })
      .def_prop_ro("_rank", &rank_of_all)
      .def_prop_ro("_sample_shape",
                   [](const Samples& self) {
                     std::shared_ptr<const Column> column = open_column(self);
                     const Shape& shape = column->layout->shape;
                     nb::list extents;
                     for (int k = 0; k < shape.rank; ++k) extents.append(shape.dims[static_cast<size_t>(k)]);
                     return nb::tuple(extents);
                   })
      .def("_select_range", &select_range)
      .def("_select_positions", &select_positions);
  define_batches(samples);
}

}  // namespace mmap_ninja
