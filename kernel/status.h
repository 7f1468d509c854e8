#pragma once

#include <cstdint>

namespace mmap_ninja {

enum class Code : uint8_t {
  ok,
  system,       // a system call failed: `error` is its errno, `what` its name
  closed,       // the handle was closed
  row_range,    // index `found` where only `expected` samples are, or `what`
  bad_offsets,  // sample `row` is said to lie at bytes [found, expected) of its payload
  bad_shape,    // sample `row` has a shape that its `found` elements do not fit
  bad_text,     // sample `row` is no valid UTF-8 from its byte `found` on
  short_file,   // `what` holds `found` bytes where the commit says `expected`
  timed_out,    // the lock stayed taken until the deadline
  moved,        // the newest commit is of another generation, or cannot be trusted without a digest
  conflict,     // `found` rows are committed where the caller saw `expected`
  edited,       // other edits were committed than the caller saw
  bad_edit,    // line `row` of the edits speaks of row `found`, or what follows it, where `expected` rows are
  forked,      // the writer belongs to another process, of id `expected`
  irregular,   // a path leads to no regular file
  deleted,     // the dataset's files were unlinked under the writer
  bad_digest,  // the ends of the files are not what the durable commit says
  suspect,     // a sync failed earlier, here or in another process
  uncertain,   // a sync failed now: whether the last commits survive a power loss is unknown
  bad_batch,   // the parts of a batch disagree on its rows
  overflow,    // sizes add up to more than a file can hold
  bad_frame,   // sample `row` does not decompress to what is said of it: `what`
  too_large,   // sample `row` has `found` bytes, and at most `expected` can be compressed
  untrained,   // the samples are too few or too short for a dictionary: `what`
  bad_codec,   // libzstd refused a level, a dictionary or a sample: `what`
  no_library,  // a file is no shared library with the functions of libzstd
  no_memory,   // there is none
};

// The one error type of the kernel; the binding turns it into an exception.
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
