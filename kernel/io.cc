#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <vector>
#if defined(__APPLE__)
#include <sys/mount.h>
#include <sys/sysctl.h>
#elif defined(__linux__)
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#endif

namespace mmap_ninja::io {
namespace {

std::atomic<Hook> watcher{nullptr};

// Below the 0x7ffff000 bytes that Linux transfers per call.
constexpr uint64_t kLargestTransfer = uint64_t{1} << 30;

int64_t watch(const Call& call) {
  Hook hook = watcher.load(std::memory_order_acquire);
  return hook ? hook(call) : 0;
}

Status failure(const char* name, int error) { return {.code = Code::system, .error = error, .what = name}; }

// Runs a system call through the hook, and retries on EINTR.
template <typename Function>
Status call(const Call& described, Function function) {
  for (;;) {
    int64_t verdict = watch(described);
    if (verdict > 0 || (verdict == 0 && function() == 0)) return {};
    int error = verdict < 0 ? static_cast<int>(-verdict) : errno;
    if (error != EINTR) return failure(described.name, error);
  }
}

}  // namespace

void set_hook(Hook hook) { watcher.store(hook, std::memory_order_release); }

Status write_at(int fd, const void* data, uint64_t size, uint64_t offset) {
  auto bytes = static_cast<const uint8_t*>(data);
  while (size > 0) {
    uint64_t part = std::min(size, kLargestTransfer);
    int64_t verdict = watch({"pwrite", fd, nullptr, offset, bytes, part});
    if (verdict > 0) part = std::min(part, static_cast<uint64_t>(verdict));
    ssize_t written = -1;
    int error = verdict < 0 ? static_cast<int>(-verdict) : 0;
    if (error == 0) {
      written = ::pwrite(fd, bytes, part, static_cast<off_t>(offset));
      if (written < 0) error = errno;
      if (written == 0) error = ENOSPC;
    }
    if (error == EINTR) continue;
    if (error != 0) return failure("pwrite", error);
    bytes += written;
    size -= static_cast<uint64_t>(written);
    offset += static_cast<uint64_t>(written);
  }
  return {};
}

namespace {

// -1 and errno if the system cannot copy between these files.
ssize_t copy_inside([[maybe_unused]] int from, [[maybe_unused]] uint64_t from_offset, [[maybe_unused]] int to,
                    [[maybe_unused]] uint64_t to_offset, [[maybe_unused]] uint64_t size) {
#if defined(__linux__)
  auto in = static_cast<off_t>(from_offset), out = static_cast<off_t>(to_offset);
  return ::copy_file_range(from, &in, to, &out, size, 0);
#else
  errno = ENOSYS;
  return -1;
#endif
}

bool is_unsupported(int error) {
  return error == EXDEV || error == ENOSYS || error == EOPNOTSUPP || error == EINVAL || error == EPERM;
}

Status copy_through_memory(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size) {
  constexpr uint64_t kStep = uint64_t{1} << 20;
  std::vector<uint8_t> bytes(std::min(size, kStep));
  while (size > 0) {
    uint64_t part = std::min(size, kStep);
    if (Status status = read_at(from, bytes.data(), part, from_offset); !status.ok()) return status;
    if (Status status = write_at(to, bytes.data(), part, to_offset); !status.ok()) return status;
    from_offset += part;
    to_offset += part;
    size -= part;
  }
  return {};
}

}  // namespace

Status copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size) {
  uint64_t end = from_offset + size;
  while (size > 0) {
    uint64_t part = std::min(size, kLargestTransfer);
    int64_t verdict = watch({"copy_file_range", to, nullptr, to_offset, nullptr, part});
    if (verdict > 0) part = std::min(part, static_cast<uint64_t>(verdict));
    ssize_t copied = verdict < 0 ? -1 : copy_inside(from, from_offset, to, to_offset, part);
    int error = verdict < 0 ? static_cast<int>(-verdict) : errno;
    if (copied < 0 && error == EINTR) continue;
    if (copied < 0 && is_unsupported(error))
      return copy_through_memory(from, from_offset, to, to_offset, size);
    if (copied < 0) return failure("copy_file_range", error);
    if (copied == 0)
      return {.code = Code::short_file, .what = "source", .found = from_offset, .expected = end};
    from_offset += static_cast<uint64_t>(copied);
    to_offset += static_cast<uint64_t>(copied);
    size -= static_cast<uint64_t>(copied);
  }
  return {};
}

