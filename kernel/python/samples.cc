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
  Py_INCREF(column.part.owner.ptr());
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array), column.part.owner.ptr()) != 0) {
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

PyObject* decode_array(const Column& column, uint64_t row, Span span, bool owns, Status* status) {
  bool copies = owns || column.copies;
  if (column.kind == SampleKind::array) {
    const Shape& shape = column.layout->shape;
    if (shape.rank == 0)
      return PyArray_Scalar(const_cast<uint8_t*>(span.data),
                            reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr()), nullptr);
    return copies ? copy(column, shape, span) : view(column, shape, span.data);
  }
  Shape shape;
  *status = column.part.shapes.at(row, span.size / column.part.spans.unit(), &shape);
  if (!status->ok()) return nullptr;
  PyObject* array = copies ? copy(column, shape, span) : view(column, shape, span.data);
  if (!array && PyErr_ExceptionMatches(PyExc_ValueError)) {  // an empty shape whose other extents are too big
    PyErr_Clear();
    *status = {.code = Code::bad_shape, .row = row, .found = span.size / column.part.spans.unit()};
  }
  return array;
}

[[gnu::noinline]] PyObject* wrap_by(nb::object wrapper, PyObject* sample) {
  PyObject* wrapped = may_run_python([&] { return PyObject_CallOneArg(wrapper.ptr(), sample); });
  Py_DECREF(sample);
  return wrapped;
}

PyObject* wrap(const Column& column, PyObject* sample) {
  if (!sample || column.wrapper.is_none()) [[likely]]
    return sample;
  return wrap_by(column.wrapper, sample);
}

// One sample of a compressed column.
PyObject* decode_frame(const Column& column, uint64_t row, Span frame, Hints* hints, Status* status) {
  uint64_t size;
  *status = column.part.frames.size(row, frame, &size);
  if (!status->ok()) return nullptr;
  Zstd::Worker worker = column.part.frames.codec->worker();
  const uint8_t* sample = nullptr;
  *status = worker.decode(frame, size, &sample);
  return status->ok() ? decode_plain(column, row, {sample, size}, hints, status) : nullptr;
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

inline PyObject* get_direct(const Column& column, uint64_t row, Hints* hints) {
  Span span;
  Status status = column.part.spans.at(row, &span);
  if (status.ok()) [[likely]] {
    PyObject* sample = decode(column, row, span, false, hints, &status);
    if (sample || status.ok()) [[likely]]
      return sample;
    status.row = row;
  }
  status.row = column.origin(status.row);
  set_error(status, column.path());
  return nullptr;
}

// A record, or a sample of files that are not mapped.
[[gnu::noinline]] PyObject* get_indirect(Reader& reader, const Column& column, uint64_t row) {
  if (column.access == Access::map) return decode_record(column, row, column.copies);
  ColumnPtr kept = reader.column, fetched;  // another thread may close the handle
  if (!succeeds([&] { fetched = fetch(column, {row}, {}); })) return nullptr;
  return fetched->fields ? decode_record(*fetched, 0, fetched->copies)
                         : get_direct(*fetched, 0, &reader.hints);
}

inline PyObject* get(Reader& reader, const Column& column, uint64_t row) {
  return column.is_direct ? get_direct(column, row, &reader.hints) : get_indirect(reader, column, row);
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
    if (!succeeds([&] { column = shown(*samples).column.get(); })) return nullptr;
  }
  auto count = static_cast<Py_ssize_t>(column->rows.count());
  Py_ssize_t position = index < 0 ? index + count : index;
  if (position < 0 || position >= count) [[unlikely]] {
    set_error(
        {.code = Code::row_range, .found = static_cast<uint64_t>(index), .expected = column->rows.count()},
        column->path());
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
  if (!samples->column && !succeeds([&] { (void)shown(*samples); })) [[unlikely]]
    return -1;
  return static_cast<Py_ssize_t>(samples->column->rows.count());
}

// The wrapper of a column that nobody else has: what refers to it may refer to the handle.
PyObject* own_wrapper(const Samples& samples) {
  return samples.column && samples.column.use_count() == 1 ? samples.column->wrapper.ptr() : nullptr;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  Py_VISIT(own_wrapper(*nb::inst_ptr<Samples>(self)));
  return 0;
}

int clear(PyObject* self) {
  if (nb::inst_ready(self)) nb::inst_ptr<Samples>(self)->column.reset();
  return 0;
}

// ---- iteration

// Goes over the samples that the handle saw when it was made, whatever happens to the handle meanwhile.
struct Iterator {
  Reader reader;
  uint64_t next = 0;
  std::shared_ptr<const Decoded> ahead;  // of a compressed column: samples from `ahead_first` on
  uint64_t ahead_first = 0;
  uint64_t run_first = 0;  // position of a run of samples that are stored one after the other
  uint64_t run_count = 0;
  uint64_t run_row = 0;
  ColumnPtr chunk = {};  // where nothing is mapped: samples from `chunk_first` on
  uint64_t chunk_first = 0;
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
      if (Status status = read_ahead_of(*field.column, position, row); !status.ok()) return status;
    return {};
  }

  Status read_ahead_of(const Column& column, uint64_t position, uint64_t row) {
    const Spans& spans = column.part.spans;
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
  ColumnPtr chunk_of(uint64_t* position) {
    // Whoever wants one sample should not wait for many; by doubling, nobody reads twice what is asked for.
    constexpr uint64_t kMost = 256, kMostBytes = uint64_t{1} << 20;
    ColumnPtr kept = chunk;
    uint64_t first = chunk_first, count = kept ? kept->rows.count() : 0;
    if (*position - first >= count) {
      const Column& column = *reader.column;
      count = count && *position == first + count ? std::min(2 * count, kMost) : 1;
      if (!column.layout->strides.empty()) count = column.rows.count();  // each needs all of the file
      std::vector<uint64_t> rows(std::min(count, column.rows.count() - *position));
      for (size_t k = 0; k < rows.size(); ++k) rows[k] = column.rows.row(*position + k);
      FetchOptions options{.most_bytes = kMostBytes, .one_by_one = true};
      try {
        kept = fetch(column, rows, options);
      } catch (nb::python_error&) {  // one of them is damaged: the others come before and after it
        if (rows.size() == 1) throw;
        rows.resize(1);
        kept = fetch(column, rows, options);
      }
      chunk = kept;
      chunk_first = first = *position;
      ahead.reset();
    }
    *position -= first;
    return kept;
  }
};

PyObject* new_iterator(const Reader& reader) {
  try {
    return nb::cast(Iterator{reader}).release().ptr();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_MemoryError, error.what());
    return nullptr;
  }
}

