#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "forks.h"
#include "io.h"
#include "status.h"

namespace mmap_ninja {

class Mapping;

// A file, which closes with its last owner. One call into the kernel opens it and takes ownership, so that no
// signal handler runs in between. Writing and locking are for the process that opened it. A file that is only
// read may be let go between uses, since a process has few descriptors: then it is found again by its path.
class File : private Inherited {
 public:
  // Takes ownership of the descriptor.
  explicit File(int fd);
  ~File() { close(); }

  // Empty if it was not opened for reading.
  const std::string& path() const { return path_; }
  // -1 if it is closed, or let go.
  int fd() const { return fd_; }
  // Closes the descriptor until `hold` or `take_over`, after which the file stays open. Not of a file that
  // was opened for writing.
  void let_go();
  // Opens it for good, if it was let go. Code::replaced if another file is at its path by now, or none.
  Status hold();
  // A descriptor for a moment: that of this file or, if it was let go, of `opened`.
  Status borrow(int* fd, std::shared_ptr<File>* opened) const;
  // The same file for another thread, with which this one then shares nothing.
  std::shared_ptr<File> apart() const;
  // Uses the descriptor of another opening of the same file from now on, under the number that readers have.
  Status take_over(File* other);
  // The map that it was let go for, as long as that is there.
  std::shared_ptr<const Mapping> map() const { return map_.lock(); }
  void let_go_for(const std::shared_ptr<const Mapping>& map) {
    let_go();
    map_ = map;
  }
  // Code::system if it was let go before it was opened once.
  Status identify(uint64_t* device, uint64_t* inode) const;
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
  // The file at a path, for reading, as if it had been let go: whichever is found there first.
  static std::shared_ptr<File> named(const char* path, bool follows_links);
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
  std::string path_;  // of a file that was opened for reading
  bool follows_links_ = false;
  mutable bool is_known_ = false;  // whether this is the identity of the file
  mutable io::Place place_;
  std::weak_ptr<const Mapping> map_;
};

}  // namespace mmap_ninja
