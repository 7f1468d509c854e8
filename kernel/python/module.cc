// The Python module of the kernel.

#define MMAP_NINJA_IMPORTS_NUMPY
#include "python.h"

NB_MODULE(_kernel, m) {
  using namespace mmap_ninja;
  if (_import_array() < 0) throw nb::python_error();
  nb::set_leak_warnings(false);  // objects that live until the interpreter exits are not leaks
  define_errors(m);
  define_io(m);
  define_arrays(m);
  define_files(m);
  define_log(m);
  define_edits(m);
  define_indices(m);
  define_columns(m);
  define_iterator(m);
  define_exports(m);
  define_samples(m);
  define_measures(m);
  define_casting(m);
  define_encoding(m);
  define_zstd(m);
  define_hashes(m);
  define_orders(m);
  define_packing(m);
  define_cold(m);
}
