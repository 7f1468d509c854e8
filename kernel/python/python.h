// Shared by the files of the binding: native errors as exceptions, buffers, and NumPy arrays.

#pragma once

#define NPY_NO_DEPRECATED_API NPY_1_7_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL mmap_ninja_numpy
#ifndef MMAP_NINJA_IMPORTS_NUMPY
#define NO_IMPORT_ARRAY
#endif

#include <nanobind/nanobind.h>
#include <numpy/arrayobject.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <string>

#include "status.h"

// Strings, which are mostly paths: with surrogate escapes for any bytes in names, as in Python.
template <>
struct nanobind::detail::type_caster<std::string> {
  NB_TYPE_CASTER(std::string, const_name("str"))

  bool from_python(handle source, uint8_t, cleanup_list*) noexcept {
    Py_ssize_t size = 0;
    if (const char* text = PyUnicode_AsUTF8AndSize(source.ptr(), &size)) [[likely]] {
      value.assign(text, static_cast<size_t>(size));
      return true;
    }
    PyErr_Clear();
    object bytes = steal(PyUnicode_AsEncodedString(source.ptr(), "utf-8", "surrogateescape"));
    if (!bytes.is_valid()) {
      PyErr_Clear();
      return false;
    }
    value.assign(PyBytes_AS_STRING(bytes.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(bytes.ptr())));
    return true;
  }
  static handle from_cpp(const std::string& text, rv_policy, cleanup_list*) noexcept {
    return PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "surrogateescape");
  }
};

namespace mmap_ninja {

namespace nb = nanobind;

[[noreturn]] void raise(const nb::object& type, const std::string& message);
// An error class of mmap_ninja.errors.
nb::object error_class(const char* name);
// The only translation of native errors. `path` is that of the dataset, or of the file that the call was
// about.
[[noreturn]] void raise(const Status& status, const std::string& path);
// For type slots, which report errors by returning nullptr or -1.
void set_error(const Status& status, const std::string& path);

inline void check(const Status& status, const std::string& path) {
  if (!status.ok()) raise(status, path);
}

// Takes a new reference from the C API, or raises the error that it has set.
inline nb::object owned(PyObject* object) {
  if (!object) throw nb::python_error();
  return nb::steal(object);
}

// Calls a function that can run Python code, or wait for the GIL. Before Python 3.14, a daemon thread that
// does so while the interpreter exits is ended by unwinding its stack, upon which C++ calls std::terminate.
// Here, as in 3.14, it waits for the end of the process.
template <typename Function>
auto may_run_python(Function function) {
  try {
    return function();
  } catch (const std::exception&) {
    throw;
  } catch (...) {
    for (;;) ::pause();
  }
}

// Lets other threads run.
class GilReleased {
 public:
  GilReleased() : state_(PyEval_SaveThread()) {}
  GilReleased(const GilReleased&) = delete;
  ~GilReleased() {
    may_run_python([this] { PyEval_RestoreThread(state_); });
  }

 private:
  PyThreadState* state_;
};

// For type slots: calls a function that may throw; false, with a Python error set, if it did.
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

inline PyArrayObject* array_of(nb::handle object) { return reinterpret_cast<PyArrayObject*>(object.ptr()); }

template <typename T>
T* data_of(nb::handle array) {
  return static_cast<T*>(PyArray_DATA(array_of(array)));
}

// An array in C order, not initialised. Large ones lie in a buffer of the kernel (buffers.h), which they own
// like the memory of other arrays. Takes the reference to `dtype`.
nb::object new_array(PyArray_Descr* dtype, int rank, const npy_intp* shape);

inline nb::object new_array(int type, int rank, const npy_intp* shape) {
  return new_array(PyArray_DescrFromType(type), rank, shape);
}

inline nb::object new_array(uint64_t size, int type) {
  auto length = static_cast<npy_intp>(size);
  return new_array(type, 1, &length);
}

inline nb::object new_bytes(uint64_t size) {
  return owned(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size)));
}

inline uint8_t* data_of_bytes(nb::handle bytes) {
  return reinterpret_cast<uint8_t*>(PyBytes_AS_STRING(bytes.ptr()));
}

// The parts of the module, each in its own file.
void define_arrays(nb::module_& m);
void define_errors(nb::module_& m);
void define_io(nb::module_& m);
void define_files(nb::module_& m);
void define_log(nb::module_& m);
void define_edits(nb::module_& m);
void define_hashes(nb::module_& m);
void define_indices(nb::module_& m);
void define_indices(nb::class_<struct Samples>& samples);
void define_columns(nb::module_& m);
void define_iterator(nb::module_& m);
void define_exports(nb::module_& m);
void define_samples(nb::module_& m);
void define_cold(nb::module_& m);
void define_cold(nb::class_<struct Reader>& column);
void define_takes(nb::class_<struct Reader>& column);
void define_takes(nb::class_<struct Samples>& samples);
void define_padded(nb::class_<struct Samples>& samples);
void define_descriptions(nb::class_<struct Samples>& samples);
void define_tables(nb::class_<struct Reader>& column);
void define_windows(nb::class_<struct Reader>& column);
void define_measures(nb::module_& m);
void define_casting(nb::module_& m);
void define_encoding(nb::module_& m);
void define_zstd(nb::module_& m);
void define_orders(nb::module_& m);
void define_packing(nb::module_& m);

}  // namespace mmap_ninja