Status truncate(int fd, uint64_t size) {
  return call({"ftruncate", fd, nullptr, 0, nullptr, size},
              [&] { return ::ftruncate(fd, static_cast<off_t>(size)); });
}

Status sync_data(int fd) {
  return call({"fdatasync", fd, nullptr, 0, nullptr, 0}, [&] {
#if defined(__APPLE__)
    return ::fcntl(fd, F_FULLFSYNC) == -1 ? -1 : 0;
#else
    return ::fdatasync(fd);
#endif
  });
}

Status open_directory(const char* path, int* fd) {
  *fd = ::open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return *fd < 0 ? failure("open", errno) : Status{};
}

Status sync_directory(int fd) {
  return call({"fsync", fd, nullptr, 0, nullptr, 0}, [&] { return ::fsync(fd); });
}

Status sync_filesystem(int fd) {
  return call({"syncfs", fd, nullptr, 0, nullptr, 0}, [&] {
#if defined(__linux__)
    return ::syncfs(fd);
#else
    ::sync();
    return 0;
#endif
  });
}

namespace {

constexpr auto kSameOwner = static_cast<uid_t>(-1);
constexpr auto kSameGroup = static_cast<gid_t>(-1);

// `given`: whether it was permitted.
Status give(int fd, uid_t owner, gid_t group, bool* given) {
  Status status = call({"fchown", fd, nullptr, 0, nullptr, 0}, [&] { return ::fchown(fd, owner, group); });
  *given = status.ok();
  return status.error == EPERM ? Status{} : status;
}

// Gives a new file the mode of another one and, where permitted, its group and, for root, its owner. If the
// group cannot be set, the group of this process does not get the permissions of that group.
Status imitate(int fd, int like) {
  struct stat own, other;
  if (::fstat(fd, &own) != 0 || ::fstat(like, &other) != 0) return failure("fstat", errno);
  mode_t mode = other.st_mode & 0777;
  bool given = true;
  if (own.st_gid != other.st_gid) {
    if (Status status = give(fd, kSameOwner, other.st_gid, &given); !status.ok()) return status;
    if (!given) mode &= ~static_cast<mode_t>(S_IRWXG) | (mode & S_IRWXO) << 3;
  }
  if ((own.st_mode & 0777) != mode) {
    Status status = call({"fchmod", fd, nullptr, 0, nullptr, mode}, [&] { return ::fchmod(fd, mode); });
    if (!status.ok() && status.error != EPERM) return status;  // EPERM: a filesystem without modes
  }
  return own.st_uid == other.st_uid ? Status{} : give(fd, other.st_uid, kSameGroup, &given);
}

}  // namespace

Status create_file(const char* path, int like, int* fd) {
  Status status = call({"open", -1, path, 0, nullptr, 0}, [&] {
    *fd = ::open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    return *fd < 0 ? -1 : 0;
  });
  if (!status.ok() || like < 0) return status;
  status = imitate(*fd, like);
  if (!status.ok()) {
    ::close(*fd);
    (void)remove_file(path);
  }
  return status;
}

