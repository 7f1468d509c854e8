#include "python.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include <algorithm>
#include <string_view>

namespace mmap_ninja {
namespace {

// The module mmap_ninja.errors; set at import, never released.
PyObject* errors = nullptr;

// What the error does not say of itself.
std::string explained(int error) {
  struct rlimit limit;
  if (error != EMFILE || ::getrlimit(RLIMIT_NOFILE, &limit) != 0) return "";
  auto shown = [](rlim_t value) { return value == RLIM_INFINITY ? "unlimited" : std::to_string(value); };
  return "; this process may have " + shown(limit.rlim_cur) +
         " files open (RLIMIT_NOFILE), and may raise that to " + shown(limit.rlim_max) +
         ": call resource.setrlimit, or ulimit -n in the shell that starts it, or close other datasets";
}

[[noreturn]] void raise_os_error(int error, const std::string& what, const std::string& path) {
  nb::object where = nb::cast(path);
  nb::object exception = nb::steal(PyObject_CallFunction(
      PyExc_OSError, "isO", error, (what + ": " + strerror(error) + explained(error)).c_str(), where.ptr()));
  if (exception.is_valid())
    PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
  throw nb::python_error();
}

// The exception for a code: a class of mmap_ninja.errors, or a builtin. In the text, {path} and the fields of
// the status are filled in; {index} is `found` as a signed number, {samples} is `what`, or "samples".
struct Message {
  Code code;
  const char* type;
  PyObject** builtin;
  const char* text;
};

constexpr Message ours(Code code, const char* type, const char* text) { return {code, type, nullptr, text}; }
constexpr Message builtin(Code code, PyObject** type, const char* text) {
  return {code, nullptr, type, text};
}

const Message kMessages[] = {
    ours(Code::uncertain, "CommitUncertainError",
         "{path}: {what} failed ({error}): whether the commits since the last durable one survive a power "
         "loss is unknown, and this handle can no longer write; check the disk and the system log, then use "
         "mmap_ninja.recover, or rebuild the dataset from its source"),
    ours(Code::suspect, "CommitUncertainError",
         "{path}: a sync of this dataset failed before, so its last commits may be lost at a power loss; it "
         "can be read, but not changed: use mmap_ninja.recover, or rebuild it from its source"),
    ours(Code::bad_digest, "CorruptDatasetError",
         "{path}: the ends of its files do not match its durable commit; nothing was written: restore it "
         "from a copy"),
    ours(Code::bad_offsets, "CorruptDatasetError",
         "{path}: sample {row}: its offsets {found} to {expected} are not within the payload; the offsets "
         "file is damaged: restore it from a copy"),
    ours(Code::bad_shape, "CorruptDatasetError",
         "{path}: sample {row}: its shape does not match its {found} elements; the shapes file is damaged: "
         "restore it from a copy"),
    ours(Code::bad_text, "CorruptDatasetError",
         "{path}: sample {row}: expected UTF-8, found an error at byte {found}; the payload is damaged: "
         "restore it from a copy"),
    ours(Code::short_file, "DatasetTruncatedError",
         "{path}: its {what} file holds {found} bytes where the commit needs {expected}; it was truncated: "
         "restore it from a copy"),
    ours(Code::cut_file, "DatasetTruncatedError",
         "{path}: its {what} file holds less than the {expected} bytes that the commit needs; it was "
         "truncated: restore it from a copy"),
    ours(Code::conflict, "StaleHandleError",
         "{path}: {found} rows where this writer expected {expected}: another process appended meanwhile; "
         "nothing was written: try again"),
    // The engine reads the edits of others, and tries again.
    ours(Code::edited, "EditsMovedError", "{path}: "),
    ours(Code::bad_edit, "CorruptDatasetError",
         "{path}: line {row} of its edits has row {found}, but the commit has {expected} rows; the edits "
         "file is damaged: restore it from a copy"),
    ours(Code::irregular, "CorruptDatasetError",
         "{path}: expected a regular file, found a directory, a pipe or a device; restore it from a copy"),
    ours(Code::linked, "CorruptDatasetError",
         "{path}: expected a regular file, found a symbolic link; to read the dataset through its links, use "
         "mmap_ninja.open(..., follow_symlinks=True); to write to it, copy the files that they lead to"),
    ours(
        Code::replaced, "StaleHandleError",
        "{path}: a file of the dataset is no longer at its path: the dataset was compacted, replaced or moved "
        "meanwhile; open it again"),
    ours(Code::deleted, "StaleHandleError",
         "{path}: the dataset is no longer at this path: it was moved, deleted or replaced by another one; "
         "nothing was written: open the dataset where it is now"),
    ours(Code::forked, "ForkedHandleError",
         "{path}: this handle belongs to process {expected}, from which this one was forked; open the "
         "dataset again in this process"),
    // The engine names who holds a lock, or tries again.
    ours(Code::timed_out, "LockTimeoutError", "{path}: "),
    ours(Code::moved, "GenerationMovedError", "{path}: "),
    ours(Code::building, "BeingBuiltError", "{path}: "),
    builtin(Code::closed, &PyExc_ValueError, "{path}: the dataset is closed; open it again to read it"),
    builtin(Code::row_range, &PyExc_IndexError, "index {index} is out of range for {expected} {samples}"),
    builtin(Code::bad_batch, &PyExc_ValueError,
            "{path}: the batch's {what} do not fit its number of samples"),
    builtin(Code::overflow, &PyExc_OverflowError, "{path}: the {what} would exceed 2^63 bytes"),
    ours(Code::bad_frame, "CorruptDatasetError",
         "{path}: sample {row} cannot be decompressed ({what}); the payload, its offsets or its sizes are "
         "damaged: restore it from a copy"),
    builtin(Code::too_large, &PyExc_ValueError,
            "{path}: sample {row} has {found} bytes where at most {expected} can be compressed; nothing of "
            "this batch was stored: store it without zstd_level"),
    builtin(Code::untrained, &PyExc_ValueError,
            "{path}: no dictionary can be trained on the first batch ({what}); start with more or longer "
            "samples, or pass a smaller zstd_train_dictionary_size, or none"),
    builtin(Code::bad_codec, &PyExc_ValueError, "{path}: libzstd reports an error ({what})"),
    builtin(Code::no_library, &PyExc_ImportError,
            "{path}: is not a shared library with the functions of libzstd; reinstall the package zstandard"),
    builtin(Code::no_memory, &PyExc_MemoryError,
            "{path}: not enough memory to read the samples; take fewer at once"),
};
constexpr Message kUnknown = builtin(Code::ok, &PyExc_SystemError, "{path}: ");

const Message& message_of(Code code) {
  for (const Message& message : kMessages)
    if (message.code == code) return message;
  return kUnknown;
}

std::string filled(std::string_view text, const Status& status, const std::string& path) {
  std::string result;
  for (size_t at = 0; at < text.size();) {
    size_t open = std::min(text.find('{', at), text.size());
    result += text.substr(at, open - at);
    size_t close = std::min(text.find('}', open), text.size());
    std::string_view name = text.substr(open, close - open);
    if (name == "{path") result += path;
    if (name == "{what") result += status.what;
    if (name == "{samples") result += *status.what ? status.what : "samples";
    if (name == "{error") result += strerror(status.error);
    if (name == "{row") result += std::to_string(status.row);
    if (name == "{found") result += std::to_string(status.found);
    if (name == "{expected") result += std::to_string(status.expected);
    if (name == "{index") result += std::to_string(static_cast<int64_t>(status.found));
    at = close + 1;
  }
  return result;
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
  if (status.code == Code::system) raise_os_error(status.error, status.what, path);
  const Message& message = message_of(status.code);
  std::string text = filled(message.text, status, path);
  raise(message.type ? error_class(message.type) : nb::borrow(*message.builtin), text);
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
