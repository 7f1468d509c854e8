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

using namespace nanobind::literals;

namespace mmap_ninja {
namespace {

constexpr double kSlice = 0.05;  // seconds of waiting until ctrl-C gets through

PyFile open_file(const std::string& path, bool writable) {
  nb::object name = nb::cast(path);  // kept here: where nobody listens, nothing that is handed over is taken
  if (PySys_Audit("open", "OOi", name.ptr(), Py_None, writable ? O_RDWR : O_RDONLY) != 0)
    throw nb::python_error();
  PyFile opened;
  check(File::open(path.c_str(), writable, &opened.file), path);
  return opened;
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

// A file without a name, in memory where the system has such.
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

// Whether a path leads to an open file.
bool is_at(const PyFile& file, const std::string& path) {
  struct stat own, found;
  return ::fstat(file.file->fd(), &own) == 0 && ::stat(path.c_str(), &found) == 0 &&
         own.st_dev == found.st_dev && own.st_ino == found.st_ino;
}

// Opens a file and takes its lock; None where it stays taken for `timeout` seconds. The lock is of the file
// that is at the path then.
nb::object lock_file(const std::string& path, double timeout) {
  double waited = 0, pause = 100e-6;
  for (;;) {
    PyFile opened = open_file(path, true);
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

void close_at_exit(PyFile& self, nb::args) { self.file->close(); }

// Files that are closed at the end of a with block, and their locks let go of, whoever still refers to them:
// a traceback that somebody keeps must keep no lock.
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

// The lock of a handle's mutations. A thread that has it and asks again is told so: it is a signal's handler,
// or code of the user's that a mutation has called, and the handle is half way. A child that was forked while
// another thread had it never gets it.
struct Mutex {
  std::string path;
  PyThread_type_lock lock = PyThread_allocate_lock();
  unsigned long thread = 0;  // that has it; 0: none
  uint64_t owner = forks_so_far();

  explicit Mutex(std::string of) : path(std::move(of)) {}
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  ~Mutex() {
    // A forked child may find it locked for ever.
    if (thread == 0) PyThread_free_lock(lock);
  }

  void acquire() {
    bool own = thread == PyThread_get_thread_ident();
    if (owner != forks_so_far()) {
      if (thread != 0 && !own)
        raise(
            error_class("ForkedHandleError"),
            path +
                ": this process was forked while another thread was at work on the dataset; open it again here");
      // Forked in the middle of what this thread did in the parent, which alone goes on with it; or as
      // another thread had got the lock and waited for the GIL to begin, which nobody would ever unlock here.
      renew();
    } else if (own) {
      raise(nb::borrow(PyExc_RuntimeError),
            path +
                ": this thread is at work on the dataset already: a signal's handler, or code that it calls, "
                "cannot change it meanwhile; nothing was changed: do it when that has ended");
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
    if (thread == 0) return;  // a forked child has given it up
    thread = 0;
    PyThread_release_lock(lock);
  }
  void renew() {
    thread = 0;
    owner = forks_so_far();
    lock = PyThread_allocate_lock();
  }
};

// One turn of a mutex, for a with statement; ends with it at the latest, or with the object.
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
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", &close_at_exit)
      .def("check_writer", [](const PyFile& self, const std::string& path) { (void)writer_fd(self, path); })
      .def("is_at", &is_at)
      .def("try_lock", [](const PyFile& self, const std::string& path) {
        bool taken = false;
        check(self.file->try_lock(&taken), path);
        return taken;
      });
  m.def("open_file", &open_file, "path"_a, "writable"_a);
  m.def("create_file", &create_file, "path"_a, "like"_a.none());
  m.def("lock_file", &lock_file, "path"_a, "timeout"_a);
  m.def("open_directory", &open_directory, "path"_a);
  m.def("anonymous_file", &anonymous_file);
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
