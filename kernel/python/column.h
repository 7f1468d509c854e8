// A column, or records, as a handle sees them: made by one call, and immutable.

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "python.h"
#include "rows.h"
#include "segments.h"
#include "shapes.h"
#include "spans.h"
#include "views.h"
#include "zstd.h"

namespace mmap_ninja {

enum class SampleKind : uint8_t { text, binary, array, ragged, record };

// What all samples of a column have in common; shared by the columns that are derived from it.
struct Layout {
  std::string path;               // the name of the samples in errors
  nb::object dtype = nb::none();  // of arrays
  Shape shape;                    // of a sample, if all have the same
  std::vector<npy_intp> strides;  // of samples that are not stored in C order
  bool are_windows = false;       // rows are the numbers of their first elements
};

// Consecutive rows in files, or in memory.
struct Part {
  std::shared_ptr<Mapping> nulls;  // of a nullable column: a byte per row, not zero for a null
  Frames frames;                   // of a compressed column
  std::shared_ptr<Views> views;    // where arrays are given out from; null without a payload
  Spans spans = {nullptr, 0, 0, {}};
  Shapes shapes = {ShapeForm::flat, {nullptr, 0, 0, {}}};  // of a ragged column
  uint64_t stored = 0;  // rows in the files, including those that are not samples here

  bool is_null(uint64_t row) const { return nulls && nulls->data()[row]; }
};

struct Fields;
class Parts;

// Immutable, shared by a handle, its iterators and its views. Another thread, or a wrapper, may move the
// handle to files of another layout while a column is read.
struct Column {
  // The fields for reading a sample come first, in few cache lines.
  bool is_direct = true;   // a single column that is mapped or in memory: the fast path
  bool is_frozen = false;  // copies of its arrays are read-only, like the views that they replace
  bool copies = false;     // arrays are returned as copies
  SampleKind kind = SampleKind::binary;
  Access access = Access::map;
  RowMap rows = RowMap(0);
  std::shared_ptr<const Layout> layout;
  nb::object wrapper = nb::none();  // called with each sample that is returned
  Part part;                        // of a column over several datasets only what is known of all of them
  std::shared_ptr<const Fields> fields;  // of records, which have only rows in addition
  std::vector<uint64_t> origins;         // of fetched rows: their numbers in the files
  std::shared_ptr<const Parts> parts;    // of a column over several datasets, whose samples are the rows
  std::shared_ptr<const Documents> documents;  // that windows are cut from; null: each is in one

  const std::string& path() const { return layout->path; }
  // Starts on a private map that nothing was written to.
  void renew_views();
  // The number of a row in errors.
  uint64_t origin(uint64_t row) const { return row < origins.size() ? origins[row] : row; }
  bool is_fetched() const { return !origins.empty(); }
};

using ColumnPtr = std::shared_ptr<const Column>;

// Properties of the last samples read, as guesses for the next ones; only for speed.
struct Hints {
  bool ascii = true;      // text was ASCII
  bool is_asked = false;  // whether samples were in memory
  uint8_t cold = 0;       // batches that are asked for unseen, since some samples were not in memory
  double unasked = 0;     // bytes that were read since
};

// The columns of records, and the nesting of the dicts in which they are returned.
struct Fields {
  struct Group {
    size_t parent;  // an earlier group; the first one is the record
    nb::object key;
    size_t first_field;
  };
  struct Field {
    size_t group;
    nb::object key;
    ColumnPtr column;  // its rows are those of the records
    mutable Hints hints;
  };
  std::vector<Group> groups;
  std::vector<Field> fields;
};

// A reader of a column: the object that Python has.
struct Reader {
  ColumnPtr column;
  Hints hints = {};
};

// The base of handles: shows a column, which may be exchanged, or none when it is closed.
struct Samples : Reader {
  std::string path;       // its name in errors while it shows nothing
  bool is_mapped = true;  // whether the column, or the last one shown, is mapped
};

// What a handle shows; a batch must keep its column; raises if it is closed.
Reader& shown(Samples& samples);

// An iterator over what a reader sees now, which starts afresh; nullptr with a Python error set if there is
// no memory.
PyObject* new_iterator(Reader& reader);

// The edits of a commit as a Python object; null: no edits.
struct PyEdits {
  std::shared_ptr<const Edits> edits;
};

// The codec of a Python object.
std::shared_ptr<const Zstd> codec_of(nb::handle codec);

// The column for a new pass over the samples: the same one, or one whose arrays start on a fresh private map
// if some may have been written to, or an iterator in progress uses it.
ColumnPtr fresh(const ColumnPtr& column);
// The column for the rest of a pass: another one if so many of the last bytes hold a page that was written
// to.
ColumnPtr without_written(const ColumnPtr& column, uint64_t bytes);

// Other rows of the same column, whose arrays nobody else has.
Reader with_rows(const Column& column, RowMap rows);

// The same files at another commit with `rows` rows; `payload_sizes`: of each column of records, or of the
// only column.
ColumnPtr grown(const ColumnPtr& column, const std::vector<uint64_t>& payload_sizes, uint64_t rows,
                const PyEdits& edits);

}  // namespace mmap_ninja
