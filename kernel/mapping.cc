#include "mapping.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <vector>

#include "buffers.h"
#include "io.h"

namespace mmap_ninja {
namespace {

const uint64_t page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
#if defined(__linux__)
// Small files have at least this room to grow. Not much more, as maps far from each other share no page of
// the page tables: with 1 GiB, reading at random from a thousand small files took twice as long.
constexpr uint64_t kReserve = uint64_t{64} << 10;
#endif
#if !defined(MADV_POPULATE_READ)
constexpr int MADV_POPULATE_READ = 22;  // Linux 5.14; older kernels return EINVAL, which is fine for a hint
#endif

constexpr int kMostPrivate = 1 << 14;  // Linux allows a process 65,530 maps, and memory is made of maps, too
std::atomic<int> privates{0};

std::atomic<uint64_t> kept_files{0};  // by shared maps

// Whether a byte of a map can be read: past the end of its file that would raise SIGBUS. A system call that
// is given an address reads it first, and reports the error; this one then refuses the unknown operation.
// https://github.com/abseil/abseil-cpp/blob/master/absl/debugging/internal/address_is_readable.cc
bool can_read(const uint8_t* byte) {
#if defined(__linux__)
  constexpr uintptr_t kSignals = 8;  // bytes of a set of signals
  uintptr_t at = reinterpret_cast<uintptr_t>(byte) / kSignals * kSignals;
  return ::syscall(SYS_rt_sigprocmask, ~0, at, nullptr, kSignals) == 0 || errno != EFAULT;
#else
  return byte != nullptr;  // files are not let go there
#endif
}

// Where the last byte that is not zero ends; 0: there is none.
uint64_t end_of(const uint8_t* bytes, uint64_t size) {
  while (size && bytes[size - 1] == 0) --size;
  return size;
}

void* map(int fd, uint64_t size) { return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0); }

}  // namespace

Status Mapping::open(std::shared_ptr<File> file, uint64_t size, Access access, const char* what,
                     std::shared_ptr<Mapping>* mapping) {
  if (access == Access::pread) {
    if (Status status = file->hold(); !status.ok()) return status;
    return make(nullptr, UINT64_MAX, std::move(file), what, mapping);
  }
  std::shared_ptr<File> opened;
  int fd;
  if (Status status = file->borrow(&fd, &opened); !status.ok()) return status;
  uint64_t capacity = (std::max<uint64_t>(size, 1) + page - 1) / page * page;
  void* data = MAP_FAILED;
#if defined(__linux__)
  // Where there is a limit of address space (RLIMIT_AS), map only what exists.
  uint64_t reserved = capacity + std::max(capacity, kReserve);
  data = map(fd, reserved);
  if (data != MAP_FAILED) capacity = reserved;
#endif
  if (data == MAP_FAILED) data = map(fd, capacity);
  if (data == MAP_FAILED) return {.code = Code::system, .error = errno, .what = "mmap"};
  Status status = make(static_cast<const uint8_t*>(data), capacity, std::move(file), what, mapping);
  if (status.ok()) (*mapping)->keep_file(true);
  return status;
}

bool Mapping::may_keep_file() {
  // The others are for what else the process opens.
  constexpr uint64_t kShare = 4;
  rlimit files;
  return ::getrlimit(RLIMIT_NOFILE, &files) != 0 ||
         kept_files.load(std::memory_order_relaxed) < files.rlim_cur / kShare;
}

void Mapping::keep_file(bool keeps) {
  if (keeps != keeps_file_) kept_files.fetch_add(keeps ? 1 : -1, std::memory_order_relaxed);
  keeps_file_ = keeps;
}

