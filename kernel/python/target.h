// Where a batch of arrays is written to: an array of the caller's, or a new one.

#pragma once

#include <string>
#include <vector>

#include "casting.h"
#include "column.h"

namespace mmap_ninja {

// An array of this shape, in C order. Its dtype is that of `out`, else `dtype`, else that of the column.
class Target {
 public:
  Target(const Column& column, nb::handle out, nb::handle dtype, const std::vector<npy_intp>& shape);

  nb::handle array() const { return filled_; }
  uint8_t* data() const { return data_of<uint8_t>(filled_); }
  bool is_empty() const { return PyArray_SIZE(array_of(filled_)) == 0; }
  // Converts the numbers of the column to those of the array; null: they are copied as they are.
  Convert convert() const { return convert_; }
  // The dtype that the caller gets.
  nb::object dtype() const { return array_.attr("dtype"); }
  // Whether NumPy converts the filled array to that one, which has another dtype.
  bool is_recast() const;
  uint64_t unit() const { return static_cast<uint64_t>(PyArray_ITEMSIZE(array_of(filled_))); }

  // Raises that an element of the column, at a place in what `where` names, does not fit.
  [[noreturn]] void refuse(const Column& column, const std::string& where, const uint8_t* element,
                           const std::vector<int64_t>& place) const;
  // The array for the caller.
  nb::object finish() const;

 private:
  nb::object array_;   // returned to the caller
  nb::object filled_;  // the array to fill: the same one, or one in C order, or of the column's dtype
  Convert convert_ = nullptr;
};

}  // namespace mmap_ninja