Status open_regular(const char* path, bool writable, bool follows_links, int* fd, Place* place) {
  // O_NONBLOCK: a FIFO must fail the check below, instead of waiting for a writer.
  int flags = (writable ? O_RDWR : O_RDONLY) | (follows_links ? 0 : O_NOFOLLOW) | O_CLOEXEC | O_NONBLOCK;
  do {
    *fd = ::open(path, flags);
  } while (*fd < 0 && errno == EINTR);
  if (*fd < 0 && errno == ELOOP) return {.code = Code::linked};
  if (*fd < 0 && (errno == ENXIO || errno == EISDIR)) return {.code = Code::irregular};
  if (*fd < 0) return failure("open", errno);
  struct stat info;
  bool known = ::fstat(*fd, &info) == 0;
  if (known && S_ISREG(info.st_mode)) {
    place->device = static_cast<uint64_t>(info.st_dev);
    place->inode = static_cast<uint64_t>(info.st_ino);
    return {};
  }
  Status status = known ? Status{.code = Code::irregular} : failure("fstat", errno);
  ::close(*fd);
  return status;
}

#if defined(__linux__)
namespace {

// The result of statx; older headers lack some fields.
union Statx {
  struct statx named;
  uint8_t bytes[256];

  uint64_t mount() const {
    constexpr size_t kAt = 144;
    uint64_t number;
    memcpy(&number, bytes + kAt, sizeof number);
    return named.stx_mask & (kMountId | kMountIdUnique) ? number : 0;
  }
  uint64_t device() const { return makedev(named.stx_dev_major, named.stx_dev_minor); }

  // Since Linux 5.8: numbers that are reused. Since 6.8, on request: numbers that are never reused, and
  // greater.
  static constexpr unsigned kMountId = 0x1000, kMountIdUnique = 0x4000;
};

// The number of the disk, counting all that were ever attached to the system (Linux 5.15); a partition has
// that of its disk.
uint64_t disk_number(unsigned major, unsigned minor) {
  for (const char* where : {"", "../"}) {
    char path[80], text[32] = {};
    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%sdiskseq", major, minor, where);
    int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    ssize_t size = ::read(fd, text, sizeof text - 1);
    ::close(fd);
    if (size > 0) return strtoull(text, nullptr, 10);
  }
  return 0;
}

}  // namespace

Status place_of(int fd, Place* place) {
  Statx info{};
  for (unsigned mount : {Statx::kMountIdUnique, Statx::kMountId}) {
    if (::statx(fd, "", AT_EMPTY_PATH, STATX_INO | mount, &info.named) != 0) return failure("statx", errno);
    if (info.mount()) break;
  }
  *place = {info.device(), info.named.stx_ino, info.mount(),
            disk_number(info.named.stx_dev_major, info.named.stx_dev_minor)};
  return {};
}

Status look_at(const char* path, Place* place, uint64_t* size) {
  Statx info{};
  if (::statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_SIZE, &info.named) != 0)
    return failure("statx", errno);
  *place = {info.device(), info.named.stx_ino, 0, 0};
  *size = info.named.stx_size;
  return {};
}

Status look_at(int fd, uint64_t* links, uint64_t* size) {
  Statx info{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_SIZE, &info.named) != 0)
    return failure("statx", errno);
  *links = info.named.stx_nlink;
  *size = info.named.stx_size;
  return {};
}
#else
Status place_of(int fd, Place* place) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return failure("fstat", errno);
  *place = {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino), 0, 0};
  return {};
}

Status look_at(const char* path, Place* place, uint64_t* size) {
  struct stat info;
  if (::lstat(path, &info) != 0) return failure("lstat", errno);
  *place = {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino), 0, 0};
  *size = static_cast<uint64_t>(info.st_size);
  return {};
}

Status look_at(int fd, uint64_t* links, uint64_t* size) {
  struct stat info;
  if (::fstat(fd, &info) != 0) return failure("fstat", errno);
  *links = static_cast<uint64_t>(info.st_nlink);
  *size = static_cast<uint64_t>(info.st_size);
  return {};
}
#endif

Status make_directory(const char* path) {
  return call({"mkdir", -1, path, 0, nullptr, 0}, [&] { return ::mkdir(path, 0777); });
}