// A sample of a compressed column. The next ones are decoded with it, on several threads.
PyObject* next_decoded(Iterator& iterator, const Column& column, uint64_t position, uint64_t row) {
  // As for chunks; what is in one was asked for by doubling already.
  constexpr uint64_t kMost = 256;
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
      set_error(status, column.path());
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
  PyObject* sample = decode_plain(column, row, ahead->at(at), &iterator.reader.hints, &status);
  if (sample || status.ok()) [[likely]]
    return sample;
  status.row = column.origin(row);
  set_error(status, column.path());
  return nullptr;
}

PyObject* iterate(PyObject* self) {
  Samples* samples = samples_of(self);
  if (!samples || (!samples->column && !succeeds([&] { (void)shown(*samples); }))) return nullptr;
  return new_iterator(*samples);
}

PyObject* iterator_next(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "an iterator is made by iter() of a dataset");
    return nullptr;
  }
  Iterator* iterator = nb::inst_ptr<Iterator>(self);
  const Column& column = *iterator->reader.column;
  if (iterator->next >= column.rows.count()) return nullptr;
  // Taken before the GIL is released below: other threads may share the iterator.
  uint64_t position = iterator->next++;
  if (column.access == Access::pread) {
    ColumnPtr chunk;
    if (!succeeds([&] { chunk = iterator->chunk_of(&position); })) return nullptr;
    if (chunk->part.frames.codec) return next_decoded(*iterator, *chunk, position, position);
    return get(iterator->reader, *chunk, position);
  }
  if (position % 256 == 0 && !succeeds([&] { check_sizes(column); })) return nullptr;
  uint64_t row = iterator->row(column.rows, position);
  if (position >= iterator->next_look) {
    Status status = iterator->read_ahead(column, position, row);
    if (!status.ok()) {
      set_error(status, column.path());
      return nullptr;
    }
  }
  if (column.part.frames.codec) return next_decoded(*iterator, column, position, row);
  return get(iterator->reader, column, row);
}

PyObject* itself(PyObject* self) {
  Py_INCREF(self);
  return self;
}

// ---- what a handle shows

// The column and the state beside it. They change in one step, in which no Python code runs.
void publish(nb::handle self, ColumnPtr column, nb::handle state) {
  auto& samples = nb::cast<Samples&>(self);
  nb::object before = nb::getattr(self, state_name(), nb::none());  // let go of when both have changed
  nb::setattr(self, state_name(), state);
  if (column) samples.is_mapped = column->access == Access::map;
  samples.column.swap(column);
}

