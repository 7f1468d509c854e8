#include "file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "io.h"

namespace mmap_ninja {

File::File(int fd) : fd_(fd), owner_(forks_so_far()), process_(process_id()) {}

Status File::check_writer() const {
  if (owner_ != forks_so_far()) return {.code = Code::forked, .expected = process_};
  if (fd_ < 0) return {.code = Code::closed};
  return {};
}

Status File::try_lock(bool* taken) {
  *taken = false;
  if (Status status = check_writer(); !status.ok()) return status;
  enroll();  // before locking, so that a fork in between is cleaned up, too
  Status status = io::try_lock(fd_, taken);
  locked_ = status.ok() && *taken;
  if (!locked_) leave();
  return status;
}

Status File::unlock() {
  if (!locked_) return {};
  locked_ = false;
  Status status = io::unlock(fd_);
  leave();
  return status;
}

int File::release() { return std::exchange(fd_, -1); }

void File::close() {
  (void)unlock();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void File::abandon() {
  locked_ = false;
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

bool File::holds(uint64_t device, uint64_t inode) const {
  struct stat info;
  return locked_ && ::fstat(fd_, &info) == 0 && static_cast<uint64_t>(info.st_dev) == device &&
         static_cast<uint64_t>(info.st_ino) == inode;
}

Status File::open(const char* path, bool writable, bool follows_links, std::shared_ptr<File>* file) {
  int fd = -1;
  Status status = io::open_regular(path, writable, follows_links, &fd);
  if (status.ok()) *file = std::make_shared<File>(fd);
  return status;
}

Status File::create(const char* path, const File* like, std::shared_ptr<File>* file) {
  int fd = -1;
  Status status = io::create_file(path, like ? like->fd() : -1, &fd);
  if (status.ok()) *file = std::make_shared<File>(fd);
  return status;
}

}  // namespace mmap_ninja
