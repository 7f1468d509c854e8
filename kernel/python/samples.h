// The samples that a handle sees, and how one of them becomes an object.

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fetch.h"
#include "python.h"
#include "rows.h"
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
  // What reading a sample needs comes first, on few lines of the CPU's cache.
  bool is_direct = true;   // one column that is mapped, or in memory: no detour for a sample
  bool is_frozen = false;  // copies of its arrays are read-only, as the views are that they stand for
  Access access = Access::map;
  RowMap rows = RowMap(0);
  Spans spans = {nullptr, 0, 0, {}};
  std::shared_ptr<Mapping> nulls;  // of a nullable column: a byte per row, not zero where there is no sample
  Frames frames;                   // of a compressed column
  std::shared_ptr<const Layout> layout;
  nb::object owner;                      // keeps the map of the payload for the arrays over it
  std::shared_ptr<const Fields> fields;  // of records, which have nothing else but rows
  Shapes shapes = {ShapeForm::flat, {nullptr, 0, 0, {}}};  // of a ragged column
  uint64_t stored = 0;            // rows that the files hold, whichever of them are samples here
  std::vector<uint64_t> origins;  // of rows that were fetched: what they are in the files

  bool is_null(uint64_t row) const { return nulls && nulls->data()[row]; }
  // The row as errors call it.
  uint64_t origin(uint64_t row) const { return row < origins.size() ? origins[row] : row; }
  bool is_fetched() const { return !origins.empty(); }
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
  Access access = Access::map;           // of the files that are attached next
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

// What the arrays over a payload keep.
nb::object owner_of(const std::shared_ptr<Mapping>& payload);

// An error with a row of the column's.
void check(const Status& status, const Column& column, const std::string& path);

// Once per batch: whether somebody truncated a file under its map. Costs nothing per sample, and guards no
// view.
void check_sizes(const Column& column, const std::string& path);

struct FetchOptions {
  uint64_t most_bytes = UINT64_MAX;  // of samples: then there may be fewer than were asked for, but one
  bool one_by_one = false;  // they are given out one by one, so that none may keep the memory of the others
  bool is_cold = false;     // the disk is asked for all of them before the first is read
};

// The samples in these rows of a column that is not mapped, read into memory: a column of its own, with as
// many rows.
std::shared_ptr<const Column> fetch(const Column& column, const std::vector<uint64_t>& rows,
                                    const FetchOptions& options, const std::string& path);

// Samples that are read together. Where the files are not mapped, they are in memory.
struct Batch {
  std::shared_ptr<const Column> column;
  std::vector<uint64_t> rows;  // of that column
};
Batch read_batch(Samples& samples, nb::handle indices);
// The same of rows of a column; they should be few enough for memory.
Batch read_rows(const std::shared_ptr<const Column>& column, std::vector<uint64_t> rows, bool is_cold,
                const std::string& path);

// The times of batches: the next one's pages are asked for all at once where this one waited for the disk.
// Measured: 5x faster than faulting them in one by one when cold, up to 3x slower when warm, so it must
// adapt.
class Stopwatch {
 public:
  Stopwatch();
  // Whether so many samples took longer than they do from memory.
  bool waited(uint64_t count, uint64_t bytes, bool decoded) const;

 private:
  double begin_;
};

// Positions of a batch, negative ones resolved, all in range.
std::vector<uint64_t> positions_of(const Column& column, nb::handle key);

// The rows where the samples at these positions are stored.
std::vector<uint64_t> rows_of(const Column& column, nb::handle key);

// An array of C order, not initialised.
nb::object new_samples(const Samples& samples, const Column& column, const std::vector<npy_intp>& shape);

}  // namespace mmap_ninja
