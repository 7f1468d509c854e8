// The one file that knows Python: turns the kernel's spans and statuses into objects and exceptions.

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <numpy/arrayobject.h>
#include <time.h>

#include <limits>
#include <string>
#include <vector>

#include "checksum.h"
#include "io.h"
#include "log.h"
#include "slot.h"
#include "spans.h"
#include "sums.h"
#include "utf8.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace mmap_ninja {
namespace {

// ---- errors

nb::object errors(const char* name) { return nb::module_::import_("mmap_ninja.errors").attr(name); }

[[noreturn]] void raise(const nb::object& type, const std::string& message) {
  PyErr_SetString(type.ptr(), message.c_str());
  throw nb::python_error();
}

[[noreturn]] void raise_os_error(int error, const std::string& what, const std::string& path) {
  nb::object exception = nb::steal(PyObject_CallFunction(
      PyExc_OSError, "iss", error, (what + ": " + strerror(error)).c_str(), path.c_str()));
  if (exception.is_valid())
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

// The one translation of native errors. `path` is the dataset's, or the file's that a call was about.
[[noreturn]] void raise(const Status& status, const std::string& path) {
  const std::string what = status.what, row = "sample " + std::to_string(status.row);
  const std::string found = std::to_string(status.found), expected = std::to_string(status.expected);
  const char* type = nullptr;  // one of mmap_ninja.errors, or else
  PyObject* builtin = PyExc_SystemError;
  std::string text = path + ": ";
  switch (status.code) {
    case Code::system:
      raise_os_error(status.error, what, path);
    case Code::uncertain:
      type = "CommitUncertainError";
      text +=
          what + " failed (" + strerror(status.error) + "): whether the commits since the last durable one ";
      text +=
          "survive a power loss is unknown; this handle writes no more: check the disk and the system log, ";
      text += "then rebuild the dataset from its source";
      break;
    case Code::suspect:
      type = "CommitUncertainError";
      text +=
          "a sync of this dataset failed before, so its last commits may be lost at a power loss; it can be ";
      text += "read but not appended to: rebuild it from its source";
      break;
    case Code::bad_digest:
      type = "CorruptDatasetError";
      text += "the last bytes of its files are not those that its durable commit was made of; nothing was ";
      text += "written: restore it from a copy";
      break;
    case Code::bad_offsets:
      type = "CorruptDatasetError";
      text +=
          row + " is said to lie at bytes " + found + " to " + expected + ", which are not in its payload; ";
      text += "the offsets file is damaged: restore it from a copy";
      break;
    case Code::bad_text:
      type = "CorruptDatasetError";
      text +=
          row + " is no valid UTF-8 from its byte " + found + " on; the payload is damaged: restore it from ";
      text += "a copy";
      break;
    case Code::short_file:
      type = "DatasetTruncatedError";
      text +=
          "its " + what + " file holds " + found + " bytes where the commit needs " + expected + "; it was ";
      text += "truncated: restore it from a copy";
      break;
    case Code::conflict:
      type = "StaleHandleError";
      text += "holds " + found + " samples where this writer expected " + expected +
              ": another process appended ";
      text += "meanwhile; nothing was written";
      break;
    case Code::deleted:
      type = "StaleHandleError";
      text += "the dataset was deleted or replaced by another one; open the path again; nothing was written";
      break;
    case Code::forked:
      type = "ForkedHandleError";
      text += "this handle writes for process " + expected +
              ", from which this one was forked; open the dataset ";
      text += "again here";
      break;
    case Code::timed_out:  // the engine knows who holds the lock, and how to go on
      type = "LockTimeoutError";
      break;
    case Code::moved:
      type = "GenerationMovedError";
      break;
    case Code::closed:
      builtin = PyExc_ValueError;
      text += "the dataset is closed; open it again to read it";
      break;
    case Code::row_range:
      builtin = PyExc_IndexError;
      text =
          "index " + std::to_string(static_cast<int64_t>(status.found)) + " is out of range for " + expected;
      text += " samples";
      break;
    case Code::bad_batch:
      builtin = PyExc_ValueError;
      text += "the batch's " + what + " do not fit its number of samples";
      break;
    case Code::overflow:
      builtin = PyExc_OverflowError;
      text += "the " + what + " would pass 2^63 bytes";
      break;
    case Code::ok:
      break;
  }
  raise(type ? errors(type) : nb::borrow(builtin), text);
}

void check(const Status& status, const std::string& path) {
  if (!status.ok()) raise(status, path);
}

// ---- buffers and arrays

class Buffer {
 public:
  explicit Buffer(nb::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0) throw nb::python_error();
  }
  Buffer(Buffer&& other) noexcept : view_(other.view_) { other.view_.obj = nullptr; }
  ~Buffer() { PyBuffer_Release(&view_); }
  const uint8_t* data() const { return static_cast<const uint8_t*>(view_.buf); }
  uint64_t size() const { return static_cast<uint64_t>(view_.len); }

 private:
  Py_buffer view_;
};

template <typename T>
T* data_of(const nb::object& array) {
  return static_cast<T*>(PyArray_DATA(reinterpret_cast<PyArrayObject*>(array.ptr())));
}

nb::object new_array(uint64_t size, int type) {
  auto length = static_cast<npy_intp>(size);
  nb::object array = nb::steal(PyArray_SimpleNew(1, &length, type));
  if (!array.is_valid()) throw nb::python_error();
  return array;
}

nb::object new_bytes(uint64_t size) {
  nb::object bytes = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
  if (!bytes.is_valid()) throw nb::python_error();
  return bytes;
}

uint8_t* data_of_bytes(const nb::object& bytes) {
  return reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
}

// ---- samples: str and bytes from spans

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

enum class SampleKind : uint8_t { text, binary };

struct Samples {
  SampleKind kind;
  std::string path;
  std::shared_ptr<const Spans> spans;  // none: closed
  bool cold = false;                   // the last batch waited for the disk
  bool ascii = true;                   // the last text was ASCII
};

// A new reference, or nullptr with either `status` or a Python error set.
PyObject* decode(Samples& samples, Span span, Status* status) {
  if (samples.kind == SampleKind::text) return decode_text(span, &samples.ascii, status);
  return PyBytes_FromStringAndSize(reinterpret_cast<const char*>(span.data),
                                   static_cast<Py_ssize_t>(span.size));
}

const char* const kIndexing = "_get_many";  // what sequence.py makes of slices, lists and masks
const char* const kPositions = "positions";

Samples* samples_of(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "the dataset was never opened");
    return nullptr;
  }
  return nb::inst_ptr<Samples>(self);
}

