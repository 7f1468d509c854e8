#pragma once

#include <cstdint>
#include <memory>

#include "forks.h"
#include "status.h"

namespace mmap_ninja {

// An open file, which closes with its last owner. One call into the kernel opens it and takes ownership, so
// that no signal handler runs in between. Writing and locking are for the process that opened it.
class File : private Inherited {
 public:
  // Takes ownership of the descriptor.
  explicit File(int fd);
  ~File() { close(); }

  // -1 if it is closed.
  int fd() const { return fd_; }
  // Code::closed, or Code::forked in a child of the process that opened it.
  Status check_writer() const;
  // A lock by `flock`; a forked child closes the files that its parent has locked.
  Status try_lock(bool* taken);
  // Releases the lock, even if the descriptor has duplicates.
  Status unlock();
  // Passes the descriptor to the caller; -1 if it is closed.
  int release();
  // Releases the lock, and closes.
  void close();

  // Opens an existing regular file. Code::linked for a link that is not to be followed, Code::irregular
  // for FIFOs, devices and directories.
  static Status open(const char* path, bool writable, bool follows_links, std::shared_ptr<File>* file);
  // Creates a file that must not exist yet, with the mode and, where permitted, the group and owner of
  // `like`, if that is not null.
  static Status create(const char* path, const File* like, std::shared_ptr<File>* file);

 private:
  void abandon() override;
  bool holds(uint64_t device, uint64_t inode) const override;

  int fd_;
  uint64_t owner_;  // the value of forks_so_far()
  uint64_t process_;
  bool locked_ = false;
};

}  // namespace mmap_ninja
