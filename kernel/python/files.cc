// Open files, the locks on them, and the locks of handles.

#include "files.h"

#include <fcntl.h>
#include <pythread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "io.h"
#include "mapping.h"

using namespace nanobind::literals;

namespace mmap_ninja {
namespace {

constexpr double kSlice = 0.05;  // seconds between checks for Ctrl-C

PyFile open_file(const std::string& path, bool writable, bool follows_links) {
  nb::object name = nb::cast(path);  // kept here, since without an audit hook the argument is not consumed
  if (PySys_Audit("open", "OOi", name.ptr(), Py_None, writable ? O_RDWR : O_RDONLY) != 0)
    throw nb::python_error();
  PyFile opened;
  check(File::open(path.c_str(), writable, follows_links, &opened.file), path);
  return opened;
}

// A file that is opened when it is needed. Where maps do not tell of a truncation, it stays open.
PyFile named_file(const std::string& path, bool follows_links) {
#if defined(__linux__)
  return {File::named(path.c_str(), follows_links)};
#else
  return open_file(path, false, follows_links);
#endif
}

PyFile create_file(const std::string& path, const PyFile* like) {
  PyFile created;
  Status status;
  {
    GilReleased release;
    status = File::create(path.c_str(), like ? like->file.get() : nullptr, &created.file);
  }
  check(status, path);
  return created;
}

PyFile open_directory(const std::string& path) {
  int fd = -1;
  check(io::open_directory(path.c_str(), &fd), path);
  return {std::make_shared<File>(fd)};
}

// Raises an error if the process cannot open so many more files.
void check_room(uint64_t count, const std::string& path) {
  std::vector<std::shared_ptr<File>> files;
  for (uint64_t k = 0; k < count; ++k) {
    int fd = k ? ::fcntl(files[0]->fd(), F_DUPFD_CLOEXEC, 0) : ::open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0) check({.code = Code::system, .error = errno, .what = "open"}, path);
    files.push_back(std::make_shared<File>(fd));
  }
}

// A file without a name, in memory if the system supports that.
PyFile anonymous_file() {
#if defined(__linux__)
  int fd = ::memfd_create("mmap_ninja", MFD_CLOEXEC);
#else
  char path[] = "/tmp/mmap_ninja-XXXXXX";
  int fd = ::mkstemp(path);
  if (fd >= 0) ::unlink(path);
#endif
  if (fd < 0) check({.code = Code::system, .error = errno, .what = "memfd_create"}, "");
  return {std::make_shared<File>(fd)};
}

// Whether an open file is the one at a path.
bool is_at(const PyFile& file, const std::string& path) {
  struct stat own, found;
  return ::fstat(file.file->fd(), &own) == 0 && ::stat(path.c_str(), &found) == 0 &&
         own.st_dev == found.st_dev && own.st_ino == found.st_ino;
}

// This file or, if it was let go, another one that is open as long as the object.
nb::object borrowed(nb::object self) {
  const PyFile& file = nb::cast<PyFile&>(self);
  int fd;
  PyFile opened;
  check(file.file->borrow(&fd, &opened.file), file.file->path());
  return opened.file ? nb::cast(std::move(opened)) : self;
}

// The numbers at the beginning of a file that was let go, over its map; None if there is no map of so many.
nb::object mapped_numbers(const PyFile& self, uint64_t size) {
  std::shared_ptr<const Mapping> map = self.file->map();
  if (!map || size > map->committed()) return nb::none();
  check(map->check_size(size), self.file->path());
  auto count = static_cast<npy_intp>(size / sizeof(uint64_t));
  nb::object numbers =
      owned(PyArray_New(&PyArray_Type, 1, &count, NPY_UINT64, nullptr, const_cast<uint8_t*>(map->data()), 0,
                        NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED, nullptr));
  using Kept = std::shared_ptr<const Mapping>;
  nb::object owner = nb::capsule(new Kept(map), [](void* kept) noexcept { delete static_cast<Kept*>(kept); });
  if (PyArray_SetBaseObject(array_of(numbers), owner.release().ptr()) != 0) throw nb::python_error();
  return numbers;
}

nb::tuple identity_of(const PyFile& file) {
  uint64_t device, inode;
  check(file.file->identify(&device, &inode), file.file->path());
  return nb::make_tuple(device, inode);
}

// Opens a file and locks it; None if another process holds the lock for `timeout` seconds. The locked file is
// the one at the path at that time.
nb::object lock_file(const std::string& path, double timeout) {
  double waited = 0, pause = 100e-6;
  for (;;) {
    PyFile opened = open_file(path, true, false);
    for (;;) {
      bool taken = false;
      check(opened.file->try_lock(&taken), path);
      if (taken) break;
      if (waited >= timeout) return nb::none();
      {
        GilReleased release;
        timespec nap{0, static_cast<long>(pause * 1e9)};
        ::nanosleep(&nap, nullptr);
      }
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
      waited += pause;
      pause = std::min(pause * 1.5, 5e-3);
    }
    if (is_at(opened, path)) return nb::cast(std::move(opened));
    check(opened.file->unlock(), path);
  }
}

// Whether this process itself holds the lock of the file at a path.
bool is_held(const std::string& path) {
  struct stat found;
  return ::stat(path.c_str(), &found) == 0 &&
         Inherited::is_held(static_cast<uint64_t>(found.st_dev), static_cast<uint64_t>(found.st_ino));
}

void close_at_exit(PyFile& self, nb::args) { self.file->close(); }

// Files that are closed, and their locks released, at the end of a with block, even if they are still
// referred to: a traceback must not keep a lock.
struct Scope {
  std::vector<PyFile> files;