Status rename_file(const char* from, const char* to) {
  return call({"rename", -1, from, 0, to, strlen(to)}, [&] { return ::rename(from, to); });
}

Status remove_file(const char* path) {
  return call({"unlink", -1, path, 0, nullptr, 0}, [&] { return ::unlink(path); });
}

Status remove_directory(const char* path) {
  return call({"rmdir", -1, path, 0, nullptr, 0}, [&] { return ::rmdir(path); });
}

void start_writeback([[maybe_unused]] int fd, [[maybe_unused]] uint64_t offset,
                     [[maybe_unused]] uint64_t size) {
#if defined(__linux__)
  (void)::sync_file_range(fd, static_cast<off_t>(offset), static_cast<off_t>(size), SYNC_FILE_RANGE_WRITE);
#endif
}

Status try_lock(int fd, bool* taken) {
  *taken = true;
  return call({"flock", fd, nullptr, 0, nullptr, 0}, [&] {
    int result = ::flock(fd, LOCK_EX | LOCK_NB);
    if (result == 0 || errno != EWOULDBLOCK) return result;
    *taken = false;
    return 0;
  });
}

Status unlock(int fd) {
  return call({"flock", fd, nullptr, 1, nullptr, 0}, [&] { return ::flock(fd, LOCK_UN); });
}

Status read_at(int fd, void* data, uint64_t size, uint64_t offset) {
  auto bytes = static_cast<uint8_t*>(data);
  uint64_t done = 0;
  while (done < size) {
    ssize_t part =
        ::pread(fd, bytes + done, std::min(size - done, kLargestTransfer), static_cast<off_t>(offset + done));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0) return failure("pread", errno);
    if (part == 0)
      return {.code = Code::short_file, .what = "file", .found = offset + done, .expected = offset + size};
    done += static_cast<uint64_t>(part);
  }
  return {};
}

bool is_remote([[maybe_unused]] int fd) {
#if defined(__linux__) || defined(__APPLE__)
  struct statfs found;
  if (::fstatfs(fd, &found) != 0) return false;
#if defined(__APPLE__)
  return !(found.f_flags & MNT_LOCAL) || strstr(found.f_fstypename, "fuse") != nullptr;
#else
  constexpr uint32_t kRemote[] = {
      0x00006969,  // NFS
      0x0000517b,  // SMB
      0xfe534d42,  // SMB 2
      0xff534d42,  // CIFS
      0x0bd00bd0,  // Lustre
      0x65735546,  // FUSE
      0x01021997,  // 9p
      0x47504653,  // GPFS
      0x00c36400,  // Ceph
      0x5346414f,  // AFS
  };
  return std::find(std::begin(kRemote), std::end(kRemote), static_cast<uint32_t>(found.f_type)) !=
         std::end(kRemote);
#endif
#else
  return false;
#endif
}

bool is_overlay([[maybe_unused]] int fd) {
#if defined(__linux__)
  struct statfs found;
  return ::fstatfs(fd, &found) == 0 && found.f_type == 0x794c7630;
#else
  return false;
#endif
}

void boot_id(uint8_t id[16]) {
  char text[64] = {};
#if defined(__APPLE__)
  size_t size = sizeof text - 1;
  if (::sysctlbyname("kern.bootsessionuuid", text, &size, nullptr, 0) != 0) text[0] = 0;
#else
  int fd = ::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (::read(fd, text, sizeof text - 1) < 0) text[0] = 0;
    ::close(fd);
  }
#endif
  memset(id, 0, 16);
  int digits = 0;
  for (const char* at = text; *at && digits < 32; ++at) {
    unsigned value;
    if (*at == '-' || sscanf(at, "%1x", &value) != 1) continue;
    id[digits / 2] = static_cast<uint8_t>(id[digits / 2] << 4 | value);
    ++digits;
  }
}

}  // namespace mmap_ninja::io
