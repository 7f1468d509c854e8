// The samples that a handle sees, and how one of them becomes an object.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "python.h"
#include "shapes.h"
#include "spans.h"

namespace mmap_ninja {

enum class SampleKind : uint8_t { text, binary, array, ragged };

// What a handle sees of one column: immutable, shared by the handle, its iterators and its views.
struct Column {
  Spans spans;
  Shapes shapes;     // of a ragged column
  nb::object owner;  // keeps the map of the payload for the arrays over it
};

struct Samples {
  SampleKind kind;
  std::string path;
  std::shared_ptr<const Column> column;  // none: closed
  nb::object dtype;                      // of arrays
  Shape shape;                           // of a sample, where all have the same
  std::vector<npy_intp> strides;         // of a sample that is not stored in C order
  nb::object wrapper;                    // called with each sample that is given out; or none
  bool copies = false;                   // arrays are given out as copies of their own
  bool cold = false;                     // the last batch waited for the disk
  bool ascii = true;                     // the last text was ASCII
};

// A new reference, or nullptr with either `status` or a Python error set. `owns`: the sample must be no view.
PyObject* decode(Samples& samples, const Column& column, uint64_t position, Span span, bool owns,
                 Status* status);

// The column, for a batch to keep alive; raises if the handle is closed.
std::shared_ptr<const Column> open_column(const Samples& samples);

// Positions of a batch, negative ones resolved, all in range.
std::vector<uint64_t> positions(const Spans& spans, nb::handle key, const std::string& path);

// An array of C order, not initialised.
nb::object new_samples(const Samples& samples, const std::vector<npy_intp>& shape);

}  // namespace mmap_ninja