// For slots, which report errors by returning nullptr or -1.
void set_error(const Status& status, const std::string& path) {
  try {
    raise(status, path);
  } catch (nb::python_error& error) {
    error.restore();
  }
}

PyObject* get(Samples& samples, const Spans& spans, uint64_t position) {
  Span span;
  Status status = spans.at(position, &span);
  if (status.ok()) [[likely]] {
    PyObject* sample = decode(samples, span, &status);
    if (sample || status.ok()) [[likely]]
      return sample;
    status.row = spans.rows().row(position);
  }
  set_error(status, samples.path);
  return nullptr;
}

PyObject* subscript(PyObject* self, PyObject* key) {
  Samples* samples = samples_of(self);
  if (!samples) return nullptr;
  if (!PyLong_CheckExact(key)) {
    bool is_array = PyArray_Check(key) && PyArray_NDIM(reinterpret_cast<PyArrayObject*>(key)) > 0;
    // "(O)": a tuple is one argument, too.
    if (!PyIndex_Check(key) || PyBool_Check(key) || is_array)
      return PyObject_CallMethod(self, kIndexing, "(O)", key);
  }
  Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred()) return nullptr;
  const Spans* spans = samples->spans.get();  // after the key's own code, which may have closed the handle
  if (!spans) [[unlikely]] {
    set_error({.code = Code::closed}, samples->path);
    return nullptr;
  }
  auto count = static_cast<Py_ssize_t>(spans->count());
  Py_ssize_t position = index < 0 ? index + count : index;
  if (position < 0 || position >= count) [[unlikely]] {
    set_error({.code = Code::row_range, .found = static_cast<uint64_t>(index), .expected = spans->count()},
              samples->path);
    return nullptr;
  }
  return get(*samples, *spans, static_cast<uint64_t>(position));
}

Py_ssize_t length(PyObject* self) {
  Samples* samples = samples_of(self);
  if (samples && !samples->spans) set_error({.code = Code::closed}, samples->path);
  return samples && samples->spans ? static_cast<Py_ssize_t>(samples->spans->count()) : -1;
}

// ---- iteration

// Goes over the samples that the handle saw when it was made, whatever happens to the handle meanwhile.
struct Iterator {
  Samples samples;
  uint64_t next = 0;

  static constexpr uint64_t kStep = uint64_t{2} << 20;