Status Mapping::open_alone(const std::shared_ptr<File>& file, uint64_t size, const char* what,
                           std::shared_ptr<Mapping>* mapping) {
  std::shared_ptr<File> opened;
  int fd;
  std::shared_ptr<Mapping> made;
  Status status = file->borrow(&fd, &opened);
  if (status.ok()) status = open(opened ? opened : file, size, Access::map, what, &made);
  // By system calls, which take no page faults.
  uint64_t begin = size ? page_start(size - 1) : 0;
  std::vector<uint8_t> last_page(size - begin);
  if (status.ok()) status = io::read_at(fd, last_page.data(), last_page.size(), begin);
  if (status.ok()) file->let_go_for(made);
  if (status.code == Code::short_file)
    return {.code = Code::short_file, .what = what, .found = status.found, .expected = size};
  if (!status.ok()) return status;
  made->file_ = file;
  made->keep_file(false);
  made->committed_ = size;
  made->mark_ = end_of(last_page.data(), last_page.size());
  if (made->mark_) made->mark_ += begin;
  *mapping = std::move(made);
  return {};
}

Status Mapping::make(const uint8_t* data, uint64_t capacity, std::shared_ptr<File> file, const char* what,
                     std::shared_ptr<Mapping>* mapping) {
  auto owner = new (std::nothrow) Mapping(data, capacity, std::move(file), what);
  if (owner == nullptr) {
    if (data) ::munmap(const_cast<uint8_t*>(data), capacity);
    return {.code = Code::system, .error = ENOMEM, .what = "mmap"};
  }
  mapping->reset(owner);
  return {};
}

Status Mapping::open(int fd, uint64_t size, Access access, const char* what,
                     std::shared_ptr<Mapping>* mapping) {
  int own_fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own_fd < 0) return {.code = Code::system, .error = errno, .what = "fcntl"};
  return open(std::make_shared<File>(own_fd), size, access, what, mapping);
}

Status Mapping::open_private(const std::shared_ptr<const Mapping>& file, uint64_t begin, uint64_t size,
                             std::shared_ptr<Mapping>* mapping) {
  if (privates.load(std::memory_order_relaxed) >= kMostPrivate)
    return {.code = Code::system, .error = ENOMEM, .what = "mmap"};
  // Without MAP_NORESERVE, Linux refuses maps that are larger than memory and swap, although hardly any page
  // is ever written.
  std::shared_ptr<File> opened;
  int fd;
  if (Status status = file->file_->borrow(&fd, &opened); !status.ok()) return status;
  void* data = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd,
                      static_cast<off_t>(begin));
  if (data == MAP_FAILED) return {.code = Code::system, .error = errno, .what = "mmap"};
  auto owner =
      new (std::nothrow) Mapping(static_cast<const uint8_t*>(data), size, file->file_, file->what_, file);
  if (owner == nullptr) {
    ::munmap(data, size);
    return {.code = Code::no_memory};
  }
  privates.fetch_add(1, std::memory_order_relaxed);
  mapping->reset(owner);
  return {};
}

uint64_t Mapping::page_start(uint64_t byte) { return byte / page * page; }

uint64_t Mapping::page_size() { return page; }

Status Mapping::allocate(uint64_t size, std::shared_ptr<Mapping>* memory, uint8_t** bytes) {
  *bytes = new_buffer(size);
  if (!*bytes) return {.code = Code::no_memory};
  auto owner = new (std::nothrow) Mapping(*bytes, size, nullptr, "");
  if (owner == nullptr) {
    delete_buffer(*bytes);
    return {.code = Code::no_memory};
  }
  memory->reset(owner);
  return {};
}

Mapping::~Mapping() {
  auto data = const_cast<uint8_t*>(data_);
  if (!file_) {
    delete_buffer(data);
    return;
  }
  if (data) ::munmap(data, capacity_);
  if (original_) privates.fetch_sub(1, std::memory_order_relaxed);
  keep_file(false);
}

Status Mapping::check_size(uint64_t size) const {
  if (!file_) return {};
  int fd = file_->fd();
  if (fd < 0) return check_end();
  // 0.1 us, while fstat takes 0.3. It moves the position that duplicates of a descriptor share, which nobody
  // uses.
  off_t end = ::lseek(fd, 0, SEEK_END);
  if (end < 0) return {.code = Code::system, .error = errno, .what = "lseek"};
  auto found = static_cast<uint64_t>(end);
  if (found < size) return {.code = Code::short_file, .what = what_, .found = found, .expected = size};
  return {};
}

