#pragma once

#include <cstddef>
#include <cstdint>

#include "status.h"

// The one seam: every system call that changes a file is made here, and a test may watch or fail each.
namespace mmap_ninja::io {

struct Call {
  const char* name;
  int fd;            // -1 where the call takes a path
  const char* path;  // nullptr where the call takes an fd
  uint64_t offset;
  const void* data;
  uint64_t size;
};

// Called before the system call. Returns 0 to let it pass, a negative errno to fail it, and for a write
// a positive number of bytes after which it stops short.
using Hook = int64_t (*)(const Call&);

// Not thread-safe: set it before the first writer and reset it after the last.
void set_hook(Hook hook);

// All return ok or Code::system; EINTR and short writes are retried.
Status write_at(int fd, const void* data, uint64_t size, uint64_t offset);
// Copies between two files inside the system where it can, through memory where it cannot.
Status copy_range(int from, uint64_t from_offset, int to, uint64_t to_offset, uint64_t size);
Status truncate(int fd, uint64_t size);
// Data and the metadata needed to read it back have reached the medium (F_FULLFSYNC on macOS).
Status sync_data(int fd);
Status open_directory(const char* path, int* fd);
// The names in a directory have reached the medium.
Status sync_directory(int fd);
// Everything on the filesystem of an open file has reached it.
Status sync_filesystem(int fd);
// Exclusive, read-write, no symlink followed; with the mode and, where permitted, the group and owner of the
// file `like`, if that is not -1.
Status create_file(const char* path, int like, int* fd);
Status make_directory(const char* path);
Status rename_file(const char* from, const char* to);
Status remove_file(const char* path);
Status remove_directory(const char* path);  // an empty one
// Ask the kernel to start writing a range back; a hint, so it is neither watched nor checked.
void start_writeback(int fd, uint64_t offset, uint64_t size);

Status try_lock(int fd, bool* taken);
Status unlock(int fd);

// Opens a regular file that exists; Code::irregular for what is none.
Status open_regular(const char* path, bool writable, int* fd);

// Which file it is, and what lies below it.
struct Place {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t mount = 0;  // changes with every mount of a filesystem; 0: unknown
  uint64_t disk = 0;   // changes with every medium that is inserted or attached; 0: unknown
};
Status place_of(int fd, Place* place);
// Device and inode of what a path leads to, without following a symbolic link, and its size. Asks for no
// times: a file whose times were asked for updates them at its next write, which costs a microsecond.
Status look_at(const char* path, Place* place, uint64_t* size);
// The same of an open file, and how many names it has.
Status look_at(int fd, uint64_t* links, uint64_t* size);

// Reads exactly `size` bytes or fails with Code::short_file.
Status read_at(int fd, void* data, uint64_t size, uint64_t offset);

// Whether a file lies on a filesystem whose bytes come from elsewhere: over a network, or from another
// process (NFS, SMB, Lustre, GPFS, Ceph, AFS, FUSE, 9p). Others may truncate it there, and what fails fails
// as a signal under a map.
bool is_remote(int fd);
// Whether a file lies on an overlay, as in a container: the first write copies it, and what was open or
// mapped before stays what it was.
bool is_overlay(int fd);

// 16 bytes that change with every boot; all zero where the system tells none.
void boot_id(uint8_t id[16]);

}  // namespace mmap_ninja::io
