// Turning rows into Python objects.

#include "decode.h"

#include <string.h>

#include <algorithm>
#include <new>

#include "batch.h"
#include "copies.h"
#include "utf8.h"

namespace mmap_ninja {
namespace {

PyObject* decode_text(Span span, bool* ascii, Status* status);
PyObject* decode_frame(const Column& column, uint64_t row, Span frame, Hints* hints, Status* status);
PyObject* decode_array(const Column& column, uint64_t row, Span span, bool owns, Status* status);
PyObject* view(const Column& column, const Shape& shape, Span span);
PyObject* copy(const Column& column, const Shape& shape, Span span);
PyObject* wrap(const Column& column, PyObject* sample);

}  // namespace

PyObject* get_direct(const Column& column, uint64_t row, Hints* hints) {
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

PyObject* decode(const Column& column, uint64_t row, Span span, bool owns, Hints* hints, Status* status) {
  if (column.part.is_null(row)) Py_RETURN_NONE;
  if (column.kind > SampleKind::binary) return wrap(column, decode_array(column, row, span, owns, status));
  if (column.part.frames.codec) return decode_frame(column, row, span, hints, status);
  return decode_plain(column, row, span, hints, status);
}

PyObject* decode_plain(const Column& column, uint64_t row, Span span, Hints* hints, Status* status) {
  if (column.part.is_null(row)) Py_RETURN_NONE;
  if (column.kind == SampleKind::text) return wrap(column, decode_text(span, &hints->ascii, status));
  return wrap(column, PyBytes_FromStringAndSize(reinterpret_cast<const char*>(span.data),
                                                static_cast<Py_ssize_t>(span.size)));
}

namespace {

// `ascii`: whether the text before was ASCII, as then this one probably is. Saves a pass for ASCII text, and
// a useless allocation for other text.
PyObject* decode_text(Span span, bool* ascii, Status* status) {
  uint64_t prefix = 0;  // bytes known to be ASCII
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

PyObject* decode_array(const Column& column, uint64_t row, Span span, bool owns, Status* status) {
  bool copies = owns || column.copies;
  if (column.kind == SampleKind::array) {
    const Shape& shape = column.layout->shape;
    if (shape.rank == 0)
      return PyArray_Scalar(const_cast<uint8_t*>(span.data),
                            reinterpret_cast<PyArray_Descr*>(column.layout->dtype.ptr()), nullptr);
    return copies ? copy(column, shape, span) : view(column, shape, span);
  }
  Shape shape;
  *status = column.part.shapes.at(row, span.size / column.part.spans.unit(), &shape);
  if (!status->ok()) return nullptr;
  PyObject* array = copies ? copy(column, shape, span) : view(column, shape, span);
  if (!array && PyErr_ExceptionMatches(PyExc_ValueError)) {  // an empty shape with other extents too large
    PyErr_Clear();
    *status = {.code = Code::bad_shape, .row = row, .found = span.size / column.part.spans.unit()};
  }
  return array;
}

const npy_intp* extents(const Shape& shape) {
  static_assert(sizeof(npy_intp) == sizeof(int64_t));
  return reinterpret_cast<const npy_intp*>(shape.dims.data());
}

PyArray_Descr* new_descr(const Column& column) {
  return reinterpret_cast<PyArray_Descr*>(nb::object(column.layout->dtype).release().ptr());
}

// A read-only array over memory, which `owner` keeps alive; null: the caller does.
[[gnu::always_inline]] inline PyObject* array_over(const Column& column, const Shape& shape,
                                                   const npy_intp* strides, const uint8_t* data,
                                                   PyObject* owner) {
  PyObject* array = PyArray_NewFromDescr(&PyArray_Type, new_descr(column), shape.rank, extents(shape),
                                         strides, const_cast<uint8_t*>(data), 0, nullptr);
  if (!array || !owner) return array;
  Py_INCREF(owner);
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array), owner) != 0) {
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

PyObject* outside_views(const Column& column, const Shape& shape, Span span);

// A read-only array over the private map, where that is possible.
PyObject* view(const Column& column, const Shape& shape, Span span) {
  const Views& views = *column.part.views;
  const uint8_t* data = views.place(span.data, span.size);
  if (!data) [[unlikely]]
    return outside_views(column, shape, span);
  return array_over(column, shape, nullptr, data, views.owner());
}

// An owned array, in C order.
PyObject* copy(const Column& column, const Shape& shape, Span span) {
  const std::vector<npy_intp>& strides = column.layout->strides;
  if (!strides.empty()) {
    PyObject* source = array_over(column, shape, strides.data(), span.data, nullptr);
    if (!source) return nullptr;
    PyObject* array = PyArray_NewCopy(reinterpret_cast<PyArrayObject*>(source), NPY_CORDER);
    Py_DECREF(source);
    return frozen(column, array);
  }
  PyObject* array = PyArray_NewFromDescr(&PyArray_Type, new_descr(column), shape.rank, extents(shape),
                                         nullptr, nullptr, 0, nullptr);
  if (!array) return nullptr;
  copy_bytes(static_cast<uint8_t*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(array))), span.data,
             span.size);
  return frozen(column, array);
}

// The same after the private map was made. What it cannot serve is a read-only copy, or has a map of its own
// if it is large.
[[gnu::noinline]] PyObject* outside_views(const Column& column, const Shape& shape, Span span) {
  Views& views = *column.part.views;
  views.open();
  if (const uint8_t* data = views.place(span.data, span.size))
    return array_over(column, shape, nullptr, data, views.owner());
  const Spans& spans = column.part.spans;
  if (column.layout->strides.empty()) {
    Memory own = own_map(spans.payload(), {static_cast<uint64_t>(span.data - spans.base()), span.size});
    if (own.data) return array_over(column, shape, nullptr, own.data, own.owner.ptr());
  }
  PyObject* array = copy(column, shape, span);
  if (array) PyArray_CLEARFLAGS(reinterpret_cast<PyArrayObject*>(array), NPY_ARRAY_WRITEABLE);
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

}  // namespace

PyObject* array_in(const Column& column, Span span, PyObject* owner) {
  if (column.kind == SampleKind::array)
    return array_over(column, column.layout->shape, nullptr, span.data, owner);
  Shape shape;
  shape.rank = 1;
  shape.dims[0] = static_cast<int64_t>(span.size / column.part.spans.unit());
  return array_over(column, shape, nullptr, span.data, owner);
}

[[gnu::noinline]] PyObject* get_indirect(Reader& reader, const Column& column, uint64_t row) {
  if (column.parts) return get_of_parts(reader, row);
  if (column.access == Access::map) return decode_record(column, row, column.copies);
  ColumnPtr kept = reader.column, fetched;  // another thread may close the handle
  if (!succeeds([&] { fetched = fetch(column, {row}, {}); })) return nullptr;
  return fetched->fields ? decode_record(*fetched, 0, fetched->copies)
                         : get_direct(*fetched, 0, &reader.hints);
}

PyObject* decode_record(const Column& column, uint64_t row, bool owns) {
  return record_of(column.fields, [row, owns](const Fields::Field& field) {
    const Column& of_field = *field.column;
    Span span;
    Status status = of_field.part.spans.at(row, &span);
    PyObject* value = status.ok() ? decode(of_field, row, span, owns, &field.hints, &status) : nullptr;
    if (!value && !status.ok()) {
      status.row = of_field.origin(row);
      set_error(status, of_field.path());
    }
    return value;
  });
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

bool gives_views(const Column& column) {
  bool are_arrays = column.kind == SampleKind::ragged ||
                    (column.kind == SampleKind::array && column.layout->shape.rank > 0);
  return are_arrays && !column.copies && column.access == Access::map;
}

nb::object list_of(std::vector<nb::object>& objects) {
  nb::object list = owned(PyList_New(static_cast<Py_ssize_t>(objects.size())));
  for (size_t k = 0; k < objects.size(); ++k)
    PyList_SET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k), objects[k].release().ptr());
  return list;
}

nb::object new_samples(const Column& column, const std::vector<npy_intp>& shape) {
  auto rank = static_cast<int>(shape.size());
  if (column.layout->dtype.is_none()) return new_array(NPY_DOUBLE, rank, shape.data());
  return new_array(new_descr(column), rank, shape.data());
}

}  // namespace mmap_ninja
