#pragma once

#include <cstddef>
#include <cstdint>

#include "status.h"

// The one place for every system call that changes a file, where tests can watch each call or make it fail.
namespace mmap_ninja::io {

struct Call {
  const char* name;
  int fd;            // -1 if the call takes a path
  const char* path;  // nullptr if the call takes an fd
  uint64_t offset;
  const void* data;
  uint64_t size;
};

// Called before the system call. Returns 0 to make the call, a negative errno to fail it, and for a write a
// positive number of bytes after which it stops.
using Hook = int64_t (*)(const Call&);

// Not thread-safe: set it before the first writer and reset it after the last.
void set_hook(Hook hook);

// All return ok or Code::system; EINTR and short writes are retried.
Status write_at(int fd, const void* data, uint64_t size, uint64_t offset);
// Copies between two files, inside the system if that is possible, else through memory.
Status copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size);
Status truncate(int fd, uint64_t size);
// Waits until data, and the metadata needed to read it, are on the disk (F_FULLFSYNC on macOS).
Status sync_data(int fd);
Status open_directory(const char* path, int* fd);
// Waits until the names in a directory are on the disk.
Status sync_directory(int fd);
// Waits until everything on the filesystem of an open file is on the disk.
Status sync_filesystem(int fd);
// Exclusive, read-write, without following a symbolic link; with the mode and, where permitted, the group and
// owner of the file `like`, if that is not -1.
Status create_file(const char* path, int like, int* fd);
Status make_directory(const char* path);
Status rename_file(const char* from, const char* to);
Status remove_file(const char* path);
Status remove_directory(const char* path);  // an empty one
// Asks the system to start writing a range to the disk; a hint, so it is neither watched nor checked.
void start_writeback(int fd, uint64_t offset, uint64_t size);

Status try_lock(int fd, bool* taken);
Status unlock(int fd);

// The identity of a file, its mount and its disk.
struct Place {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t mount = 0;  // changes with every mount of a filesystem; 0: unknown
  uint64_t disk = 0;   // changes with every disk that is inserted or attached; 0: unknown
};
Status place_of(int fd, Place* place);
// Opens an existing regular file, of which it finds device and inode. Code::linked for a link that is not to
// be followed, Code::irregular for anything else.
Status open_regular(const char* path, bool writable, bool follows_links, int* fd, Place* place);
// Device, inode and size of the file at a path, without following a symbolic link. Does not ask for times:
// after that, a file updates them at its next write, which costs a microsecond.
Status look_at(const char* path, Place* place, uint64_t* size);
// Size and number of hard links of an open file, likewise.
Status look_at(int fd, uint64_t* links, uint64_t* size);

// Reads exactly `size` bytes or fails with Code::short_file.
Status read_at(int fd, void* data, uint64_t size, uint64_t offset);

// Whether a file is on a filesystem whose bytes come over a network, or from another process (NFS, SMB,
// Lustre, GPFS, Ceph, AFS, FUSE, 9p). There it may be truncated without notice, and a failing read of a map
// raises a signal.
bool is_remote(int fd);
// Whether a file is on an overlay filesystem, as in a container: the first write copies the file, and
// descriptors and maps from before show the old one.
bool is_overlay(int fd);

// 16 bytes that change with every boot; all zero if the system has none.
void boot_id(uint8_t id[16]);

}  // namespace mmap_ninja::io