Status Mapping::check_end() const {
  if (committed_ == 0) return {};
  bool is_whole = can_read(data_ + committed_ - 1);
  // Another byte there is damage of another kind, which the readers of the bytes report.
  if (is_whole && (mark_ == 0 || end_of(data_ + mark_ - 1, committed_ - mark_ + 1) != 0)) return {};
  return {.code = Code::cut_file, .what = what_, .expected = committed_};
}

Status Mapping::grow(uint64_t size) {
  if (!file_ || !data_ || size <= committed_) return {};
  if (file_->fd() < 0) {
    if (!can_read(data_ + size - 1)) return {.code = Code::cut_file, .what = what_, .expected = size};
    uint64_t last_page = page_start(size - 1), from = std::max(last_page, committed_);
    uint64_t end = end_of(data_ + from, size - from);
    if (end || mark_ <= last_page) mark_ = end ? from + end : 0;
  }
  committed_ = size;
  return {};
}

Status Mapping::read(uint64_t begin, uint64_t size, uint8_t* out) const {
  Status status = size ? io::read_at(file_->fd(), out, size, begin) : Status{};
  if (status.code != Code::short_file) return status;
  status.what = what_;
  Status now = check_size(begin + size);
  return now.ok() ? status : now;  // `now` has the length
}

Status Mapping::populate(uint64_t begin, uint64_t end) {
  if (!file_ || !data_) return {};
  uint64_t needed = end;
  begin = page_start(begin);
  end = std::min((end + page - 1) / page * page, capacity_);
  if (begin >= end) return {};
  if (::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_POPULATE_READ) != 0 &&
      errno == EFAULT) {
    if (Status status = check_size(needed); !status.ok()) return status;
    return {.code = Code::system, .error = EIO, .what = "read"};  // an error of the disk
  }
  // The earlier range is only kept if this one continues it.
  if (begin > populated_end_.load(std::memory_order_relaxed) ||
      begin < populated_begin_.load(std::memory_order_relaxed))
    populated_begin_.store(begin, std::memory_order_relaxed);
  populated_end_.store(end, std::memory_order_relaxed);
  return {};
}

bool Mapping::is_written(uint64_t begin, uint64_t end) const {
#if defined(__linux__)
  // https://docs.kernel.org/admin-guide/mm/pagemap.html: one word for each page, in 20 ns, where populating
  // takes 200.
  constexpr uint64_t kMost = uint64_t{4} << 30, kAtOnce = 4096;
  constexpr uint64_t kOfFile = uint64_t{1} << 61, kThere = uint64_t{3} << 62;  // in memory, or swapped
  if (end - begin > kMost) return true;
  int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return true;
  uint64_t words[kAtOnce];
  bool found = false;
  uint64_t first = (reinterpret_cast<uint64_t>(data_) + begin) / page;
  uint64_t last = (reinterpret_cast<uint64_t>(data_) + end + page - 1) / page;
  for (uint64_t at = first; at < last && !found;) {
    uint64_t asked = std::min(last - at, kAtOnce);
    ssize_t size = ::pread(fd, words, asked * sizeof(uint64_t), static_cast<off_t>(at * sizeof(uint64_t)));
    found = size <= 0;
    uint64_t count = found ? 0 : static_cast<uint64_t>(size) / sizeof(uint64_t);
    for (uint64_t k = 0; k < count; ++k) found |= (words[k] & kThere) != 0 && (words[k] & kOfFile) == 0;
    at += std::max<uint64_t>(count, 1);
  }
  ::close(fd);
  return found;
#else
  return begin < end;
#endif
}

void Mapping::will_need(uint64_t begin, uint64_t end) const {
  if (!file_ || !data_) return;
  begin = page_start(begin);
  end = std::min((end + page - 1) / page * page, capacity_);
  if (begin < end) (void)::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_WILLNEED);
}

}  // namespace mmap_ninja
