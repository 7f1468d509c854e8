// Turning rows into Python objects.

#pragma once

#include <memory>
#include <vector>

#include "column.h"

namespace mmap_ninja {

// A sample in a map or in memory: a new reference, or nullptr with a Python error set.
PyObject* get_direct(const Column& column, uint64_t row, Hints* hints);
// The same for a record, or a sample of files that are not mapped.
PyObject* get_indirect(Reader& reader, const Column& column, uint64_t row);

// The same for the column of a reader, which has several parts.
PyObject* get_of_parts(Reader& reader, uint64_t row);

inline PyObject* get(Reader& reader, const Column& column, uint64_t row) {
  return column.is_direct ? get_direct(column, row, &reader.hints) : get_indirect(reader, column, row);
}

// A row as an object: a new reference, or nullptr with either `status` or a Python error set. `owns`: it must
// not be a view.
PyObject* decode(const Column& column, uint64_t row, Span span, bool owns, Hints* hints, Status* status);

// A sample as an array over a private map of its payload, which `owner` keeps alive; its rank is 1 if samples
// differ in shape. A new reference, or nullptr with a Python error set.
PyObject* array_in(const Column& column, Span span, PyObject* owner);

// A record as nested dicts, whose values value_of(field) gives: a new reference, or nullptr with a Python
// error set, as of the values.
template <typename ValueOf>
PyObject* record_of(std::shared_ptr<const Fields> fields,
                    ValueOf value_of) {  // a wrapper may close the handle
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
    nb::object value = nb::steal(value_of(field));
    if (!value.is_valid() || PyDict_SetItem(dicts[field.group].ptr(), field.key.ptr(), value.ptr()) != 0)
      return nullptr;
  }
  return dicts[0].release().ptr();
}

// One record as nested dicts: a new reference, or nullptr with a Python error set. `owns` as above.
PyObject* decode_record(const Column& column, uint64_t row, bool owns);

// The decoded samples of a batch of a compressed column, back to back, and the workers for decoding.
struct Decoded {
  std::vector<int64_t> offsets;
  std::unique_ptr<uint8_t[]> values;
  uint64_t count = 0;  // of decoded samples; fewer than requested if the next one is damaged

  // Decodes as many rows as fit into a few MiB, at least one; releases the GIL meanwhile.
  Status decode(const Column& column, const uint64_t* rows, uint64_t size);
  Span at(uint64_t k) const {
    return {values.get() + offsets[k], static_cast<uint64_t>(offsets[k + 1] - offsets[k])};
  }
};

// A row of text or bytes as an object, whose `span` is not compressed; as for `decode`.
PyObject* decode_plain(const Column& column, uint64_t row, Span span, Hints* hints, Status* status);

// Whether samples are returned as arrays over the private map of the payload.
bool gives_views(const Column& column);

// A list of objects, which are moved to it.
nb::object list_of(std::vector<nb::object>& objects);

// An array in C order, not initialised; of float64 if the dtype is not known yet, like an empty NumPy array.
nb::object new_samples(const Column& column, const std::vector<npy_intp>& shape);

}  // namespace mmap_ninja