  PyFile hold(const PyFile& file) {
    files.push_back(file);
    return file;
  }
  void close() {
    for (const PyFile& held : files) held.file->close();
    files.clear();
  }
  ~Scope() { close(); }
};

// The lock of a handle's mutations. A thread that holds it and asks again gets an error: it is in a signal
// handler, or in user code called by a mutation, while the handle is in the middle of a change. A child
// forked while another thread held it never gets it.
struct Mutex {
  std::string path;
  PyThread_type_lock lock = PyThread_allocate_lock();
  unsigned long thread = 0;  // the holder; 0: none
  uint64_t owner = forks_so_far();

  explicit Mutex(std::string of) : path(std::move(of)) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() {
    // In a forked child it may stay locked for ever.
    if (thread == 0) PyThread_free_lock(lock);
  }

  void acquire() {
    bool own = thread == PyThread_get_thread_ident();
    if (owner != forks_so_far()) {
      if (thread != 0 && !own)
        raise(
            error_class("ForkedHandleError"),
            path +
                ": this process was forked while another thread was changing the dataset; open it again in this "
                "process");
      // Forked during a mutation by this thread, which only the parent continues; or while another thread had
      // the lock and waited for the GIL, which nobody would unlock here.
      renew();
    } else if (own) {
      raise(nb::borrow(PyExc_RuntimeError),
            path +
                ": this thread is already changing the dataset, so a signal handler, or code that the change "
                "calls, cannot change it; nothing was changed: do it when the change has ended");
    }
    constexpr auto kMicroseconds = static_cast<PY_TIMEOUT_T>(kSlice * 1e6);
    while (PyThread_acquire_lock(lock, NOWAIT_LOCK) != PY_LOCK_ACQUIRED) {
      bool taken;
      {
        GilReleased release;
        taken = PyThread_acquire_lock_timed(lock, kMicroseconds, 0) == PY_LOCK_ACQUIRED;
      }
      if (taken) break;
      if (PyErr_CheckSignals() != 0) throw nb::python_error();
    }
    thread = PyThread_get_thread_ident();
  }
  bool is_mine() const { return thread == PyThread_get_thread_ident() && owner == forks_so_far(); }
  void release() {
    if (thread == 0) return;  // given up by a forked child
    thread = 0;
    PyThread_release_lock(lock);
  }
  void renew() {
    thread = 0;
    owner = forks_so_far();
    lock = PyThread_allocate_lock();
  }
};

// A turn of a mutex, for a with statement; ends with the statement or with the object.
struct Turn {
  nb::object mutex;
  bool held = false;

  explicit Turn(nb::object of) : mutex(std::move(of)) {}
  Turn(Turn&& other) noexcept : mutex(std::move(other.mutex)), held(std::exchange(other.held, false)) {}
  ~Turn() { end(); }
  void begin() {
    nb::cast<Mutex&>(mutex).acquire();
    held = true;
  }
  void end() {
    if (held) nb::cast<Mutex&>(mutex).release();
    held = false;
  }
};

}  // namespace

int writer_fd(const PyFile& file, const std::string& path) {
  check(file.file->check_writer(), path);
  return file.file->fd();
}

void define_files(nb::module_& m) {
  nb::class_<PyFile>(m, "File")
      .def("fileno", [](const PyFile& self) { return self.file->fd(); })
      .def("close", [](PyFile& self) { self.file->close(); })
      .def("borrowed", &borrowed)
      .def("mapped_numbers", &mapped_numbers)
      .def("let_go", [](const PyFile& self) { self.file->let_go(); })
      .def("take_over",
           [](const PyFile& self, const PyFile& other) {
             check(self.file->take_over(other.file.get()), self.file->path());
           })
      .def_prop_ro("identity", &identity_of)
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", &close_at_exit)
      .def("check_writer", [](const PyFile& self, const std::string& path) { (void)writer_fd(self, path); })
      .def("is_at", &is_at)
      .def("try_lock", [](const PyFile& self, const std::string& path) {
        bool taken = false;
        check(self.file->try_lock(&taken), path);
        return taken;
      });
  m.def("open_file", &open_file, "path"_a, "writable"_a, "follows_links"_a = false);
  m.def("named_file", &named_file, "path"_a, "follows_links"_a);
  m.def("create_file", &create_file, "path"_a, "like"_a.none());
  m.def("lock_file", &lock_file, "path"_a, "timeout"_a);
  m.def("is_held", &is_held, "path"_a);
  m.def("open_directory", &open_directory, "path"_a);
  m.def("anonymous_file", &anonymous_file);
  m.def("check_room", &check_room, "count"_a, "path"_a);
  nb::class_<Scope>(m, "Scope")
      .def(nb::init<>())
      .def("hold", &Scope::hold)
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](Scope& self, nb::args) { self.close(); });
  nb::class_<Mutex>(m, "Mutex")
      .def(nb::init<std::string>())
      .def("turn", [](nb::object self) { return Turn(std::move(self)); })
      .def_prop_ro("is_mine", &Mutex::is_mine);
  nb::class_<Turn>(m, "Turn")
      .def("__enter__", [](Turn& self) { self.begin(); })
      .def("__exit__", [](Turn& self, nb::args) { self.end(); });
}

}  // namespace mmap_ninja
