#include "target.h"

#include <algorithm>

#include "decode.h"

namespace mmap_ninja {
namespace {

[[noreturn]] void raise_value(const Column& column, const std::string& message) {
  raise(nb::borrow(PyExc_ValueError), column.path() + ": " + message);
}

PyArray_Descr* descr_of(nb::handle dtype) { return reinterpret_cast<PyArray_Descr*>(dtype.ptr()); }

nb::tuple tuple_of(const std::vector<npy_intp>& shape) {
  nb::list extents;
  for (npy_intp extent : shape) extents.append(extent);
  return nb::tuple(extents);
}

std::string text_of(nb::handle object) { return nb::str(object).c_str(); }

std::string describe(nb::handle dtype, nb::handle shape) {
  return text_of(dtype) + " of shape " + text_of(shape);
}

nb::object new_array_of(nb::handle dtype, const std::vector<npy_intp>& shape) {
  Py_INCREF(dtype.ptr());
  return new_array(descr_of(dtype), static_cast<int>(shape.size()), shape.data());
}

// Whether NumPy converts these numbers without loss: floats that the kernel does not know, such as half
// precision, to wider ones; and the same numbers in another byte order. What it calls safe for long integers
// is not, and for dates overflows.
bool numpy_keeps(PyArray_Descr* from, PyArray_Descr* to) {
  if (PyArray_CanCastTypeTo(from, to, NPY_EQUIV_CASTING)) return true;
  bool is_float = PyTypeNum_ISFLOAT(from->type_num) || PyTypeNum_ISCOMPLEX(from->type_num) ||
                  PyTypeNum_ISUSERDEF(from->type_num);
  bool to_float = PyTypeNum_ISFLOAT(to->type_num) || PyTypeNum_ISCOMPLEX(to->type_num);
  return is_float && to_float && PyArray_CanCastTypeTo(from, to, NPY_SAFE_CASTING);
}

}  // namespace

Target::Target(const Column& column, nb::handle out, nb::handle dtype, const std::vector<npy_intp>& shape) {
  bool is_known = !column.layout->dtype.is_none();  // not before the first sample
  nb::object own = is_known ? column.layout->dtype
                            : nb::steal(reinterpret_cast<PyObject*>(PyArray_DescrFromType(NPY_DOUBLE)));
  nb::object wanted = own;
  if (!dtype.is_none()) wanted = nb::borrow(dtype);
  if (!out.is_none() && PyArray_Check(out.ptr())) wanted = out.attr("dtype");
  if (!is_known) own = wanted;
  bool is_own = own.is(wanted) || PyArray_EquivTypes(descr_of(own), descr_of(wanted));
  if (!is_own) convert_ = converter(descr_of(own), descr_of(wanted));
  bool fits = is_own || convert_ || numpy_keeps(descr_of(own), descr_of(wanted));
  const nb::object& filled = convert_ ? wanted : own;
  if (out.is_none()) {
    if (!fits)
      raise(nb::borrow(PyExc_TypeError),
            column.path() + ": dtype: expected one that holds " + text_of(own) + ", got " + text_of(wanted));
    array_ = is_own && is_known ? new_samples(column, shape) : new_array_of(wanted, shape);
    filled_ = is_own || convert_ ? array_ : new_array_of(own, shape);
    return;
  }
  if (!PyArray_Check(out.ptr()))
    raise(nb::borrow(PyExc_TypeError), column.path() + ": out: expected an ndarray");
  PyArrayObject* array = array_of(out);
  bool same_shape = PyArray_NDIM(array) == static_cast<int>(shape.size()) &&
                    std::equal(shape.begin(), shape.end(), PyArray_DIMS(array));
  if (!same_shape || !fits)
    raise_value(column, "out: expected " + describe(own, tuple_of(shape)) +
                            (fits ? "" : ", or a dtype that holds it") + ", got " +
                            describe(wanted, out.attr("shape")));
  if (!PyArray_ISWRITEABLE(array)) raise_value(column, "out: expected a writable array, got a read-only one");
  array_ = nb::borrow(out);
  filled_ = PyArray_ISCARRAY(array) && (is_own || convert_) ? array_ : new_array_of(filled, shape);
}

bool Target::is_recast() const {
  return !PyArray_EquivTypes(PyArray_DESCR(array_of(array_)), PyArray_DESCR(array_of(filled_)));
}

void Target::refuse(const Column& column, const std::string& where, const uint8_t* element,
                    const std::vector<int64_t>& place) const {
  nb::object value =
      owned(PyArray_Scalar(const_cast<uint8_t*>(element), descr_of(column.layout->dtype), nullptr));
  nb::object dtype = filled_.attr("dtype");
  std::string at;
  for (int64_t index : place) at += (at.empty() ? ", at [" : ", ") + std::to_string(index);
  if (!at.empty()) at += "]";
  raise_value(column, where + ": dtype " + text_of(dtype) + " cannot hold " + text_of(value) + at +
                          "; read into another one");
}

nb::object Target::finish() const {
  if (!filled_.is(array_) && PyArray_CopyInto(array_of(array_), array_of(filled_)) != 0)
    throw nb::python_error();
  return array_;
}

}  // namespace mmap_ninja
