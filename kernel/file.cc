#include "file.h"

#include <errno.h>
#include <fcntl.h>
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

Status File::identify(uint64_t* device, uint64_t* inode) const {
  if (!is_known_) {
    struct stat info;
    if (::fstat(fd_, &info) != 0) return {.code = Code::system, .error = errno, .what = "fstat"};
    place_.device = static_cast<uint64_t>(info.st_dev);
    place_.inode = static_cast<uint64_t>(info.st_ino);
    is_known_ = true;
  }
  *device = place_.device;
  *inode = place_.inode;
  return {};
}

void File::let_go() {
#if defined(__linux__)  // elsewhere, maps do not tell of a truncation
  if (fd_ >= 0 && !path_.empty() && !locked_) ::close(std::exchange(fd_, -1));
#endif
}

Status File::borrow(int* fd, std::shared_ptr<File>* opened) const {
  *fd = fd_;
  if (fd_ >= 0) return {};
  if (path_.empty()) return {.code = Code::closed};
  Status status = open(path_.c_str(), false, follows_links_, opened);
  bool missing = status.code == Code::system && (status.error == ENOENT || status.error == ENOTDIR);
  if (missing && is_known_) return {.code = Code::replaced};
  if (!status.ok()) return status;
  const io::Place& found = (*opened)->place_;
  if (is_known_ && (found.device != place_.device || found.inode != place_.inode))
    return {.code = Code::replaced};
  place_ = found;
  is_known_ = true;
  *fd = (*opened)->fd();
  return {};
}

std::shared_ptr<File> File::apart() const {
  auto file = std::make_shared<File>(fd_ < 0 ? -1 : ::fcntl(fd_, F_DUPFD_CLOEXEC, 0));
  file->path_ = path_;
  file->follows_links_ = follows_links_;
  file->place_ = place_;
  file->is_known_ = is_known_;
  return file;
}

Status File::hold() {
  std::shared_ptr<File> opened;
  int fd;
  Status status = borrow(&fd, &opened);
  return status.ok() && opened ? take_over(opened.get()) : status;
}

Status File::take_over(File* other) {
  if (fd_ < 0) {
    fd_ = other->release();
  } else {
#if defined(__linux__)
    int fd = ::dup3(other->fd_, fd_, O_CLOEXEC);
#else
    int fd = ::dup2(other->fd_, fd_);
    if (fd >= 0) (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
    // Both are open, so a bad one is this number, which is above a limit that was lowered meanwhile.
    if (fd < 0) return {.code = Code::system, .error = errno == EBADF ? EMFILE : errno, .what = "dup"};
    other->close();
  }
  owner_ = other->owner_;
  process_ = other->process_;
  path_.clear();
  return {};
}

int File::release() { return std::exchange(fd_, -1); }

void File::close() {
  (void)unlock();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  path_.clear();  // it was not let go
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
  io::Place place;
  Status status = io::open_regular(path, writable, follows_links, &fd, &place);
  if (!status.ok()) return status;
  *file = std::make_shared<File>(fd);
  (*file)->place_ = place;
  (*file)->is_known_ = true;
  if (!writable) (*file)->path_ = path;
  (*file)->follows_links_ = follows_links;
  return status;
}

std::shared_ptr<File> File::named(const char* path, bool follows_links) {
  auto file = std::make_shared<File>(-1);
  file->path_ = path;
  file->follows_links_ = follows_links;
  return file;
}

Status File::create(const char* path, const File* like, std::shared_ptr<File>* file) {
  int fd = -1;
  Status status = io::create_file(path, like ? like->fd() : -1, &fd);
  if (status.ok()) *file = std::make_shared<File>(fd);
  return status;
}

}  // namespace mmap_ninja
