// The base of handles in C: shows a column, whose samples its type slots return.

#include <nanobind/stl/vector.h>

#include "batch.h"
#include "decode.h"

namespace mmap_ninja {
namespace {

const char* const kIndexing = "_get_many";         // called for all keys but integers
const char* const kItems = "_items";               // their name in errors, if they are no samples
const char* const kAttachAgain = "_attach_again";  // called if a commit could not be mapped

Samples* samples_of(PyObject* self);
PyObject* subscript_many(PyObject* self, PyObject* key);
PyObject* out_of_range(Samples& samples, Py_ssize_t index, uint64_t count);

PyObject* subscript(PyObject* self, PyObject* key) {
  Samples* samples = samples_of(self);
  if (!samples) return nullptr;
  if (!PyLong_CheckExact(key)) {
    // Other types, such as tensors of one element, are distinguished in Python.
    bool is_integer = PyArray_IsScalar(key, Integer) || (PyLong_Check(key) && !PyBool_Check(key));
    if (!is_integer) return subscript_many(self, key);
  }
  Py_ssize_t index = PyNumber_AsSsize_t(key, PyExc_IndexError);
  if (index == -1 && PyErr_Occurred()) return nullptr;
  // After running code of the key, which may close the handle; so may a wrapper, after the sample is made.
  const Column* column = samples->column.get();
  if (!column) [[unlikely]] {
    if (!succeeds([&] { column = shown(*samples).column.get(); })) return nullptr;
  }
  auto count = static_cast<Py_ssize_t>(column->rows.count());
  Py_ssize_t position = index < 0 ? index + count : index;
  if (position < 0 || position >= count) [[unlikely]]
    return out_of_range(*samples, index, column->rows.count());
  return get(*samples, *column, column->rows.row(static_cast<uint64_t>(position)));
}

[[gnu::noinline]] PyObject* subscript_many(PyObject* self, PyObject* key) {
  // "(O)": a tuple must be passed as one argument.
  return may_run_python([&] { return PyObject_CallMethod(self, kIndexing, "(O)", key); });
}

[[gnu::cold, gnu::noinline]] PyObject* out_of_range(Samples& samples, Py_ssize_t index, uint64_t count) {
  (void)succeeds([&] {
    nb::object self = nb::find(samples);
    auto items = nb::cast<std::string>(nb::getattr(self, kItems, nb::str("samples")));
    looking_up(samples, [&] { raise_range(index, count, items.c_str()); });
  });
  return nullptr;
}

Samples* samples_of(PyObject* self) {
  if (!nb::inst_ready(self)) [[unlikely]] {
    PyErr_SetString(PyExc_ValueError, "the dataset was not opened");
    return nullptr;
  }
  return nb::inst_ptr<Samples>(self);
}

}  // namespace

Reader& shown(Samples& samples) {
  if (samples.column) [[likely]]
    return samples;
  nb::object self = nb::find(samples);
  if (self.is_valid() && nb::hasattr(self, kAttachAgain))
    may_run_python([&] { return nb::object(self.attr(kAttachAgain)()); });
  if (!samples.column) raise({.code = Code::closed}, samples.path);
  return samples;
}

namespace {

// For `bisect` and NumPy, which treat only objects with this slot as lists.
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

PyObject* iterate(PyObject* self) {
  Samples* samples = samples_of(self);
  if (!samples || (!samples->column && !succeeds([&] { (void)shown(*samples); }))) return nullptr;
  return new_iterator(*samples);
}

// The wrapper of a column without other owners; only then can it be part of a cycle through the handle.
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

// ---- column and state

// The attribute name of the state. A single interned object, for fast look-up.
nb::handle state_name() {
  static PyObject* const name = PyUnicode_InternFromString("_state");
  return name;
}

// Sets the column and the state in one step, without running Python code.
void publish(nb::handle self, ColumnPtr column, nb::handle state) {
  auto& samples = nb::cast<Samples&>(self);
  nb::object before = nb::getattr(self, state_name(), nb::none());  // released when both have changed
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

// The column and the state at one moment: no Python code runs in between.
nb::tuple moment(nb::handle self) {
  auto& reader = shown(nb::cast<Samples&>(self));
  nb::object state = nb::getattr(self, state_name(), nb::none());
  return nb::make_tuple(nb::cast(Reader{reader.column, reader.hints}), state);
}

}  // namespace

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
  nb::class_<Samples> samples(m, "Samples", nb::type_slots(samples_slots));
  samples.def("__init__", [](Samples* self, std::string path) { new (self) Samples{{}, std::move(path)}; })
      .def("_show_column", &show, nb::arg().none(), nb::arg().none())
      .def("_grow", &grow, nb::arg(), nb::arg(), nb::arg(), nb::arg("state").none())
      .def("_start_afresh",
           [](Samples& self) {
             if (self.column) self.column = fresh(self.column);
           })
      .def("_moment", &moment)
      .def_ro("_is_mapped", &Samples::is_mapped);
  m.def("column_of", [](Samples& samples) {
    Reader& reader = shown(samples);
    return Reader{reader.column, reader.hints};
  });
  define_takes(samples);
  define_padded(samples);
  define_descriptions(samples);
  define_indices(samples);
}

}  // namespace mmap_ninja
