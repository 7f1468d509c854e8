// Batches of samples as the bytes to add to a column's files.

#include <string.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "casting.h"
#include "python.h"
#include "shapes.h"
#include "utf8.h"

namespace mmap_ninja {
namespace {

[[noreturn]] void raise_wrong_type(const std::string& path, uint64_t sample, const char* expected,
                                   PyObject* got) {
  raise(nb::borrow(PyExc_TypeError), path + ": sample " + std::to_string(sample) + ": expected " + expected +
                                         ", got " + Py_TYPE(got)->tp_name +
                                         "; nothing of this batch was stored");
}

// The samples of a batch back to back, and their ends: what a variable-length column appends.
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

// An array of integers as one of another dtype; nothing if one does not fit, or the dtypes are other ones.
nb::object fitting_integers(PyArrayObject* array, PyArray_Descr* dtype) {
  Convert convert = PyArray_ISINTEGER(array) ? converter(PyArray_DESCR(array), dtype) : nullptr;
  uint64_t place;
  nb::object cast = convert ? converted(array, dtype, convert, &place) : nb::none();
  return cast.is_none() ? nb::object() : cast;
}

// Every sample as an array of exactly this dtype, and the least and greatest rank. Others than integers that
// fit are converted by `convert(sample, number)`.
nb::tuple convert_samples(nb::list samples, nb::handle dtype, nb::handle convert, uint64_t first) {
  auto descr = reinterpret_cast<PyArray_Descr*>(dtype.ptr());
  nb::list arrays;
  int least = kMaxRank, greatest = 0;
  // By index, since `convert` may run code that changes the list.
  for (size_t k = 0; k < samples.size(); ++k) {
    nb::object sample = samples[k];
    bool is_array = PyArray_CheckExact(sample.ptr());
    PyArray_Descr* own = is_array ? PyArray_DESCR(array_of(sample)) : nullptr;
    if (!own || (own != descr && !PyArray_EquivTypes(own, descr))) {
      nb::object cast = own ? fitting_integers(array_of(sample), descr) : nb::object();
      sample = cast.is_valid() ? cast : convert(sample, first + k);
    }
    int rank = PyArray_NDIM(array_of(sample));
    least = std::min(least, rank);
    greatest = std::max(greatest, rank);
    arrays.append(sample);
  }
  return nb::make_tuple(arrays, least, greatest);
}

// Arrays of one dtype back to back, each in C order.
nb::object join_arrays(const nb::list& arrays, std::vector<uint64_t>* ends) {
  uint64_t total = 0, elements = 0;
  for (nb::handle array : arrays) {
    total += static_cast<uint64_t>(PyArray_NBYTES(array_of(array)));
    elements += static_cast<uint64_t>(PyArray_SIZE(array_of(array)));
    ends->push_back(elements);
  }
  nb::object payload = new_bytes(total);
  uint8_t* at = data_of_bytes(payload);
  for (nb::handle item : arrays) {
    PyArrayObject* array = array_of(item);
    auto size = static_cast<uint64_t>(PyArray_NBYTES(array));
    if (PyArray_IS_C_CONTIGUOUS(array)) {
      memcpy(at, PyArray_DATA(array), size);
    } else {
      PyArray_Descr* descr = PyArray_DESCR(array);
      Py_INCREF(descr);
      nb::object target =
          owned(PyArray_NewFromDescr(&PyArray_Type, descr, PyArray_NDIM(array), PyArray_DIMS(array), nullptr,
                                     at, NPY_ARRAY_CARRAY, nullptr));
      if (PyArray_CopyInto(array_of(target), array) != 0) throw nb::python_error();
    }
    at += size;
  }
  return payload;
}

nb::object encode_arrays(nb::list arrays) {
  std::vector<uint64_t> ends;
  return join_arrays(arrays, &ends);
}

// Payload, ends in elements, and a row of `width` numbers per shape: its extents, preceded by its rank if
// `ranked`.
nb::tuple encode_ragged(nb::list arrays, uint64_t width, bool ranked) {
  std::vector<uint64_t> ends;
  nb::object payload = join_arrays(arrays, &ends);
  nb::object shapes = new_bytes(arrays.size() * width * sizeof(uint64_t));
  auto row = reinterpret_cast<uint64_t*>(data_of_bytes(shapes));
  std::fill_n(row, arrays.size() * width, 0);
  for (nb::handle item : arrays) {
    if (width == 0) break;
    int rank = PyArray_NDIM(array_of(item));
    uint64_t* extents = row;
    if (ranked) *extents++ = static_cast<uint64_t>(rank);
    if (static_cast<uint64_t>(extents - row) + static_cast<uint64_t>(rank) > width)
      raise(nb::borrow(PyExc_ValueError), "expected shapes that fit the width of a row");
    for (int k = 0; k < rank; ++k) extents[k] = static_cast<uint64_t>(PyArray_DIM(array_of(item), k));
    row += width;
  }
  return nb::make_tuple(payload, nb::bytes(ends.data(), ends.size() * sizeof(uint64_t)), shapes);
}

}  // namespace

void define_encoding(nb::module_& m) {
  m.def("encode_text", &encode_text);
  m.def("encode_binary", &encode_binary);
  m.def("convert_samples", &convert_samples);
  m.def("encode_arrays", &encode_arrays);
  m.def("encode_ragged", &encode_ragged);
}

}  // namespace mmap_ninja
