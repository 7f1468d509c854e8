// Resolving slices, indices and masks to positions.

#include <string.h>

#include <algorithm>

#include "batch.h"

namespace mmap_ninja {
namespace {

// `_listed` of kinds/indices.py: makes arrays of keys that are not slices, lists of plain integers or arrays.
// Set at import, never released.
PyObject* list_indices = nullptr;

const char* const kShownCommit = "_shown_commit";  // called for messages about positions that are not there

bool is_vector(nb::handle key, int type) {
  return PyArray_CheckExact(key.ptr()) && PyArray_TYPE(array_of(key)) == type &&
         PyArray_NDIM(array_of(key)) == 1 && PyArray_ISCARRAY_RO(array_of(key));
}

// Whether a key is an array of positions already.
bool is_resolved(nb::handle key, uint64_t count) {
  if (!is_vector(key, NPY_INT64)) return false;
  auto indices = data_of<const int64_t>(key);
  return std::all_of(indices, indices + PyArray_SIZE(array_of(key)),
                     [&](int64_t index) { return static_cast<uint64_t>(index) < count; });
}

nb::object listed(nb::handle key) {
  if (is_vector(key, NPY_INT64) || is_vector(key, NPY_BOOL)) return nb::borrow(key);
  if (!list_indices)
    raise(nb::borrow(PyExc_TypeError), "index: expected a slice, integers or an array of int64");
  return may_run_python([&] { return owned(PyObject_CallOneArg(list_indices, key.ptr())); });
}

[[noreturn, gnu::cold, gnu::noinline]] void raise_index(const std::string& message) {
  PyErr_SetObject(PyExc_IndexError, nb::cast(message).ptr());
  throw OutOfRange();
}

// Positions among `count` items; `items`: their name in messages.
class Positions {
 public:
  Positions(uint64_t count, const char* items) : count_(count), items_(items) {}

  std::vector<uint64_t> of(nb::handle key) {
    if (PyList_CheckExact(key.ptr()) && add_integers(key)) return std::move(positions_);
    if (PySlice_Check(key.ptr())) {
      add_slice(key);
      return std::move(positions_);
    }
    nb::object array = listed(key);
    auto size = static_cast<size_t>(PyArray_SIZE(array_of(array)));
    if (PyArray_TYPE(array_of(array)) == NPY_BOOL)
      add_mask(data_of<const uint8_t>(array), size);
    else
      add_all(data_of<const int64_t>(array), size);
    return std::move(positions_);
  }

 private:
  uint64_t position(int64_t index) const {
    auto position = static_cast<uint64_t>(index < 0 ? index + static_cast<int64_t>(count_) : index);
    if (position >= count_) [[unlikely]]
      raise_range(index, count_, items_);
    return position;
  }

  void add_all(const int64_t* indices, size_t size) {
    positions_.resize(size);
    std::transform(indices, indices + size, positions_.begin(),
                   [&](int64_t index) { return position(index); });
  }

  // Adds the items of a list; false if not all are plain integers.
  bool add_integers(nb::handle list) {
    auto size = static_cast<size_t>(PyList_GET_SIZE(list.ptr()));
    positions_.resize(size);
    for (size_t k = 0; k < size; ++k) {
      PyObject* item = PyList_GET_ITEM(list.ptr(), static_cast<Py_ssize_t>(k));
      if (!PyLong_CheckExact(item)) {
        positions_.clear();
        return false;
      }
      int64_t index = PyLong_AsLongLong(item);
      if (index == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        raise_index("an index past 64 bits is out of range for " + std::to_string(count_) + " " + items_);
      }
      positions_[k] = position(index);
    }
    return true;
  }

  void add_slice(nb::handle slice) {
    Py_ssize_t start, stop, step;
    may_run_python([&] {
      if (PySlice_Unpack(slice.ptr(), &start, &stop, &step) != 0) throw nb::python_error();
    });
    Py_ssize_t size = PySlice_AdjustIndices(static_cast<Py_ssize_t>(count_), &start, &stop, step);
    positions_.resize(static_cast<size_t>(size));
    for (Py_ssize_t k = 0; k < size; ++k)
      positions_[static_cast<size_t>(k)] = static_cast<uint64_t>(start + k * step);
  }

  void add_mask(const uint8_t* chosen, size_t size) {
    if (size != count_)
      raise_index("boolean index of length " + std::to_string(size) + " does not match " +
                  std::to_string(count_) + " " + items_);
    for (size_t k = 0; k < size; ++k)
      if (chosen[k]) positions_.push_back(k);
  }

  uint64_t count_;
  const char* items_;
  std::vector<uint64_t> positions_;
};

// The positions that a key selects, as an array: the key itself if it is one already.
nb::object resolved(nb::handle key, uint64_t count, const char* items) {
  if (is_resolved(key, count)) return nb::borrow(key);
  std::vector<uint64_t> positions = Positions(count, items).of(key);
  nb::object array = new_array(positions.size(), NPY_INT64);
  if (!positions.empty())
    memcpy(data_of<int64_t>(array), positions.data(), positions.size() * sizeof(int64_t));
  return array;
}

}  // namespace

void raise_range(int64_t index, uint64_t count, const char* items) {
  set_error(
      {.code = Code::row_range, .what = items, .found = static_cast<uint64_t>(index), .expected = count}, "");
  throw OutOfRange();
}

void raise_behind(Samples& samples, const OutOfRange& error) {
  std::string message = nb::cast<std::string>(nb::str(error.value()));
  nb::object self = nb::find(samples);
  if (self.is_valid() && nb::hasattr(self, kShownCommit))
    message += "; " + may_run_python([&] { return nb::cast<std::string>(self.attr(kShownCommit)()); });
  raise(nb::borrow(PyExc_IndexError), message);
}

std::vector<uint64_t> positions_of(const Column& column, nb::handle key) {
  return Positions(column.rows.count(), "samples").of(key);
}

std::vector<uint64_t> rows_of(const Column& column, nb::handle key) {
  std::vector<uint64_t> rows = positions_of(column, key);
  for (uint64_t& row : rows) row = column.rows.row(row);
  return rows;
}

void define_indices(nb::module_& m) {
  m.def("list_indices_with", [](nb::object function) { list_indices = function.release().ptr(); });
  m.def(
      "resolved",
      [](nb::handle key, uint64_t count, const std::string& items) {
        return resolved(key, count, items.c_str());
      },
      nb::arg().none(), nb::arg(), nb::arg());
}

void define_indices(nb::class_<Samples>& samples) {
  samples.def(
      "_resolved",
      [](Samples& self, nb::handle key, uint64_t count) {
        return looking_up(self, [&] { return resolved(key, count, "samples"); });
      },
      nb::arg().none(), nb::arg());
}

}  // namespace mmap_ninja
