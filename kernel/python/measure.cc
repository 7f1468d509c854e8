// How many bytes samples have before they are encoded, as far as it is cheap to tell; and batches that end by
// it.

#include <Python.h>
#include <datetime.h>

#include <algorithm>

#include "python.h"

namespace mmap_ninja {
namespace {

constexpr uint64_t kReference = sizeof(void*);  // a number counts as much
constexpr int kDeepest = 64;                    // of the nested lists and dicts that are looked into

// Adds up the bytes of values until they reach `most`: so shared and cyclic lists end soon, too. A value
// whose type does not tell its size counts as `unknown`.
class Measure {
 public:
  Measure(uint64_t most, uint64_t unknown) : most_(most), unknown_(unknown) {}

  bool is_full() const { return total_ >= most_; }
  uint64_t total() const { return total_; }

  // May run code of the value's type, and throw what that raises but is no Exception.
  void add(PyObject* value, int depth = 0) {
    if (PyUnicode_Check(value)) {
      count(static_cast<uint64_t>(PyUnicode_GET_LENGTH(value) * PyUnicode_KIND(value)));
    } else if (PyBytes_Check(value)) {
      count(static_cast<uint64_t>(PyBytes_GET_SIZE(value)));
    } else if (PyLong_Check(value) || value == Py_None || depth == kDeepest) {
      count(kReference);
    } else if (PyDict_Check(value)) {
      add_values(value, depth);
    } else if (PyList_Check(value) || PyTuple_Check(value)) {
      add_items(value, depth);
    } else if (PyArray_Check(value)) {
      add_array(value, depth);
    } else if (PyFloat_Check(value) || PyArray_IsScalar(value, Number) || PyDate_Check(value) ||
               PyDelta_Check(value)) {
      count(kReference);
    } else {
      add_other(value, depth);
    }
  }

 private:
  void count(uint64_t bytes) { total_ += std::min(bytes, most_ - total_); }

  void add_inner(PyObject* value, int depth) {
    count(kReference);
    add(value, depth + 1);
  }

  void add_array(PyObject* array, int depth) {
    if (PyArray_TYPE(array_of(array)) != NPY_OBJECT)
      return count(static_cast<uint64_t>(PyArray_NBYTES(array_of(array))));
    add(owned(PyObject_CallMethod(array, "tolist", nullptr)).ptr(), depth + 1);
  }

  // With a reference to each, since code of their types may change what holds them.
  void add_items(PyObject* items, int depth) {
    bool is_list = PyList_Check(items);
    for (Py_ssize_t k = 0; k < Py_SIZE(items) && !is_full(); ++k) {
      nb::object item = nb::borrow(is_list ? PyList_GET_ITEM(items, k) : PyTuple_GET_ITEM(items, k));
      add_inner(item.ptr(), depth);
    }
  }

  void add_values(PyObject* dict, int depth) {
    PyObject* value;
    for (Py_ssize_t at = 0; !is_full() && PyDict_Next(dict, &at, nullptr, &value);) {
      nb::object kept = nb::borrow(value);
      add_inner(value, depth);
    }
  }

  void add_other(PyObject* value, int depth) {
    static PyObject* const nbytes = PyUnicode_InternFromString("nbytes");
    static PyObject* const dataclass_fields = PyUnicode_InternFromString("__dataclass_fields__");
    Py_buffer buffer;
    if (PyObject_CheckBuffer(value) && PyObject_GetBuffer(value, &buffer, PyBUF_FULL_RO) == 0) {
      count(static_cast<uint64_t>(buffer.len));
      return PyBuffer_Release(&buffer);
    }
    forgive();
    nb::object size = attribute(value, nbytes);  // of the tensors of any framework
    if (size.is_valid() && PyLong_Check(size.ptr())) return count(PyLong_AsUnsignedLongLongMask(size.ptr()));
    if (count_pixels(value)) return;
    nb::object fields = attribute(value, dataclass_fields);
    if (!fields.is_valid() || !PyDict_Check(fields.ptr())) return count(unknown_);
    PyObject* name;
    for (Py_ssize_t at = 0; !is_full() && PyDict_Next(fields.ptr(), &at, &name, nullptr);) {
      nb::object field = attribute(value, name);
      if (field.is_valid()) add_inner(field.ptr(), depth);
    }
  }

  // Whether a value is an image of Pillow, which tells its size before it is loaded.
  bool count_pixels(PyObject* value) {
    static PyObject* const getbands = PyUnicode_InternFromString("getbands");
    static PyObject* const size_of_image = PyUnicode_InternFromString("size");
    nb::object bands = attribute(value, getbands);
    nb::object size = bands.is_valid() ? attribute(value, size_of_image) : nb::object();
    int width = 0, height = 0;
    if (!size.is_valid() || !PyTuple_Check(size.ptr())) return false;
    if (!PyArg_ParseTuple(size.ptr(), "ii", &width, &height)) return forgive(), false;
    nb::object found = nb::steal(PyObject_CallNoArgs(bands.ptr()));
    Py_ssize_t depth = found.is_valid() ? PyObject_Size(found.ptr()) : -1;
    if (depth < 0) return forgive(), false;
    count(static_cast<uint64_t>(width) * static_cast<uint64_t>(height) * static_cast<uint64_t>(depth));
    return true;
  }

  // An attribute; nothing if it is missing.
  static nb::object attribute(PyObject* value, PyObject* name) {
    PyObject* found = PyObject_GetAttr(value, name);
    forgive();
    return nb::steal(found);
  }

  // Whether a value is a sample in spite of an error, encoding decides.
  static void forgive() {
    if (!PyErr_Occurred()) return;
    if (!PyErr_ExceptionMatches(PyExc_Exception)) throw nb::python_error();
    PyErr_Clear();
  }

  uint64_t most_;
  uint64_t unknown_;
  uint64_t total_ = 0;
};

// Moves samples from an iterator to a list: at most `samples`, up to the one with which they have `bytes`
// bytes.
void fill(nb::list batch, nb::handle source, uint64_t samples, uint64_t bytes, uint64_t unknown) {
  may_run_python([&] {
    Measure measure(bytes, unknown);
    iternextfunc next = Py_TYPE(source.ptr())->tp_iternext;
    for (uint64_t k = 0; k < samples && !measure.is_full(); ++k) {
      nb::object sample = nb::steal(next(source.ptr()));
      if (!sample.is_valid()) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_StopIteration)) throw nb::python_error();
        return PyErr_Clear();
      }
      if (PyList_Append(batch.ptr(), sample.ptr()) != 0) throw nb::python_error();
      measure.add(sample.ptr());
    }
  });
}

uint64_t size_of(nb::handle value, uint64_t most, uint64_t unknown) {
  return may_run_python([&] {
    Measure measure(most, unknown);
    measure.add(value.ptr());
    return measure.total();
  });
}

}  // namespace

void define_measures(nb::module_& m) {
  PyDateTime_IMPORT;
  m.def("fill", &fill);
  m.def("size_of", &size_of, nb::arg().none(), nb::arg(), nb::arg());
}

}  // namespace mmap_ninja
