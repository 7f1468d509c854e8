#include "casting.h"

#include <optional>

namespace mmap_ninja {
namespace {

std::optional<Number> number_of(PyArray_Descr* dtype) {
  if (!PyArray_ISNBO(dtype->byteorder)) return {};
  npy_intp size = PyDataType_ELSIZE(dtype);
  auto sized = [size](Number one, Number two, Number four, Number eight) -> std::optional<Number> {
    return size == 1 ? one : size == 2 ? two : size == 4 ? four : eight;
  };
  switch (dtype->kind) {
    case 'b':
      return Number::b1;
    case 'i':
      return sized(Number::i1, Number::i2, Number::i4, Number::i8);
    case 'u':
      return sized(Number::u1, Number::u2, Number::u4, Number::u8);
    case 'f':
      if (size == 4) return Number::f4;
      if (size == 8) return Number::f8;
      return {};
    default:
      return {};
  }
}

// An array of another dtype; the place of the first number that it does not hold; or None for dtypes that the
// kernel does not convert.
nb::object convert_numbers(nb::handle array, nb::handle dtype) {
  auto to = reinterpret_cast<PyArray_Descr*>(dtype.ptr());
  Convert convert = converter(PyArray_DESCR(array_of(array)), to);
  if (!convert) return nb::none();
  uint64_t place = 0;
  nb::object cast = converted(array_of(array), to, convert, &place);
  return cast.is_none() ? nb::object(nb::int_(place)) : cast;
}

}  // namespace

Convert converter(PyArray_Descr* from, PyArray_Descr* to) {
  std::optional<Number> of = number_of(from), wanted = number_of(to);
  return of && wanted ? converter(*of, *wanted) : nullptr;
}

nb::object converted(PyArrayObject* array, PyArray_Descr* dtype, Convert convert, uint64_t* place) {
  constexpr uint64_t kLong = 1 << 16;  // takes much longer than to let other threads run
  nb::object source = owned(reinterpret_cast<PyObject*>(PyArray_GETCONTIGUOUS(array)));
  Py_INCREF(dtype);
  nb::object target = new_array(dtype, PyArray_NDIM(array), PyArray_DIMS(array));
  auto count = static_cast<uint64_t>(PyArray_SIZE(array));
  {
    std::optional<GilReleased> release;
    if (count >= kLong) release.emplace();
    *place = convert(data_of<uint8_t>(source), count, data_of<uint8_t>(target));
  }
  return *place == count ? target : nb::none();
}

void define_casting(nb::module_& m) { m.def("convert_numbers", &convert_numbers); }

}  // namespace mmap_ninja