  // Reads ahead of a sequential pass, once per map: page faults cost as much as the copies.
  void read_ahead(const Spans& spans, uint64_t position) const {
    Span span;
    if (!spans.rows().is_contiguous() || !spans.at(position, &span).ok()) return;
    Mapping& payload = *spans.payload();
    auto begin = static_cast<uint64_t>(span.data - payload.data());
    uint64_t end = std::min(begin + span.size + kStep / 2, spans.payload_size());
    if (payload.is_populated(begin, end)) [[likely]]
      return;
    end = std::min(begin + span.size + kStep, spans.payload_size());
    nb::gil_scoped_release release;
    payload.will_need(end, std::min(end + kStep, spans.payload_size()));
    payload.populate(begin, end);
  }
};

PyObject* iterate(PyObject* self) {
  Samples* samples = samples_of(self);
  if (!samples) return nullptr;
  if (!samples->spans) {
    set_error({.code = Code::closed}, samples->path);
    return nullptr;
  }
  try {
    return nb::cast(Iterator{*samples}).release().ptr();
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
  const Spans& spans = *iterator->samples.spans;
  if (iterator->next >= spans.count()) return nullptr;
  // Taken before the GIL is released below: other threads may share the iterator.
  uint64_t position = iterator->next++;
  if (position % 256 == 0) {
    if (Status status = spans.check_size(); !status.ok()) {
      set_error(status, iterator->samples.path);
      return nullptr;
    }
  }
  if (position % 16 == 0) iterator->read_ahead(spans, position);
  return get(iterator->samples, spans, position);
}

PyObject* itself(PyObject* self) {
  Py_INCREF(self);
  return self;
}

// ---- batches

// Positions of a batch, negative ones resolved, all in range.
std::vector<uint64_t> positions(const Spans& spans, nb::handle key, const std::string& path) {
  uint64_t count = spans.count();
  std::vector<uint64_t> result;
  auto add = [&](int64_t index) {
    auto position = static_cast<uint64_t>(index < 0 ? index + static_cast<int64_t>(count) : index);
    if (position >= count)
      raise({.code = Code::row_range, .found = static_cast<uint64_t>(index), .expected = count}, path);
    result.push_back(position);
  };
  if (PyList_CheckExact(key.ptr())) {
    Py_ssize_t size = PyList_GET_SIZE(key.ptr());
    result.reserve(static_cast<size_t>(size));
    for (Py_ssize_t k = 0; k < size; ++k) {
      PyObject* item = PyList_GET_ITEM(key.ptr(), k);
      if (!PyLong_CheckExact(item)) break;
      int64_t index = PyLong_AsLongLong(item);
      if (index == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        raise(nb::borrow(PyExc_IndexError),
              "an index past 64 bits is out of range for " + std::to_string(count) + " samples");
      }
      add(index);
    }
    if (result.size() == static_cast<size_t>(size)) return result;
    result.clear();
  }
  nb::object array = nb::module_::import_("mmap_ninja.sequence").attr(kPositions)(key, count);
  auto size = static_cast<size_t>(PyArray_SIZE(reinterpret_cast<PyArrayObject*>(array.ptr())));
  auto indices = data_of<const int64_t>(array);
  result.reserve(size);
  for (size_t k = 0; k < size; ++k) add(indices[k]);
  return result;
}

const std::shared_ptr<const Spans>& open_spans(const Samples& samples) {
  if (!samples.spans) raise({.code = Code::closed}, samples.path);
  return samples.spans;
}

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
  check(spans.check_size(), samples.path);
  if (samples.cold) {
    nb::gil_scoped_release release;
    will_need(spans, rows.data(), rows.size());
  }
  double begin = seconds();
  auto bytes = static_cast<double>(read());
  samples.cold = seconds() - begin > static_cast<double>(rows.size()) * kWarmSample + bytes * kWarmByte;
}

