// Numbers of one dtype as numbers of another.

#pragma once

#include "numbers.h"
#include "python.h"

namespace mmap_ninja {

// The function that converts numbers of these dtypes; nullptr if the kernel has none.
Convert converter(PyArray_Descr* from, PyArray_Descr* to);

// An array as one of another dtype, in C order. If one of its numbers does not fit: none, and its place in
// `place`.
nb::object converted(PyArrayObject* array, PyArray_Descr* dtype, Convert convert, uint64_t* place);

}  // namespace mmap_ninja