void show(nb::handle self, const Reader* column, nb::handle state) {
  publish(self, column ? column->column : nullptr, state);
}

void grow(nb::handle self, const std::vector<uint64_t>& payload_sizes, uint64_t rows, const PyEdits& edits,
          nb::handle state) {
  ColumnPtr seen = shown(nb::cast<Samples&>(self)).column;
  publish(self, grown(seen, payload_sizes, rows, edits), state);
}

// The column and the state of the same moment: no Python code runs in between.
nb::tuple moment(nb::handle self) {
  auto& reader = shown(nb::cast<Samples&>(self));
  nb::object state = nb::getattr(self, state_name(), nb::none());
  return nb::make_tuple(nb::cast(Reader{reader.column, reader.hints}), state);
}

}  // namespace

PyObject* decode_plain(const Column& column, uint64_t row, Span span, Hints* hints, Status* status) {
  if (column.part.is_null(row)) Py_RETURN_NONE;
  if (column.kind == SampleKind::text) return wrap(column, decode_text(span, &hints->ascii, status));
  return wrap(column, PyBytes_FromStringAndSize(reinterpret_cast<const char*>(span.data),
                                                static_cast<Py_ssize_t>(span.size)));
}

PyObject* decode(const Column& column, uint64_t row, Span span, bool owns, Hints* hints, Status* status) {
  if (column.part.is_null(row)) Py_RETURN_NONE;
  if (column.kind > SampleKind::binary) return wrap(column, decode_array(column, row, span, owns, status));
  if (column.part.frames.codec) return decode_frame(column, row, span, hints, status);
  return decode_plain(column, row, span, hints, status);
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
    const Column& of_field = *field.column;
    Span span;
    Status status = of_field.part.spans.at(row, &span);
    nb::object value;
    if (status.ok()) value = nb::steal(decode(of_field, row, span, owns, &field.hints, &status));
    if (!value.is_valid()) {
      status.row = of_field.origin(row);
      if (!status.ok()) set_error(status, of_field.path());
      return nullptr;
    }
    if (PyDict_SetItem(dicts[field.group].ptr(), field.key.ptr(), value.ptr()) != 0) return nullptr;
  }
  return dicts[0].release().ptr();
}

Status Decoded::decode(const Column& column, const uint64_t* rows, uint64_t size) {
  constexpr int64_t kMostBytes = int64_t{4} << 20;
  const Frames& frames = column.part.frames;
  offsets.resize(size + 1);
  Status measured, decoded;
  {
    GilReleased release;
    measured = measure_decoded(column.part.spans, frames, rows, size, offsets.data(), &count);
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
    decoded = decode_batch(column.part.spans, workers, rows, count, offsets.data(), values.get(), &count);
  }
  return decoded.ok() ? measured : decoded;
}

PyObject* iterate_column(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "the column was never made");
    return nullptr;
  }
  return new_iterator(*nb::inst_ptr<Reader>(self));
}

Reader& shown(Samples& samples) {
  if (samples.column) [[likely]]
    return samples;
  nb::object self = nb::find(samples);
  if (self.is_valid() && nb::hasattr(self, kAttachAgain))
    may_run_python([&] { return nb::object(self.attr(kAttachAgain)()); });
  if (!samples.column) raise({.code = Code::closed}, samples.path);
  return samples;
}

nb::object new_samples(const Column& column, const std::vector<npy_intp>& shape) {
  if (column.layout->dtype.is_none())
    raise(nb::borrow(PyExc_ValueError), column.path() + ": holds no arrays yet, so no dtype is known");
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
      .def("__length_hint__", [](const Iterator& it) { return it.reader.column->rows.count() - it.next; });
  nb::class_<Samples> samples(m, "Samples", nb::type_slots(samples_slots));
  samples.def("__init__", [](Samples* self, std::string path) { new (self) Samples{{}, std::move(path)}; })
      .def("_show_column", &show, nb::arg().none(), nb::arg().none())
      .def("_grow", &grow, nb::arg(), nb::arg(), nb::arg(), nb::arg("state").none())
      .def("_moment", &moment)
      .def_ro("_is_mapped", &Samples::is_mapped);
  m.def("column_of", [](Samples& samples) {
    Reader& reader = shown(samples);
    return Reader{reader.column, reader.hints};
  });
  define_batches(samples);
}

}  // namespace mmap_ninja
