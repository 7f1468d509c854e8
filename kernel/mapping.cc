#include "mapping.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <new>

namespace mmap_ninja {
namespace {

constexpr uint64_t kPage = 4096;
#if defined(__linux__)
constexpr uint64_t kReserve = uint64_t{1} << 30;
#endif
#if !defined(MADV_POPULATE_READ)
constexpr int MADV_POPULATE_READ = 22;  // Linux 5.14; older kernels answer EINVAL, which is as good as a hint
#endif

void* map(int fd, uint64_t size) { return ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0); }

}  // namespace

Status Mapping::open(int fd, uint64_t size, std::shared_ptr<Mapping>* mapping) {
  uint64_t capacity = (std::max<uint64_t>(size, 1) + kPage - 1) / kPage * kPage;
  void* data = MAP_FAILED;
#if defined(__linux__)
  // Address space costs nothing, unless a limit (RLIMIT_AS) says otherwise: then map only what is there.
  uint64_t reserved = capacity + std::max(capacity, kReserve);
  data = map(fd, reserved);
  if (data != MAP_FAILED) capacity = reserved;
#endif
  if (data == MAP_FAILED) data = map(fd, capacity);
  if (data == MAP_FAILED) return {.code = Code::system, .error = errno, .what = "mmap"};
  auto owner = new (std::nothrow) Mapping(static_cast<const uint8_t*>(data), capacity);
  if (owner == nullptr) {
    ::munmap(data, capacity);
    return {.code = Code::system, .error = ENOMEM, .what = "mmap"};
  }
  mapping->reset(owner);
  return {};
}

Mapping::~Mapping() { ::munmap(const_cast<uint8_t*>(data_), capacity_); }

void Mapping::populate(uint64_t begin, uint64_t end) {
  begin = begin / kPage * kPage;
  end = std::min((end + kPage - 1) / kPage * kPage, capacity_);
  if (begin >= end) return;
  (void)::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_POPULATE_READ);
  populated_.store(end, std::memory_order_relaxed);
}

void Mapping::will_need(uint64_t begin, uint64_t end) const {
  begin = begin / kPage * kPage;
  end = std::min((end + kPage - 1) / kPage * kPage, capacity_);
  if (begin < end) (void)::madvise(const_cast<uint8_t*>(data_) + begin, end - begin, MADV_WILLNEED);
}

}  // namespace mmap_ninja
