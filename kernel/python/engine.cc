// The commit engine and the watched system calls for Python.

#include <fcntl.h>
#include <nanobind/stl/tuple.h>

#include <algorithm>
#include <string>
#include <vector>

#include "checksum.h"
#include "commit_file.h"
#include "files.h"
#include "io.h"
#include "lengths.h"
#include "log.h"
#include "python.h"
#include "slot.h"
#include "sums.h"

using namespace nanobind::literals;

namespace mmap_ninja {
namespace {

nb::bytes to_bytes(const Id& id) { return nb::bytes(id.data(), id.size()); }

Id to_id(nb::bytes bytes) {
  Id id{};
  if (bytes.size() != id.size()) raise(nb::borrow(PyExc_ValueError), "expected an id of 16 bytes");
  memcpy(id.data(), bytes.c_str(), id.size());
  return id;
}

struct PyLog {
  std::string path;
  Log log;
  Slot
      published;  // a copy of the log's state, made with the GIL, since a commit changes the state without it
  bool owes = false;  // whether it has made commits that are not durable yet
};

// A duplicate of a descriptor, for the log.
int duplicate(const PyFile& file, const std::string& path) {
  int fd = ::fcntl(writer_fd(file, path), F_DUPFD_CLOEXEC, 0);
  if (fd < 0) check({.code = Code::system, .error = errno, .what = "fcntl"}, path);
  return fd;
}

// `lock`: the open LOCK, which the caller holds; None if the lock on
// the commit file itself excludes others.
void open_log(PyLog* self, const std::string& path, nb::list rules, const PyFile& commit_file,
              const PyFile* lock, const PyFile& meta, nb::tuple paths, const Slot& state, uint64_t next_seq,
              bool sync_often, bool builds) {
  new (self) PyLog{path, {}, {}};
  std::vector<FileRule> file_rules;
  for (nb::handle rule : rules) {
    auto [id, length, unit, offsets, sealed, file] =
        nb::cast<std::tuple<uint64_t, int, uint64_t, uint32_t, bool, nb::object>>(rule);
    const PyFile& of = nb::cast<PyFile&>(file);
    (void)writer_fd(of, path);
    file_rules.push_back({id, static_cast<LengthRule>(length), unit, offsets, sealed, of.file});
  }
  LogPaths log_paths{nb::cast<std::string>(paths[0]), nb::cast<std::string>(paths[1]),
                     nb::cast<std::string>(paths[2])};
  std::vector<std::shared_ptr<File>> own;
  for (const PyFile* file : {&commit_file, lock, &meta})
    own.push_back(std::make_shared<File>(file ? duplicate(*file, path) : -1));
  // With the GIL, which serialises the opening and closing of all logs, as they require.
  check(self->log.open(std::move(file_rules), own[0]->release(), own[1]->release(), own[2]->release(),
                       std::move(log_paths), state, next_seq, sync_often, builds),
        path);
  self->published = self->log.state();
}

// For a test that compares it with the rules in Python. `rules`: length, unit and sealed of each file.
nb::list lengths_of(nb::list rules, uint64_t rows, uint64_t edits, nb::list ends) {
  std::vector<FileRule> file_rules;
  std::vector<uint64_t> last_ends, found;
  for (nb::handle rule : rules) {
    auto [length, unit, sealed] = nb::cast<std::tuple<int, uint64_t, bool>>(rule);
    file_rules.push_back({0, static_cast<LengthRule>(length), unit, 0, sealed, nullptr});
  }
  for (nb::handle end : ends) last_ends.push_back(nb::cast<uint64_t>(end));
  check(extents(file_rules, rows, edits, last_ends, &found), "");
  nb::list result;
  for (uint64_t extent : found) result.append(extent);
  return result;
}

// The fields of a slot that each commit needs.
nb::tuple place_of(const Slot& slot) {
  nb::object content = slot.carries & kSums ? nb::object(nb::int_(slot.content)) : nb::none();
  return nb::make_tuple(slot.seq, slot.rows, slot.edits, content);
}

nb::list extents_of(const PyLog& self) {
  nb::list extents;
  for (size_t k = 0; k < self.log.files(); ++k) extents.append(self.log.extent(k));
  return extents;
}

// `base`: the commit that this continues, or None.
void commit(PyLog& self, nb::tuple parts, uint64_t rows, uint64_t edits, uint32_t set_flags, bool durable,
            nb::object expected_rows, nb::object expected_edits, const Slot* base, bool anywhere,
            double timeout) {
  std::vector<Buffer> buffers;
  std::vector<FilePart> spans;
  buffers.reserve(parts.size());
  spans.reserve(parts.size());
  for (nb::handle part : parts) {
    if (part.is_none()) {
      spans.push_back({nullptr, 0});
      continue;
    }
    buffers.emplace_back(part);
    spans.push_back({buffers.back().data(), buffers.back().size()});
  }
  CommitRequest request{.parts = spans,
                        .rows = rows,
                        .edits = edits,
                        .set_flags = set_flags,
                        .durable = durable,
                        .anywhere = anywhere};
  Base seen;
  if (base) {
    seen = {base->rows, base->edits, base->content};
    request.base = &seen;
  }
  if (!expected_rows.is_none()) request.expected_rows = nb::cast<uint64_t>(expected_rows);
  if (!expected_edits.is_none()) request.expected_edits = nb::cast<uint64_t>(expected_edits);

  // Waits in slices, so that Ctrl-C works.
  constexpr double kSlice = 0.05;
  for (double waited = 0;; waited += kSlice) {
    request.lock_seconds = std::min(kSlice, std::max(timeout - waited, 0.0));
    Status status;
    {
      GilReleased release;
      status = self.log.commit(request);
    }
    if (status.code == Code::timed_out && waited < timeout) {
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      continue;
    }
    check(status, self.path);
    self.published = self.log.state();
    bool made = rows != 0 || edits != 0 || set_flags != 0;
    self.owes = !self.log.is_durable() && (self.owes || made);
    return;
  }
}

// Writes a commit of another generation to all slots of a commit file; if that fails, also the previous
// newest commit, marked. `synced`: all other files of the newest generation.
void switch_commit(const PyFile& commit_file, const std::string& path, const std::string& directory,
                   nb::list synced, const Slot& slot, const Slot& before, nb::handle lock) {
  if (!lock.is_none()) (void)writer_fd(nb::cast<PyFile&>(lock), path);
  std::vector<int> fds;
  for (nb::handle file : synced) fds.push_back(nb::cast<PyFile&>(file).file->fd());
  int fd = writer_fd(commit_file, path);
  Status status;
  {
    GilReleased release;
    CommitFile slots;
    status = slots.open(fd, directory);
    if (status.ok()) status = slots.read();
    if (status.ok()) {
      Slot signed_slot = slot;
      slots.sign(&signed_slot);
      status = slots.put_everywhere(signed_slot, fds, before);
    }
  }
  check(status, path);
}

// Makes sure that the durable slots of a commit file are on the disk; read-only descriptors suffice.
void settle(const PyFile& commit_file, const std::string& path, const std::string& directory,
            nb::list synced) {
  std::vector<int> fds;
  for (nb::handle file : synced) fds.push_back(nb::cast<PyFile&>(file).file->fd());
  int fd = commit_file.file->fd();
  Status status;
  {
    GilReleased release;
    CommitFile slots;
    status = slots.open(fd, directory);
    if (status.ok()) status = slots.read();
    if (status.ok()) status = slots.settle(fds);
  }
  check(status, path);
}

// ---- watched system calls

PyObject* io_hook = nullptr;

int64_t call_hook(const io::Call& call) {
  nb::gil_scoped_acquire acquire;
  nb::error_scope pending;  // there may be an error set while files are released
  try {
    nb::object where = call.path ? nb::object(nb::str(call.path)) : nb::object(nb::int_(call.fd));
    bool has_data = call.data != nullptr;
    nb::object data = has_data ? nb::object(nb::bytes(call.data, call.size)) : nb::object(nb::none());
    nb::object verdict = nb::borrow(io_hook)(call.name, where, call.offset, call.size, data);
    return verdict.is_none() ? 0 : nb::cast<int64_t>(verdict);
  } catch (nb::python_error& error) {
    if (!error.matches(PyExc_OSError)) std::terminate();
    nb::object number = error.value().attr("errno");
    return -nb::cast<int64_t>(number);
  }
}

void set_io_hook(nb::object hook) {
  io::set_hook(nullptr);
  Py_XDECREF(io_hook);
  io_hook = hook.is_none() ? nullptr : hook.release().ptr();
  if (io_hook) io::set_hook(call_hook);
}

template <typename Function>
void without_gil(const std::string& path, Function function) {
  Status status;
  {
    GilReleased release;
    status = function();
  }
  check(status, path);
}

}  // namespace

void define_io(nb::module_& m) {
  m.def("set_io_hook", &set_io_hook, "hook"_a.none());
  m.def("write_at", [](const PyFile& file, nb::handle data, uint64_t offset, const std::string& path) {
    Buffer buffer(data);
    int fd = writer_fd(file, path);
    without_gil(path, [&] { return io::write_at(fd, buffer.data(), buffer.size(), offset); });
  });
  m.def("copy_range", [](int from, uint64_t from_offset, const PyFile& to, uint64_t to_offset, uint64_t size,
                         const std::string& path) {
    int fd = writer_fd(to, path);
    without_gil(path, [&] { return io::copy_range(from, from_offset, fd, to_offset, size); });
  });
  m.def("start_writeback", [](const PyFile& file, uint64_t offset, uint64_t size) {
    io::start_writeback(file.file->fd(), offset, size);
  });
  m.def("sync_data", [](const PyFile& file, const std::string& path) {
    int fd = writer_fd(file, path);
    without_gil(path, [&] { return io::sync_data(fd); });
  });
  m.def("sync_directory", [](const PyFile& directory, const std::string& path) {
    int fd = writer_fd(directory, path);
    without_gil(path, [&] { return io::sync_directory(fd); });
  });
  m.def("sync_filesystem", [](const PyFile& file, const std::string& path) {
    int fd = writer_fd(file, path);
    without_gil(path, [&] { return io::sync_filesystem(fd); });
  });
  m.def("make_directory",
        [](const std::string& path) { without_gil(path, [&] { return io::make_directory(path.c_str()); }); });
  m.def("rename_file", [](const std::string& from, const std::string& to) {
    without_gil(from, [&] { return io::rename_file(from.c_str(), to.c_str()); });
  });
  m.def("remove_file",
        [](const std::string& path) { without_gil(path, [&] { return io::remove_file(path.c_str()); }); });
  m.def("remove_directory", [](const std::string& path) {
    without_gil(path, [&] { return io::remove_directory(path.c_str()); });
  });
  m.def("place_of", [](int fd, const std::string& path) {
    io::Place place;
    check(io::place_of(fd, &place), path);
    return nb::make_tuple(place.device, place.inode, place.mount, place.disk);
  });
  m.def("is_remote", &io::is_remote);
  m.def("is_overlay", &io::is_overlay);
  m.def("boot_id", [] {
    Id id;
    io::boot_id(id.data());
    return to_bytes(id);
  });
}

namespace {

// Ranges of a file, joined. `starts`, `sizes`: int64, in bytes.
nb::object read_ranges(const PyFile& of, uint64_t file_size, nb::handle starts, nb::handle sizes,
                       const std::string& path) {
  auto count = static_cast<size_t>(PyArray_SIZE(array_of(starts)));
  auto start = data_of<const int64_t>(starts), size = data_of<const int64_t>(sizes);
  uint64_t total = 0;
  for (size_t k = 0; k < count; ++k) {
    bool fits = start[k] >= 0 && size[k] >= 0 && static_cast<uint64_t>(start[k]) <= file_size &&
                static_cast<uint64_t>(size[k]) <= file_size - static_cast<uint64_t>(start[k]);
    if (!fits)
      raise({.code = Code::bad_offsets,
             .row = k,
             .found = static_cast<uint64_t>(start[k]),
             .expected = static_cast<uint64_t>(start[k]) + static_cast<uint64_t>(size[k])},
            path);
    total += static_cast<uint64_t>(size[k]);
  }
  std::shared_ptr<Mapping> file;
  Access access = io::is_remote(of.file->fd()) ? Access::pread : Access::map;
  check(Mapping::open(of.file, file_size, access, "data", &file), path);
  check(file->check_size(file_size), path);
  nb::object bytes = new_bytes(total);
  uint8_t* out = data_of_bytes(bytes);
  Status status;
  {
    GilReleased release;
    constexpr size_t kAhead = 8;
    for (size_t k = 0; k < count && status.ok(); ++k) {
      auto begin = static_cast<uint64_t>(start[k]), length = static_cast<uint64_t>(size[k]);
      if (!file->data()) {
        status = file->read(begin, length, out);
      } else {
        if (k + kAhead < count) __builtin_prefetch(file->data() + start[k + kAhead]);
        memcpy(out, file->data() + begin, length);
      }
      out += length;
    }
  }
  check(status, path);
  return bytes;
}

}  // namespace

void define_log(nb::module_& m) {
  nb::class_<Slot>(m, "Slot")
      .def(nb::init<>())
      .def("copy", [](const Slot& self) { return self; })
      .def_prop_ro("place", &place_of)
      .def("is_same", [](const Slot& self, const Slot& other) { return self == other; })
      .def_rw("durable", &Slot::durable)
      .def_rw("features", &Slot::features)
      .def_rw("flags", &Slot::flags)
      .def_rw("seq", &Slot::seq)
      .def_rw("generation", &Slot::generation)
      .def_rw("rows", &Slot::rows)
      .def_rw("edits", &Slot::edits)
      .def_rw("durable_rows", &Slot::durable_rows)
      .def_rw("durable_edits", &Slot::durable_edits)
      .def_rw("device", &Slot::device)
      .def_rw("inode", &Slot::inode)
      .def_rw("digest", &Slot::digest)
      .def_rw("meta_digest", &Slot::meta_digest)
      .def_rw("mount", &Slot::mount)
      .def_rw("disk", &Slot::disk)
      .def_rw("carries", &Slot::carries)
      .def_rw("content", &Slot::content)
      .def_rw("edits_end", &Slot::edits_end)
      .def_prop_rw(
          "uuid", [](const Slot& slot) { return to_bytes(slot.uuid); },
          [](Slot& slot, nb::bytes id) { slot.uuid = to_id(id); })
      .def_prop_rw(
          "boot", [](const Slot& slot) { return to_bytes(slot.boot); },
          [](Slot& slot, nb::bytes id) { slot.boot = to_id(id); });
  m.def("encode_slot", [](const Slot& slot) {
    SlotBytes bytes = encode_slot(slot);
    return nb::bytes(bytes.data(), bytes.size());
  });
  m.def("decode_slot", [](nb::bytes bytes) {
    SlotBytes raw;
    if (bytes.size() != raw.size()) raise(nb::borrow(PyExc_ValueError), "expected a slot of 256 bytes");
    memcpy(raw.data(), bytes.c_str(), raw.size());
    Slot slot;
    uint16_t version = 0;
    const char* const names[] = {"valid", "empty", "torn", "foreign", "newer"};
    SlotState state = decode_slot(raw, &slot, &version);
    nb::object decoded = state == SlotState::valid ? nb::cast(slot) : nb::object(nb::none());
    return nb::make_tuple(names[static_cast<int>(state)], decoded, version);
  });
  m.def("range_digest",
        [](uint64_t file, int fd, uint64_t durable, uint64_t extent, const std::string& path) {
          uint64_t digest = 0;
          std::vector<BlockSum> sums;
          without_gil(path, [&] { return range_digest(file, fd, durable, extent, &digest, &sums); });
          return nb::make_tuple(digest, nb::bytes(sums.data(), sums.size() * sizeof(BlockSum)));
        });
  m.def("bad_blocks", [](uint64_t file, int fd, uint64_t first, nb::handle sums) {
    auto count = static_cast<size_t>(PyArray_SIZE(array_of(sums)));
    std::vector<uint64_t> bad;
    {
      GilReleased release;
      bad = bad_blocks(file, fd, first, {data_of<const uint64_t>(sums), count});
    }
    nb::list blocks;
    for (uint64_t block : bad) blocks.append(block);
    return blocks;
  });
  m.def("read_ranges", &read_ranges);
  m.def("extents", &lengths_of, "rules"_a, "rows"_a, "edits"_a, "ends"_a);
  nb::class_<PyLog>(m, "Log")
      .def("__init__", &open_log, "path"_a, "rules"_a, "commit_file"_a, "lock"_a.none(), "meta"_a, "paths"_a,
           "state"_a, "next_seq"_a, "sync_often"_a, "builds"_a)
      .def("commit", &commit, "parts"_a, "rows"_a, "edits"_a, "set_flags"_a, "durable"_a,
           "expected_rows"_a.none(), "expected_edits"_a.none(), "base"_a.none(), "anywhere"_a, "timeout"_a)
      .def("close", [](PyLog& self) { self.log.close(); })
      .def("writes_to",
           [](const PyLog& self, const std::string& path) { return self.log.commits_to(path.c_str()); })
      .def("locks", [](const PyLog& self, const std::string& path) { return self.log.locks(path.c_str()); })
      .def_prop_ro("seq", [](const PyLog& self) { return self.published.seq; })
      .def_prop_ro("made",
                   [](const PyLog& self) {
                     return nb::make_tuple(self.published, extents_of(self), place_of(self.published));
                   })
      .def_rw("owes", &PyLog::owes);
  m.def("switch_commit", &switch_commit, "commit_file"_a, "path"_a, "directory"_a, "synced"_a, "slot"_a,
        "before"_a, "lock"_a.none());
  m.def("settle", &settle, "commit_file"_a, "path"_a, "directory"_a, "synced"_a);
  m.attr("SLOT_SIZE") = Slot::kSize;
  m.attr("SLOT_STRIDE") = CommitFile::kStride;
  m.attr("SLOTS") = CommitFile::kSlots;
  m.attr("BLOCK") = kBlock;
  m.attr("COMPLETE") = static_cast<uint32_t>(kComplete);
  m.attr("SUSPECT") = static_cast<uint32_t>(kSuspect);
  m.attr("SUMS") = static_cast<uint32_t>(kSums);
}

}  // namespace mmap_ninja
