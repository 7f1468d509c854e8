#include "python.h"

#include <string.h>

namespace mmap_ninja {
namespace {

// The module mmap_ninja.errors, handed in at import for as long as the process lives.
PyObject* errors = nullptr;

[[noreturn]] void raise_os_error(int error, const std::string& what, const std::string& path) {
  nb::object where = nb::cast(path);
  nb::object exception = nb::steal(PyObject_CallFunction(
      PyExc_OSError, "isO", error, (what + ": " + strerror(error)).c_str(), where.ptr()));
  if (exception.is_valid())
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

}  // namespace

nb::object error_class(const char* name) {
  return errors ? nb::object(nb::handle(errors).attr(name)) : nb::borrow(PyExc_SystemError);
}

[[noreturn]] void raise(const nb::object& type, const std::string& message) {
  PyErr_SetObject(type.ptr(), nb::cast(message).ptr());
  throw nb::python_error();
}

[[noreturn]] void raise(const Status& status, const std::string& path) {
  const std::string what = status.what, row = "sample " + std::to_string(status.row);
  const std::string found = std::to_string(status.found), expected = std::to_string(status.expected);
  const char* type = nullptr;  // one of mmap_ninja.errors, or else
  PyObject* builtin = PyExc_SystemError;
  std::string text = path + ": ";
  switch (status.code) {
    case Code::system:
      raise_os_error(status.error, what, path);
    case Code::uncertain:
      type = "CommitUncertainError";
      text +=
          what + " failed (" + strerror(status.error) + "): whether the commits since the last durable one ";
      text +=
          "survive a power loss is unknown; this handle writes no more: check the disk and the system log, ";
      text += "then see mmap_ninja.recover, or rebuild the dataset from its source";
      break;
    case Code::suspect:
      type = "CommitUncertainError";
      text +=
          "a sync of this dataset failed before, so its last commits may be lost at a power loss; it can be ";
      text += "read but not appended to: see mmap_ninja.recover, or rebuild it from its source";
      break;
    case Code::bad_digest:
      type = "CorruptDatasetError";
      text += "the last bytes of its files are not those that its durable commit was made of; nothing was ";
      text += "written: restore it from a copy";
      break;
    case Code::bad_offsets:
      type = "CorruptDatasetError";
      text += row + " is said to lie at " + found + " to " + expected + ", which are not in its payload; ";
      text += "the offsets file is damaged: restore it from a copy";
      break;
    case Code::bad_shape:
      type = "CorruptDatasetError";
      text += row + " has a shape that its " + found + " elements do not fit; the shapes file is damaged: ";
      text += "restore it from a copy";
      break;
    case Code::bad_text:
      type = "CorruptDatasetError";
      text +=
          row + " is no valid UTF-8 from its byte " + found + " on; the payload is damaged: restore it from ";
      text += "a copy";
      break;
    case Code::short_file:
      type = "DatasetTruncatedError";
      text +=
          "its " + what + " file holds " + found + " bytes where the commit needs " + expected + "; it was ";
      text += "truncated: restore it from a copy";
      break;
    case Code::conflict:
      type = "StaleHandleError";
      text += "holds " + found + " samples where this writer expected " + expected +
              ": another process appended ";
      text += "meanwhile; nothing was written";
      break;
    case Code::edited:  // the engine looks at them, and tries again
      type = "EditsMovedError";
      break;
    case Code::bad_edit:
      type = "CorruptDatasetError";
      text += "line " + std::to_string(status.row) + " of its edits speaks of row " + found +
              ", which is not among ";
      text += "the " + expected + " rows of the commit; the edits file is damaged: restore it from a copy";
      break;
    case Code::irregular:
      type = "CorruptDatasetError";
      text +=
          "is no regular file (a symbolic link, a directory, a pipe or a device), as a dataset's own files ";
      text += "must be; restore it from a copy";
      break;
    case Code::deleted:
      type = "StaleHandleError";
      text += "the dataset was deleted or replaced by another one; open the path again; nothing was written";
      break;
    case Code::forked:
      type = "ForkedHandleError";
      text += "this handle writes for process " + expected +
              ", from which this one was forked; open the dataset ";
      text += "again here";
      break;
    case Code::timed_out:  // the engine knows who holds the lock, and how to go on
      type = "LockTimeoutError";
      break;
    case Code::moved:
      type = "GenerationMovedError";
      break;
    case Code::closed:
      builtin = PyExc_ValueError;
      text += "the dataset is closed; open it again to read it";
      break;
    case Code::row_range:
      builtin = PyExc_IndexError;
      text =
          "index " + std::to_string(static_cast<int64_t>(status.found)) + " is out of range for " + expected;
      text += " " + (what.empty() ? "samples" : what);
      break;
    case Code::bad_batch:
      builtin = PyExc_ValueError;
      text += "the batch's " + what + " do not fit its number of samples";
      break;
    case Code::overflow:
      builtin = PyExc_OverflowError;
      text += "the " + what + " would pass 2^63 bytes";
      break;
    case Code::bad_frame:
      type = "CorruptDatasetError";
      text += row + " cannot be decompressed (" + what + "); the payload, its offsets or its sizes are ";
      text += "damaged: restore it from a copy";
      break;
    case Code::too_large:
      builtin = PyExc_ValueError;
      text += row + " has " + found + " bytes where at most " + expected + " can be compressed; nothing of ";
      text += "this batch was stored: store it without zstd_level";
      break;
    case Code::untrained:
      builtin = PyExc_ValueError;
      text +=
          "no dictionary can be trained on the first batch (" + what + "); give more or longer samples at ";
      text += "first, a smaller zstd_train_dictionary_size, or none";
      break;
    case Code::bad_codec:
      builtin = PyExc_ValueError;
      text += "zstd refuses (" + what + ")";
      break;
    case Code::no_library:
      builtin = PyExc_ImportError;
      text += "is no shared library with the functions of libzstd";
      break;
    case Code::no_memory:
      builtin = PyExc_MemoryError;
      text += "no memory to decompress a sample";
      break;
    case Code::ok:
      break;
  }
  raise(type ? error_class(type) : nb::borrow(builtin), text);
}

void set_error(const Status& status, const std::string& path) {
  try {
    raise(status, path);
  } catch (nb::python_error& error) {
    error.restore();
  }
}

void define_errors(nb::module_& m) {
  m.def("raise_from", [](nb::object module) { errors = module.release().ptr(); });
}

}  // namespace mmap_ninja
