// A column over several datasets, as `concat` makes it: rows count through the samples of all parts.
//
// Each part is a column of its own, with its own rows, files and compression. What reads one sample finds its
// part; what reads several asks each part for its own, and puts the results together.

#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "column.h"
#include "copies.h"
#include "ends.h"

namespace mmap_ninja {

// Where the parts come from; shared by all columns over them.
class Sources {
 public:
  // `ends`: where the samples of each part end. `open`: gives the samples of a part; called once for each.
  Sources(std::vector<uint64_t> ends, std::function<ColumnPtr(size_t)> open)
      : ends_(std::move(ends)), open_(std::move(open)), opened_(ends_.size()) {}

  const Ends& ends() const { return ends_; }
  // May run Python code, and throw what that raises.
  const ColumnPtr& at(size_t part) const;

 private:
  Ends ends_;
  std::function<ColumnPtr(size_t)> open_;
  mutable std::vector<ColumnPtr> opened_;
};

// A row of a column of several parts: a position among the samples of one part.
struct Place {
  size_t part;
  uint64_t position;
};

// What reading a sample of a part needs, in one cache line: its column and what that refers to are a dozen,
// and over many parts each of them is a miss. Only for samples that follow each other in a map, as they are
// returned; all others, and all errors, are left to the column of the part.
struct alignas(64) Shortcut {
  const uint8_t* base = nullptr;     // of the map that samples are returned from
  const uint64_t* starts = nullptr;  // null: samples of one size
  const uint64_t* ends = nullptr;
  uint64_t units = 0;              // of the map that may be returned
  const uint8_t* nulls = nullptr;  // of a nullable part
  PyObject* owner = nullptr;       // of the map, for arrays

  // Where a sample is; false if it must be read in another way. `unit`: as for spans.
  bool find(uint64_t position, uint64_t unit, Span* span) const {
    uint64_t start = starts ? starts[position] : position, end = starts ? ends[position] : position + 1;
    if (start > end || end > units) [[unlikely]]
      return false;
    *span = {base + start * unit, (end - start) * unit};
    return true;
  }
};

class Parts {
 public:
  Parts(std::shared_ptr<const Sources> sources, bool is_nullable)
      : sources_(std::move(sources)),
        is_nullable_(is_nullable),
        opened_(sources_->ends().size()),
        shortcuts_(opened_.size()) {}

  // Whether a part may have nulls.
  bool is_nullable() const { return is_nullable_; }
  const std::vector<uint64_t>& ends() const { return sources_->ends().all(); }
  uint64_t start(size_t part) const { return sources_->ends().start(part); }
  // Of a part that `shorten` was called for; else one that finds nothing.
  const Shortcut& shortcut(size_t part) const { return shortcuts_[part]; }
  // Finds the shortcut to a part that is open. `column`: the one of all parts.
  void shorten(size_t part, const Column& column) const;
  // Where a row is.
  Place of(uint64_t row) const {
    if (row - last_start_ >= last_count_) find(row);
    return {last_, row - last_start_};
  }
  // A part, opened now if need be: that may run Python code, and throw.
  const ColumnPtr& at(size_t part) const;
  // The same; null if it was not opened yet.
  const Column* opened(size_t part) const { return opened_[part].get(); }
  // The same parts, whose arrays start on private maps that nothing was written to.
  std::shared_ptr<const Parts> renewed() const {
    return std::make_shared<const Parts>(sources_, is_nullable_);
  }
  // The same parts, changed when they are opened.
  std::shared_ptr<const Parts> changed(std::function<ColumnPtr(const Column&)> change) const;

 private:
  std::shared_ptr<const Sources> sources_;
  bool is_nullable_;
  mutable std::vector<ColumnPtr> opened_;
  mutable std::vector<Shortcut> shortcuts_;
  // The part that was found last, as most rows are followed by one of the same part.
  mutable size_t last_ = 0;
  mutable uint64_t last_start_ = 0;
  mutable uint64_t last_count_ = 0;

  void find(uint64_t row) const;
};

// Samples of one part.
struct Piece {
  ColumnPtr column;              // has only these samples, in their order
  std::vector<uint64_t> places;  // of each among those asked for; empty: one after another, from `first` on
  uint64_t first = 0;

