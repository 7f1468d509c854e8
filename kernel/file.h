#pragma once

#include <cstdint>
#include <memory>

#include "forks.h"
#include "status.h"

namespace mmap_ninja {

// An open file, which closes with its last owner. It is opened and owned by one call into the kernel, so that
// no signal's handler comes in between. What it is written with, or locked, belongs to the process that
// opened it.
class File : private Inherited {
 public:
  // Takes ownership of the descriptor.
  explicit File(int fd);
  ~File() { close(); }

  // -1 if it is closed.
  int fd() const { return fd_; }
  // Code::closed, or Code::forked in a child of the process that opened it.
  Status check_writer() const;
  // The lock that `flock` gives; a forked child closes what its parent has locked.
  Status try_lock(bool* taken);
  // Lets go of the lock, also where the descriptor has duplicates.
  Status unlock();
  // Gives the descriptor away; -1 if it is closed.
  int release();
  // Lets go of the lock, and closes.
  void close();

  // A regular file that exists. Code::irregular for symbolic links, FIFOs, devices and directories.
  static Status open(const char* path, bool writable, std::shared_ptr<File>* file);
  // A file that must not exist yet. `like`: a file beside which it stands, whose mode and, where permitted,
  // group and owner it takes; or null.
  static Status create(const char* path, const File* like, std::shared_ptr<File>* file);

 private:
  void abandon() override;

  int fd_;
  uint64_t owner_;  // by its forks
  uint64_t process_;
  bool locked_ = false;
};

}  // namespace mmap_ninja