nb::object take(Samples& samples, nb::handle indices) {
  std::shared_ptr<const Spans> spans = open_spans(samples);
  std::vector<uint64_t> rows = positions(*spans, indices, samples.path);
  nb::object list;
  Status status;
  adaptive(samples, *spans, rows, [&] {
    // Made here: the collector must not see it half filled while other threads run.
    list = nb::steal(PyList_New(static_cast<Py_ssize_t>(rows.size())));
    if (!list.is_valid()) throw nb::python_error();
    uint64_t bytes = 0;
    status = visit(*spans, rows.data(), rows.size(), [&](uint64_t k, Span span) -> Status {
      Status decoded;
      PyObject* sample = decode(samples, span, &decoded);
      if (!sample && decoded.ok()) throw nb::python_error();
      if (!sample) {
        decoded.row = spans->rows().row(rows[k]);
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

nb::tuple take_jagged(Samples& samples, nb::handle indices) {
  std::shared_ptr<const Spans> spans = open_spans(samples);
  std::vector<uint64_t> rows = positions(*spans, indices, samples.path);
  nb::object offsets = new_array(rows.size() + 1, NPY_INT64);
  auto ends = data_of<int64_t>(offsets);
  Status status;
  {
    nb::gil_scoped_release release;
    status = measure(*spans, rows.data(), rows.size(), ends);
  }
  check(status, samples.path);
  nb::object values = new_array(static_cast<uint64_t>(ends[rows.size()]), NPY_UINT8);
  auto bytes = data_of<uint8_t>(values);
  adaptive(samples, *spans, rows, [&] {
    nb::gil_scoped_release release;
    status = gather(*spans, rows.data(), rows.size(), ends, bytes);
    return ends[rows.size()];
  });
  check(status, samples.path);
  return nb::make_tuple(values, offsets);
}

void prefetch(Samples& samples, nb::handle indices) {
  std::shared_ptr<const Spans> spans = open_spans(samples);
  std::vector<uint64_t> rows = positions(*spans, indices, samples.path);
  nb::gil_scoped_release release;
  will_need(*spans, rows.data(), rows.size());
}

nb::object byte_lengths(Samples& samples) {
  std::shared_ptr<const Spans> spans = open_spans(samples);
  check(spans->check_size(), samples.path);
  nb::object lengths = new_array(spans->count(), NPY_INT64);
  auto values = data_of<int64_t>(lengths);
  Status status;
  {
    nb::gil_scoped_release release;
    for (uint64_t k = 0; k < spans->count() && status.ok(); ++k) {
      Span span;
      status = spans->at(k, &span);
      if (status.ok()) values[k] = static_cast<int64_t>(span.size);
    }
  }
  check(status, samples.path);
  return lengths;
}

int64_t find_bytes(Samples& samples, nb::bytes wanted, uint64_t begin, uint64_t end) {
  std::shared_ptr<const Spans> spans = open_spans(samples);
  check(spans->check_size(), samples.path);
  end = std::min(end, spans->count());
  Span span{reinterpret_cast<const uint8_t*>(wanted.c_str()), wanted.size()};
  uint64_t position = begin;
  Status status;
  if (begin < end) {
    nb::gil_scoped_release release;
    status = find(*spans, span, begin, end, &position);
  }
  check(status, samples.path);
  return position < end ? static_cast<int64_t>(position) : -1;
}

// ---- what a handle sees

void show(Samples& samples, std::shared_ptr<Mapping> payload, uint64_t payload_size,
          std::shared_ptr<Mapping> offsets, uint64_t rows) {
  samples.spans =
      std::make_shared<const Spans>(std::move(payload), std::move(offsets), payload_size, RowMap(rows));
}

uint64_t offsets_size(uint64_t rows) { return (rows + 1) * sizeof(uint64_t); }

void attach(Samples& samples, int payload_fd, uint64_t payload_size, int offsets_fd, uint64_t rows) {
  std::shared_ptr<Mapping> payload, offsets;
  check(Mapping::open(payload_fd, payload_size, &payload), samples.path);
  check(Mapping::open(offsets_fd, offsets_size(rows), &offsets), samples.path);
  show(samples, std::move(payload), payload_size, std::move(offsets), rows);
}

// The same files at a later commit: maps again only where they have outgrown their reservation.
void grow(Samples& samples, uint64_t payload_size, uint64_t rows) {
  const Spans& seen = *open_spans(samples);
  std::shared_ptr<Mapping> payload = seen.payload(), offsets = seen.offsets();
  if (payload_size > payload->capacity()) check(payload->reopen(payload_size, &payload), samples.path);
  if (offsets_size(rows) > offsets->capacity())
    check(offsets->reopen(offsets_size(rows), &offsets), samples.path);
  show(samples, std::move(payload), payload_size, std::move(offsets), rows);
}

void share(Samples& samples, const Samples& parent, RowMap rows) {
  const Spans& seen = *open_spans(parent);
  samples.spans =
      std::make_shared<const Spans>(seen.payload(), seen.offsets(), seen.payload_size(), std::move(rows));
}

// A view of `count` of the parent's samples: start, start + step, ... in the parent's positions.
void select_range(Samples& samples, const Samples& parent, int64_t start, int64_t step, uint64_t count) {
  const Spans& seen = *open_spans(parent);
  if (count == 0) return share(samples, parent, RowMap(0));
  int64_t last = start + step * static_cast<int64_t>(count - 1);
  auto rows = static_cast<int64_t>(seen.count());
  if (std::min(start, last) < 0 || std::max(start, last) >= rows)
    raise({.code = Code::row_range, .found = static_cast<uint64_t>(last), .expected = seen.count()},
          samples.path);
  if (seen.rows().is_contiguous())
    return share(samples, parent, RowMap(count, static_cast<int64_t>(seen.rows().row(0)) + start, step));
  std::shared_ptr<int64_t[]> chosen(new int64_t[count]);
  for (uint64_t k = 0; k < count; ++k)
    chosen[k] =
        static_cast<int64_t>(seen.rows().row(static_cast<uint64_t>(start + static_cast<int64_t>(k) * step)));
  share(samples, parent, RowMap(count, std::move(chosen)));
}

void select_positions(Samples& samples, const Samples& parent, nb::handle indices) {
  // Kept alive: `positions` may run Python code, and another thread's append or close then.
  std::shared_ptr<const Spans> seen = open_spans(parent);
  std::vector<uint64_t> chosen = positions(*seen, indices, samples.path);
  std::shared_ptr<int64_t[]> rows(new int64_t[chosen.size()]);
  for (size_t k = 0; k < chosen.size(); ++k) rows[k] = static_cast<int64_t>(seen->rows().row(chosen[k]));
  share(samples, parent, RowMap(chosen.size(), std::move(rows)));
}

// The offsets as a read-only array over the map, which it keeps alive.
nb::object offsets_array(Samples& samples) {
  const Spans& seen = *open_spans(samples);
  if (!seen.rows().is_contiguous())
    raise(nb::borrow(PyExc_AttributeError),
          samples.path + ": a view has no offsets of its own; see byte_lengths");
  if (!seen.offsets()) {
    nb::object zero = new_array(1, NPY_UINT64);
    *data_of<uint64_t>(zero) = 0;
    return zero;
  }
  nb::capsule owner(new std::shared_ptr<Mapping>(seen.offsets()),
                    [](void* kept) noexcept { delete static_cast<std::shared_ptr<Mapping>*>(kept); });
  auto size = static_cast<npy_intp>(seen.count() + 1);
  auto data = const_cast<uint8_t*>(seen.offsets()->data());
  nb::object array = nb::steal(
      PyArray_New(&PyArray_Type, 1, &size, NPY_UINT64, nullptr, data, 0, NPY_ARRAY_CARRAY_RO, nullptr));
  if (!array.is_valid()) throw nb::python_error();
  if (PyArray_SetBaseObject(reinterpret_cast<PyArrayObject*>(array.ptr()), owner.release().ptr()) != 0)
    throw nb::python_error();
  return array;
}

// ---- encoding batches

[[noreturn]] void raise_wrong_type(const std::string& path, uint64_t sample, const char* expected,
                                   PyObject* got) {
  raise(nb::borrow(PyExc_TypeError), path + ": sample " + std::to_string(sample) + ": expected " + expected +
                                         ", got " + Py_TYPE(got)->tp_name +
                                         "; nothing of this batch was stored");
}

// The samples of a batch back to back, and where each ends: what a variable-length column appends.
nb::tuple encode_text(nb::list samples, nb::str path, uint64_t first) {
  size_t count = samples.size();
  nb::object ends = new_bytes(count * sizeof(uint64_t));
  auto end_of = reinterpret_cast<uint64_t*>(data_of_bytes(ends));
  uint64_t total = 0;
  for (size_t k = 0; k < count; ++k) {
    PyObject* text = PyList_GET_ITEM(samples.ptr(), static_cast<Py_ssize_t>(k));
    if (!PyUnicode_Check(text)) raise_wrong_type(path.c_str(), first + k, "str", text);
    auto length = static_cast<uint64_t>(PyUnicode_GET_LENGTH(text));
    EncodedSize size{true, length, 0};
    if (!PyUnicode_IS_ASCII(text)) {
      if (PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND)
        size = encoded_size_latin1(PyUnicode_1BYTE_DATA(text), length);
      if (PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND)
        size = encoded_size_ucs2(PyUnicode_2BYTE_DATA(text), length);
      if (PyUnicode_KIND(text) == PyUnicode_4BYTE_KIND)
        size = encoded_size_ucs4(PyUnicode_4BYTE_DATA(text), length);
    }
    if (!size.valid)
      raise(nb::borrow(PyExc_ValueError),
            std::string(path.c_str()) + ": sample " + std::to_string(first + k) + ": its character " +
                std::to_string(size.error_index) +
                " is a lone surrogate, which UTF-8 cannot hold; nothing of this batch was "
                "stored: clean the text, or store bytes in a BytesMmap");
    total += size.size;
    end_of[k] = total;
  }
  nb::object payload = new_bytes(total);
  uint8_t* at = data_of_bytes(payload);
  for (size_t k = 0; k < count; ++k) {
    PyObject* text = PyList_GET_ITEM(samples.ptr(), static_cast<Py_ssize_t>(k));
    auto length = static_cast<uint64_t>(PyUnicode_GET_LENGTH(text));
    if (PyUnicode_IS_ASCII(text)) {
      memcpy(at, PyUnicode_1BYTE_DATA(text), length);
      at += length;
    } else if (PyUnicode_KIND(text) == PyUnicode_1BYTE_KIND) {
      at = encode_latin1(PyUnicode_1BYTE_DATA(text), length, at);
    } else if (PyUnicode_KIND(text) == PyUnicode_2BYTE_KIND) {
      at = encode_ucs2(PyUnicode_2BYTE_DATA(text), length, at);
    } else {
      at = encode_ucs4(PyUnicode_4BYTE_DATA(text), length, at);
    }
  }
  return nb::make_tuple(payload, ends);
}

nb::tuple encode_binary(nb::list samples, nb::str path, uint64_t first) {
  size_t count = samples.size();
  std::vector<Buffer> buffers;
  buffers.reserve(count);
  nb::object ends = new_bytes(count * sizeof(uint64_t));
  auto end_of = reinterpret_cast<uint64_t*>(data_of_bytes(ends));
  uint64_t total = 0;
  for (size_t k = 0; k < count; ++k) {
    PyObject* sample = PyList_GET_ITEM(samples.ptr(), static_cast<Py_ssize_t>(k));
    if (!PyBytes_Check(sample) && !PyByteArray_Check(sample) && !PyMemoryView_Check(sample))
      raise_wrong_type(path.c_str(), first + k, "bytes", sample);
    buffers.emplace_back(sample);
    total += buffers.back().size();
    end_of[k] = total;
  }
  nb::object payload = new_bytes(total);
  uint8_t* at = data_of_bytes(payload);
  for (const Buffer& buffer : buffers) {
    memcpy(at, buffer.data(), buffer.size());
    at += buffer.size();
  }
  return nb::make_tuple(payload, ends);
}

// ---- the log

nb::bytes to_bytes(const Id& id) { return nb::bytes(id.data(), id.size()); }

Id to_id(nb::bytes bytes) {
  Id id{};
  if (bytes.size() != id.size()) raise(nb::borrow(PyExc_ValueError), "an id has 16 bytes");
  memcpy(id.data(), bytes.c_str(), id.size());
  return id;
}

struct PyLog {
  std::string path;
  Log log;
  Slot published;  // the log's state, copied while the GIL is held: a commit changes it without
};

void open_log(PyLog* self, const std::string& path, nb::list rules, int commit_fd, int lock_fd,
              const Slot& state, uint64_t next_seq, bool sync_often) {
  new (self) PyLog{path, {}, {}};
  std::vector<FileRule> file_rules;
  for (nb::handle rule : rules) {
    auto [id, extent, unit, offsets, fd] = nb::cast<std::tuple<uint64_t, int, uint64_t, uint32_t, int>>(rule);
    file_rules.push_back({id, static_cast<Extent>(extent), unit, offsets, fd});
  }
  // With the GIL, which serialises the opening and closing of all logs, as they ask.
  check(self->log.open(std::move(file_rules), commit_fd, lock_fd, state, next_seq, sync_often), path);
  self->published = self->log.state();
}

nb::tuple commit(PyLog& self, nb::tuple parts, uint64_t rows, uint64_t edits, uint32_t set_flags,
                 bool durable, nb::object expected_rows, double timeout) {
  std::vector<Buffer> buffers;
  std::vector<Part> spans;
  buffers.reserve(parts.size());
  spans.reserve(parts.size());
  for (nb::handle part : parts) {
    if (part.is_none()) {
      spans.push_back({nullptr, 0});
      continue;
    }
    buffers.emplace_back(part);
    spans.push_back({buffers.back().data(), buffers.back().size()});
  }
  CommitRequest request{
      .parts = spans, .rows = rows, .edits = edits, .set_flags = set_flags, .durable = durable};
  if (!expected_rows.is_none()) request.expected_rows = nb::cast<uint64_t>(expected_rows);

  // Waits in slices, so that ctrl-C gets through.
  constexpr double kSlice = 0.05;
  for (double waited = 0;; waited += kSlice) {
    request.lock_seconds = std::min(kSlice, std::max(timeout - waited, 0.0));
    Status status;
    {
      nb::gil_scoped_release release;
      status = self.log.commit(request);
    }
    if (status.code == Code::timed_out && waited < timeout) {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      continue;
    }
    check(status, self.path);
    self.published = self.log.state();
    nb::list extents;
    for (size_t k = 0; k < self.log.files(); ++k) extents.append(self.log.extent(k));
    return nb::make_tuple(self.published.rows, extents);
  }
}

// ---- the seam

PyObject* io_hook = nullptr;

int64_t call_hook(const io::Call& call) {
  nb::gil_scoped_acquire acquire;
  try {
    nb::object where = call.path ? nb::object(nb::str(call.path)) : nb::object(nb::int_(call.fd));
    bool has_data = call.data != nullptr;
    nb::object data = has_data ? nb::object(nb::bytes(call.data, call.size)) : nb::object(nb::none());
    nb::object verdict = nb::borrow(io_hook)(call.name, where, call.offset, call.size, data);
    return verdict.is_none() ? 0 : nb::cast<int64_t>(verdict);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_OSError)) std::terminate();
    nb::object number = error.value().attr("errno");
    return -nb::cast<int64_t>(number);
  }
}

void set_io_hook(nb::object hook) {
  io::set_hook(nullptr);
  Py_XDECREF(io_hook);
  io_hook = hook.is_none() ? nullptr : hook.release().ptr();
  if (io_hook) io::set_hook(call_hook);
}

template <typename Function>
void without_gil(const std::string& path, Function function) {
  Status status;
  {
    nb::gil_scoped_release release;
    status = function();
  }
  check(status, path);
}

void define_io(nb::module_& m) {
  m.def("set_io_hook", &set_io_hook, "hook"_a.none());
  m.def("create_file", [](const std::string& path) {
    int fd = -1;
    without_gil(path, [&] { return io::create_file(path.c_str(), &fd); });
    return fd;
  });
  m.def("write_at", [](int fd, nb::handle data, uint64_t offset, const std::string& path) {
    Buffer buffer(data);
    without_gil(path, [&] { return io::write_at(fd, buffer.data(), buffer.size(), offset); });
  });
  m.def("sync_data",
        [](int fd, const std::string& path) { without_gil(path, [&] { return io::sync_data(fd); }); });
  m.def("sync_directory",
        [](int fd, const std::string& path) { without_gil(path, [&] { return io::sync_directory(fd); }); });
  m.def("make_directory",
        [](const std::string& path) { without_gil(path, [&] { return io::make_directory(path.c_str()); }); });
  m.def("rename_file", [](const std::string& from, const std::string& to) {
    without_gil(from, [&] { return io::rename_file(from.c_str(), to.c_str()); });
  });
  m.def("remove_file",
        [](const std::string& path) { without_gil(path, [&] { return io::remove_file(path.c_str()); }); });
  m.def("try_lock", [](int fd, const std::string& path) {
    bool taken = false;
    check(io::try_lock(fd, &taken), path);
    return taken;
  });
  m.def("unlock", [](int fd, const std::string& path) { check(io::unlock(fd), path); });
  m.def("boot_id", [] {
    Id id;
    io::boot_id(id.data());
    return to_bytes(id);
  });
}

void define_log(nb::module_& m) {
  nb::class_<Slot>(m, "Slot")
      .def(nb::init<>())
      .def_rw("durable", &Slot::durable)
      .def_rw("features", &Slot::features)
      .def_rw("flags", &Slot::flags)
      .def_rw("seq", &Slot::seq)
      .def_rw("generation", &Slot::generation)
      .def_rw("rows", &Slot::rows)
      .def_rw("edits", &Slot::edits)
      .def_rw("durable_rows", &Slot::durable_rows)
      .def_rw("durable_edits", &Slot::durable_edits)
      .def_rw("device", &Slot::device)
      .def_rw("inode", &Slot::inode)
      .def_rw("digest", &Slot::digest)
      .def_rw("meta_digest", &Slot::meta_digest)
      .def_prop_rw(
          "uuid", [](const Slot& slot) { return to_bytes(slot.uuid); },
          [](Slot& slot, nb::bytes id) { slot.uuid = to_id(id); })
      .def_prop_rw(
          "boot", [](const Slot& slot) { return to_bytes(slot.boot); },
          [](Slot& slot, nb::bytes id) { slot.boot = to_id(id); });
  m.def("encode_slot", [](const Slot& slot) {
    SlotBytes bytes = encode_slot(slot);
    return nb::bytes(bytes.data(), bytes.size());
  });
  m.def("decode_slot", [](nb::bytes bytes) {
    SlotBytes raw;
    if (bytes.size() != raw.size()) raise(nb::borrow(PyExc_ValueError), "a slot has 256 bytes");
    memcpy(raw.data(), bytes.c_str(), raw.size());
    Slot slot;
    uint16_t version = 0;
    const char* const names[] = {"valid", "empty", "torn", "foreign", "newer"};
    SlotState state = decode_slot(raw, &slot, &version);
    nb::object decoded = state == SlotState::valid ? nb::cast(slot) : nb::object(nb::none());
    return nb::make_tuple(names[static_cast<int>(state)], decoded, version);
  });
  m.def("range_digest",
        [](uint64_t file, int fd, uint64_t durable, uint64_t extent, const std::string& path) {
          uint64_t digest = 0;
          std::vector<BlockSum> sums;
          without_gil(path, [&] { return range_digest(file, fd, durable, extent, &digest, &sums); });
          return nb::make_tuple(digest, nb::bytes(sums.data(), sums.size() * sizeof(BlockSum)));
        });
  nb::class_<PyLog>(m, "Log")
      .def("__init__", &open_log, "path"_a, "rules"_a, "commit_fd"_a, "lock_fd"_a, "state"_a, "next_seq"_a,
           "sync_often"_a)
      .def("commit", &commit, "parts"_a, "rows"_a, "edits"_a, "set_flags"_a, "durable"_a,
           "expected_rows"_a.none(), "timeout"_a)
      .def("close", [](PyLog& self) { self.log.close(); })
      .def_prop_ro("state", [](const PyLog& self) { return self.published; });
  m.attr("SLOT_SIZE") = Slot::kSize;
  m.attr("SLOT_STRIDE") = CommitFile::kStride;
  m.attr("SLOTS") = CommitFile::kSlots;
  m.attr("BLOCK") = kBlock;
  m.attr("COMPLETE") = static_cast<uint32_t>(kComplete);
  m.attr("SUSPECT") = static_cast<uint32_t>(kSuspect);
}

void define_samples(nb::module_& m) {
  static PyType_Slot samples_slots[] = {
      {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
      {Py_mp_length, reinterpret_cast<void*>(length)},
      {Py_sq_length, reinterpret_cast<void*>(length)},
      {Py_tp_iter, reinterpret_cast<void*>(iterate)},
      {0, nullptr},
  };
  static PyType_Slot iterator_slots[] = {
      {Py_tp_iter, reinterpret_cast<void*>(itself)},
      {Py_tp_iternext, reinterpret_cast<void*>(iterator_next)},
      {0, nullptr},
  };
  nb::class_<Iterator>(m, "SamplesIterator", nb::type_slots(iterator_slots))
      .def("__length_hint__", [](const Iterator& it) { return it.samples.spans->count() - it.next; });
  nb::class_<Samples>(m, "Samples", nb::type_slots(samples_slots))
      .def("__init__",
           [](Samples* self, const std::string& kind, const std::string& path) {
             new (self) Samples{.kind = kind == "text" ? SampleKind::text : SampleKind::binary, .path = path};
           })
      .def("_attach", &attach)
      .def("_grow", &grow)
      .def("_attach_nothing",
           [](Samples& self) { self.spans = std::make_shared<const Spans>(nullptr, nullptr, 0, RowMap(0)); })
      .def("_detach", [](Samples& self) { self.spans.reset(); })
      .def("_select_range", &select_range)
      .def("_select_positions", &select_positions)
      .def("_find", &find_bytes)
      .def("_prefetch", &prefetch, nb::arg().none())
      .def("_take", &take, nb::arg().none())
      .def("_take_jagged", &take_jagged, nb::arg().none())
      .def("_byte_lengths", &byte_lengths)
      .def("_offsets", &offsets_array);
}

}  // namespace
}  // namespace mmap_ninja

NB_MODULE(_kernel, m) {
  using namespace mmap_ninja;
  if (_import_array() < 0) throw nb::python_error();
  nb::set_leak_warnings(false);  // objects that live until the interpreter ends are no leaks
  define_io(m);
  define_log(m);
  define_samples(m);
  m.def("encode_text", &encode_text);
  m.def("encode_binary", &encode_binary);
  m.def("crc32c", [](nb::handle data) {
    Buffer buffer(data);
    return crc32c(buffer.data(), buffer.size());
  });
  m.def(
      "xxh64",
      [](nb::handle data, uint64_t seed) {
        Buffer buffer(data);
        return xxh64(buffer.data(), buffer.size(), seed);
      },
      "data"_a, "seed"_a = 0);
}