  uint64_t count() const { return column->rows.count(); }
  uint64_t place(uint64_t k) const { return places.empty() ? first + k : places[k]; }
};

// A sample in a map, of a part that is neither compressed nor stored in another order.
struct Found {
  const Column* part;  // as long as the column of all parts
  uint64_t row;        // in it
  Span span;           // null for records
};

// Finds the samples in some rows, and checks that their files were not truncated; false if a part has to be
// read in another way.
bool find_direct(const Column& column, const std::vector<uint64_t>& rows, std::vector<Found>* found);

// The samples from a position on that are in the same part, as one piece whose first place is the position.
Piece run_at(const Column& column, uint64_t position);
// All samples of a column, or those in some rows, as one piece for each part that has some.
std::vector<Piece> pieces_of(const Column& column);
std::vector<Piece> pieces_of(const Column& column, const std::vector<uint64_t>& rows);

// Calls use(piece, reader) for each piece, of which all that is cold was asked for.
template <typename Use>
void visit(Hints& hints, const std::vector<Piece>& pieces, Use use) {
  for (const Piece& piece : pieces) {
    Reader of{piece.column, {.ascii = hints.ascii, .is_asked = true}};
    use(piece, of);
    hints.ascii = of.hints.ascii;
  }
}

// Copies the values of a piece, `size` bytes for each sample, to where they are among those of all.
inline void place_values(const Piece& piece, const void* values, uint64_t size, void* all) {
  auto from = static_cast<const uint8_t*>(values);
  auto to = static_cast<uint8_t*>(all);
  uint64_t count = piece.count();
  if (piece.places.empty()) {
    if (count * size) copy_bytes(to + piece.first * size, from, count * size);
    return;
  }
  for (uint64_t k = 0; k < count; ++k) copy_bytes(to + piece.places[k] * size, from + k * size, size);
}

// What functions for one part give for a batch of several: a list, or values back to back and their ends.
using TakeList = nb::object (*)(Reader&, nb::handle);
nb::object list_of_parts(const ColumnPtr& column, const std::vector<uint64_t>& rows, Hints& hints,
                         TakeList take);
using TakeJagged = nb::tuple (*)(Reader&, nb::handle);
nb::tuple jagged_of_parts(Reader& reader, nb::handle indices, TakeJagged take);
// The column without its samples, and so without parts.
Reader none_of(const Column& column);
// An array with a value for each sample of a column, or a row of values.
template <typename Of>
nb::object values_of_parts(Reader& reader, Of of) {
  ColumnPtr column = reader.column;
  nb::object all;
  visit(reader.hints, pieces_of(*column), [&](const Piece& piece, Reader& of_piece) {
    nb::object values = of(of_piece);
    PyArrayObject* from = array_of(values);
    if (!all.is_valid()) {
      std::vector<npy_intp> shape(PyArray_DIMS(from), PyArray_DIMS(from) + PyArray_NDIM(from));
      shape[0] = static_cast<npy_intp>(column->rows.count());
      all = new_array(PyArray_TYPE(from), PyArray_NDIM(from), shape.data());
    }
    place_values(piece, PyArray_DATA(from), static_cast<uint64_t>(PyArray_STRIDE(from, 0)),
                 PyArray_DATA(array_of(all)));
  });
  if (all.is_valid()) return all;
  Reader none = none_of(*column);
  return of(none);
}

// Makes a column that of several parts with so many samples each; open(k) gives the column of part k.
void join(Column& column, const std::vector<uint64_t>& counts, nb::object open, bool is_nullable);
// The same for parts that are open, of which there is at least one; the column must be like them.
void join(Column& column, std::vector<ColumnPtr> open);
// The parts of records whose fields have parts; null if they have none.
std::shared_ptr<const Parts> parts_of(const Column& records);
// Records of these fields, which have the same rows and parts.
Column records_of(std::shared_ptr<const Layout> layout, std::shared_ptr<const Fields> fields);

// A key that selects all samples.
nb::object everything();

}  // namespace mmap_ninja
