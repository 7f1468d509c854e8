// The samples that a handle sees, and how one of them becomes an object.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "python.h"
#include "shapes.h"
#include "spans.h"
#include "zstd.h"

namespace mmap_ninja {

enum class SampleKind : uint8_t { text, binary, array, ragged, record };

// What arrays are made of.
struct Layout {
  nb::object dtype = nb::none();
  Shape shape;                    // of a sample, where all have the same
  std::vector<npy_intp> strides;  // of a sample that is not stored in C order
};

struct Fields;

// What a handle sees of one column: immutable, shared by the handle, its iterators and its views. Another
// thread, or a wrapper, may move the handle to files of another layout while one is read.
struct Column {
  RowMap rows;
  Spans spans;
  Shapes shapes;     // of a ragged column
  nb::object owner;  // keeps the map of the payload for the arrays over it
  Frames frames;     // of a compressed column
  std::shared_ptr<const Layout> layout;
  std::shared_ptr<Mapping> nulls;  // of a nullable column: a byte per row, not zero where there is no sample
  std::shared_ptr<const Fields> fields;  // of records, which have nothing else but rows

  bool is_null(uint64_t row) const { return nulls && nulls->data()[row]; }
};

// The edits of a commit, as Python holds them; none: an unedited dataset's.
struct PyEdits {
  std::shared_ptr<const Edits> edits;
};

struct Samples {
  SampleKind kind;
  std::string path;
  std::shared_ptr<const Column> column;  // none: closed
  std::shared_ptr<const Layout> layout;  // of the column that is attached next
  nb::object wrapper;                    // called with each sample that is given out; or none
  bool copies = false;                   // arrays are given out as copies of their own
  bool cold = false;                     // the last batch waited for the disk
  bool ascii = true;                     // the last text was ASCII
};

// The columns of records, and how the dicts that they are given out in are nested.
struct Fields {
  struct Group {
    size_t parent;  // an earlier group; the first one is the record
    nb::object key;
    size_t first_field;
  };
  struct Field {
    size_t group;
    nb::object key;
    mutable Samples samples;  // their rows are the records'
  };
  std::vector<Group> groups;
  std::vector<Field> fields;
};

// A row as an object: a new reference, or nullptr with either `status` or a Python error set. `owns`: it must
// be no view.
PyObject* decode(Samples& samples, const Column& column, uint64_t row, Span span, bool owns, Status* status);

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

// The codec that an object of Python's stands for.
std::shared_ptr<const Zstd> codec_of(nb::handle codec);

// A row of text or bytes as an object, of which `span` is no frame; as for `decode`.
PyObject* decode_plain(Samples& samples, const Column& column, uint64_t row, Span span, Status* status);

// The column, for a batch to keep alive; raises if the handle is closed.
std::shared_ptr<const Column> open_column(const Samples& samples);

// Positions of a batch, negative ones resolved, all in range.
std::vector<uint64_t> positions_of(const Column& column, nb::handle key, const std::string& path);

// The rows where the samples at these positions are stored.
std::vector<uint64_t> rows_of(const Column& column, nb::handle key, const std::string& path);

// An array of C order, not initialised.
nb::object new_samples(const Samples& samples, const Column& column, const std::vector<npy_intp>& shape);

}  // namespace mmap_ninja
