// What a handle sees of one column, or of records: made whole by one call, and never changed.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "python.h"
#include "rows.h"
#include "shapes.h"
#include "spans.h"
#include "zstd.h"

namespace mmap_ninja {

enum class SampleKind : uint8_t { text, binary, array, ragged, record };

// What all samples have in common, whichever of them are shown; shared by the columns that are derived from
// one.
struct Layout {
  std::string path;               // as errors name the samples
  nb::object dtype = nb::none();  // of arrays
  Shape shape;                    // of a sample, where all have the same
  std::vector<npy_intp> strides;  // of a sample that is not stored in C order
};

// Rows that lie one after the other in files of their own, or in memory.
struct Part {
  Spans spans = {nullptr, 0, 0, {}};
  std::shared_ptr<Mapping> nulls;  // of a nullable column: a byte per row, not zero where there is no sample
  Frames frames;                   // of a compressed column
  nb::object owner;                // keeps the map of the payload for the arrays over it
  Shapes shapes = {ShapeForm::flat, {nullptr, 0, 0, {}}};  // of a ragged column
  uint64_t stored = 0;  // rows that the files hold, whichever of them are samples here

  bool is_null(uint64_t row) const { return nulls && nulls->data()[row]; }
};

struct Fields;

// Immutable, shared by a handle, its iterators and its views. Another thread, or a wrapper, may move the
// handle to files of another layout while one is read.
struct Column {
  // What reading a sample needs comes first, on few lines of the CPU's cache.
  bool is_direct = true;   // one column that is mapped, or in memory: no detour for a sample
  bool is_frozen = false;  // copies of its arrays are read-only, as the views are that they stand for
  bool copies = false;     // arrays are given out as copies of their own
  SampleKind kind = SampleKind::binary;
  Access access = Access::map;
  RowMap rows = RowMap(0);
  // The only one. A column of several datasets will have more beside it: the rows of `rows` count through all
  // of them, and a row past the first part's looks for its own; the others pay one comparison.
  Part part;
  std::shared_ptr<const Layout> layout;
  nb::object wrapper = nb::none();       // called with each sample that is given out
  std::shared_ptr<const Fields> fields;  // of records, which have nothing else but rows
  std::vector<uint64_t> origins;         // of rows that were fetched: what they are in the files

  const std::string& path() const { return layout->path; }
  // The row as errors call it.
  uint64_t origin(uint64_t row) const { return row < origins.size() ? origins[row] : row; }
  bool is_fetched() const { return !origins.empty(); }
};

using ColumnPtr = std::shared_ptr<const Column>;

// What was found when samples were read last, and is guessed of the next ones, for speed alone.
struct Hints {
  bool ascii = true;  // text was ASCII
  bool cold = false;  // a batch waited for the disk
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
    ColumnPtr column;  // its rows are the records'
    mutable Hints hints;
  };
  std::vector<Group> groups;
  std::vector<Field> fields;
};

// Somebody who reads a column: what Python holds of one.
struct Reader {
  ColumnPtr column;
  Hints hints = {};
};

// What a handle is: it shows one column after the other, or none when it is closed.
struct Samples : Reader {
  std::string path;       // as errors name it where it shows nothing
  bool is_mapped = true;  // what it shows, or showed last
};

// What a handle shows, of which a batch keeps the column; raises if it is closed.
Reader& shown(Samples& samples);

// An iterator over what a reader sees now; nullptr with a Python error set where there is no memory for it.
PyObject* new_iterator(const Reader& reader);

// The edits of a commit, as Python holds them; none: an unedited dataset's.
struct PyEdits {
  std::shared_ptr<const Edits> edits;
};

// The codec that an object of Python's stands for.
std::shared_ptr<const Zstd> codec_of(nb::handle codec);

// What the arrays over a payload keep.
nb::object owner_of(const std::shared_ptr<Mapping>& payload);

// The same files at another commit of so many rows; `payload_sizes`: of each column of records, or of the
// only one.
ColumnPtr grown(const ColumnPtr& column, const std::vector<uint64_t>& payload_sizes, uint64_t rows,
                const PyEdits& edits);

}  // namespace mmap_ninja
