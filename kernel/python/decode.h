// How a row becomes an object.

#pragma once

#include <memory>
#include <vector>

#include "column.h"

namespace mmap_ninja {

// A sample that lies in a map, or in memory: a new reference, or nullptr with a Python error set.
PyObject* get_direct(const Column& column, uint64_t row, Hints* hints);
// A record, or a sample of files that are not mapped; likewise.
PyObject* get_indirect(Reader& reader, const Column& column, uint64_t row);

inline PyObject* get(Reader& reader, const Column& column, uint64_t row) {
  return column.is_direct ? get_direct(column, row, &reader.hints) : get_indirect(reader, column, row);
}

// A row as an object: a new reference, or nullptr with either `status` or a Python error set. `owns`: it must
// be no view.
PyObject* decode(const Column& column, uint64_t row, Span span, bool owns, Hints* hints, Status* status);

// One record, as nested dicts; as for `decode`, with the error set.
PyObject* decode_record(const Column& column, uint64_t row, bool owns);

// What a batch of a compressed column decodes to, back to back, and the workers for it.
struct Decoded {
  std::vector<int64_t> offsets;
  std::unique_ptr<uint8_t[]> values;
  uint64_t count = 0;  // of whole samples: all, unless the next one is damaged

  // Decodes as many of them as fit into a few MiB, at least one; runs without the GIL in between.
  Status decode(const Column& column, const uint64_t* rows, uint64_t size);
  Span at(uint64_t k) const {
    return {values.get() + offsets[k], static_cast<uint64_t>(offsets[k + 1] - offsets[k])};
  }
};

// A row of text or bytes as an object, of which `span` is no frame; as for `decode`.
PyObject* decode_plain(const Column& column, uint64_t row, Span span, Hints* hints, Status* status);

// An array of C order, not initialised; of float64 where no sample has told the dtype yet, as NumPy makes
// them of nothing.
nb::object new_samples(const Column& column, const std::vector<npy_intp>& shape);

}  // namespace mmap_ninja
