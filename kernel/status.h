#pragma once

#include <cstdint>

namespace mmap_ninja {

enum class Code : uint8_t {
  ok,
  system,       // a system call failed: `error` is its errno, `what` its name
  closed,       // the handle was closed
  row_range,    // index `found`, but there are only `expected` samples, or `what`
  bad_offsets,  // the offsets place sample `row` at bytes [found, expected), outside its payload
  bad_shape,    // the shape of sample `row` does not match its `found` elements
  bad_text,     // sample `row` is not valid UTF-8 at its byte `found`
  short_file,   // `what` has `found` bytes where the commit needs `expected`
  cut_file,     // `what` has less than the `expected` bytes that the commit needs
  timed_out,    // the lock was not free before the deadline
  building,     // a first build by another writer goes on
  moved,        // the newest commit has another generation, or needs a check of its digest
  conflict,     // `found` rows are committed, but the caller saw `expected`
  edited,       // other edits are committed than the caller saw
  bad_edit,     // line `row` of the edits is about row `found` or later, but there are only `expected` rows
  forked,       // the writer belongs to the process with id `expected`
  irregular,    // the file at a path is not a regular one
  linked,       // a symbolic link, which is not to be followed, is at a path
  replaced,     // another file, or none, is where a file was found before
  deleted,      // the dataset's files were unlinked under the writer
  bad_digest,   // the ends of the files do not match the durable commit
  suspect,      // a sync failed earlier, here or in another process
  uncertain,    // a sync failed now: whether the last commits survive a power loss is unknown
  bad_batch,    // the parts of a batch disagree on its rows
  overflow,     // sizes add up to more than a file can hold
  bad_frame,    // sample `row` cannot be decompressed: `what`
  too_large,    // sample `row` has `found` bytes, but at most `expected` can be compressed
  untrained,    // the samples are too few or too short for a dictionary: `what`
  bad_codec,    // libzstd refused a level, a dictionary or a sample: `what`
  no_library,   // a file is not a shared library with the functions of libzstd
  no_memory,    // memory allocation failed
};

// The kernel's only error type; the binding turns it into an exception.
struct [[nodiscard]] Status {
  Code code = Code::ok;
  int error = 0;
  const char* what = "";
  uint64_t row = 0;
  uint64_t found = 0;
  uint64_t expected = 0;

  bool ok() const { return code == Code::ok; }
};

}  // namespace mmap_ninja
