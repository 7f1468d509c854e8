#include "pages.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "io.h"
#include "mapping.h"

namespace mmap_ninja {
namespace {

constexpr uint64_t kNumber = sizeof(uint64_t);
constexpr uint64_t kMostAhead = uint64_t{256} << 20;  // bytes
// Reading so many bytes takes as long as another request: 1.1 GB/s and 55,000 requests per second, measured.
constexpr uint64_t kNear = uint64_t{16} << 10;

// A descriptor for a moment.
class Opened {
 public:
  explicit Opened(const File& file) {
    if (!file.borrow(&fd_, &opened_).ok()) fd_ = -1;
  }

  // From now on, the system reads nothing but what it is asked for.
  void read_no_further() {
#if defined(__linux__)
    if (fd_ >= 0 && !opened_) {  // that would be for all who have the descriptor, too
      int fd = ::open(("/proc/self/fd/" + std::to_string(fd_)).c_str(), O_RDONLY | O_CLOEXEC);
      if (fd < 0) return;
      opened_ = std::make_shared<File>(fd);
      fd_ = fd;
    }
    (void)::posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
#endif
  }

  // How much of a range is in memory, by whole pages; false if the system does not say.
  bool count(uint64_t begin, uint64_t end, uint64_t* cached) {
#if defined(__linux__)
    // https://docs.kernel.org/admin-guide/mm/index.html: Linux 6.5, for files of this user, or that it may
    // write. 0.6 us for a page, and 0.3 ms for 2.6 GB.
    constexpr long kCachestat = 451;
    uint64_t range[2] = {begin, end - begin}, found[5];
    if (!is_counting_ || ::syscall(kCachestat, fd_, range, found, 0) != 0) return is_counting_ = false;
    // An overlay has no pages itself: they are those of the file below.
    if (found[0] == 0 && io::is_overlay(fd_)) return is_counting_ = false;
    uint64_t page = Mapping::page_size();
    uint64_t first = Mapping::page_start(begin), past = Mapping::page_start(end + page - 1);
    *cached = std::min(found[0] * page, past - first) * (end - begin) / (past - first);
    return true;
#else
    (void)begin, (void)end, (void)cached;
    return is_counting_ = false;
#endif
  }
  bool is_counting() const { return is_counting_; }

  // Whether a byte is in memory. If not, this may start to read its page.
  bool has(uint64_t byte) {
    uint64_t cached;
    if (fd_ < 0) return true;
    if (count(byte, byte + 1, &cached)) return cached != 0;
#if defined(__linux__)
    // Works for all files that can be read. 2 to 6 us, or 13 to 27 if the byte is not there.
    uint8_t found;
    iovec into{&found, 1};
    return ::preadv2(fd_, &into, 1, static_cast<off_t>(byte), RWF_NOWAIT) >= 0 || errno != EAGAIN;
#else
    return true;
#endif
  }

  void ask_for(uint64_t begin, uint64_t end) const {
    if (fd_ < 0) return;
#if defined(__APPLE__)
    radvisory asked{static_cast<off_t>(begin), static_cast<int>(std::min<uint64_t>(end - begin, INT32_MAX))};
    (void)::fcntl(fd_, F_RDADVISE, &asked);
#else
    (void)::posix_fadvise(fd_, static_cast<off_t>(begin), static_cast<off_t>(end - begin),
                          POSIX_FADV_WILLNEED);
#endif
  }

  bool read(uint64_t begin, uint64_t size, void* out) const {
    return fd_ >= 0 && io::read_at(fd_, out, size, begin).ok();
  }

  // Reads a range for nobody, as long as `goes_on` returns true.
  template <typename GoesOn>
  void read_through(uint64_t begin, uint64_t end, GoesOn goes_on) const {
    constexpr uint64_t kBlock = uint64_t{1} << 20;
    std::vector<uint8_t> block(begin < end ? std::min(kBlock, end - begin) : 0);
    for (uint64_t size; begin < end && goes_on(); begin += size) {
      size = std::min<uint64_t>(block.size(), end - begin);
      if (!read(begin, size, block.data())) return;
    }
  }

 private:
  int fd_ = -1;
  std::shared_ptr<File> opened_;
  bool is_counting_ = true;
};

}  // namespace

std::vector<uint64_t> some_of(const uint64_t* rows, uint64_t count, uint64_t most) {
  std::vector<uint64_t> some(std::min(count, most));
  for (uint64_t k = 0; k < some.size(); ++k) some[k] = rows[k * count / some.size()];
  return some;
}

RowFiles::RowFiles(const Spans& spans) : payload_{}, payload_size_(spans.payload_size()) {
  if (!spans.payload() || spans.payload()->is_memory()) return;
  const Index& index = spans.index();
  payload_ = {spans.payload()->file_apart(), 0, spans.step(), spans.unit()};
  if (!index.starts) return;
  bool is_shared = index.starts == index.ends;
  index_.push_back({index.starts->file_apart(), 0, kNumber, is_shared ? 2 * kNumber : kNumber});
  if (!is_shared) index_.push_back({index.ends->file_apart(), index.lead, kNumber, kNumber});
}

std::vector<RowFiles::Range> RowFiles::ranges_in(const Table& table, const uint64_t* rows, uint64_t count) {
  std::vector<Range> ranges(count);
  for (uint64_t k = 0; k < count; ++k) ranges[k] = table.range(rows[k]);
  return ranges;
}

std::vector<RowFiles::Range> RowFiles::ranges(const uint64_t* rows, uint64_t count) const {
  if (index_.empty()) return payload_.size ? ranges_in(payload_, rows, count) : std::vector<Range>{};
  constexpr uint64_t kAtOnce = 4096;
  std::vector<Range> ranges;
  ranges.reserve(count);
  Opened starts(*index_[0].file), others(*index_.back().file);
  bool is_shared = index_.size() == 1;
  std::vector<uint64_t> numbers;
  uint64_t units = payload_size_ / payload_.size;
  for (uint64_t k = 0, run; k < count; k += run) {
    for (run = 1; run < kAtOnce && k + run < count && rows[k + run] == rows[k] + run;) ++run;
    numbers.resize(2 * run);
    uint64_t* ends = numbers.data() + (is_shared ? 1 : run);
    uint64_t size = (run + is_shared) * kNumber;
    if (!starts.read(index_[0].range(rows[k]).begin, size, numbers.data())) continue;
    if (!is_shared && !others.read(index_[1].range(rows[k]).begin, run * kNumber, ends)) continue;
    for (uint64_t j = 0; j < run; ++j)
      if (numbers[j] <= ends[j] && ends[j] <= units)
        ranges.push_back({numbers[j] * payload_.size, ends[j] * payload_.size});
  }
  return ranges;
}

void RowFiles::merge(std::vector<Range>* ranges) {
  std::sort(ranges->begin(), ranges->end(), [](Range a, Range b) { return a.begin < b.begin; });
  size_t kept = 0;
  for (Range range : *ranges) {
    if (range.begin == range.end) continue;
    if (kept && range.begin <= (*ranges)[kept - 1].end + kNear)
      (*ranges)[kept - 1].end = std::max((*ranges)[kept - 1].end, range.end);
    else
      (*ranges)[kept++] = range;
  }
  ranges->resize(kept);
}

bool RowFiles::are_cold(const uint64_t* rows, uint64_t count) const {
  constexpr uint64_t kMost = 8;
  std::vector<uint64_t> few = some_of(rows, count, kMost);
  bool found = false;
  visit(few.data(), few.size(),
        [&](const File& file, const std::vector<Range>& ranges) { found = found || are_cold(file, ranges); });
  return found;
}

bool RowFiles::are_cold(const File& file, const std::vector<Range>& few) {
  constexpr size_t kFew = 2;  // if asking takes long
  Opened opened(file);
  for (size_t k = 0; k < few.size(); ++k) {
    if (k >= kFew && !opened.is_counting()) break;
    if (few[k].begin == few[k].end) continue;
    if (!opened.has(k % 2 ? few[k].end - 1 : few[k].begin)) return true;
  }
  return false;
}

void RowFiles::ask_for(const uint64_t* rows, uint64_t count) const {
  visit(rows, count, [&](const File& file, std::vector<Range> ranges) {
    // The pages around those of an index are soon needed, too, since each has hundreds of rows.
    for (Range& range : ranges) {
      if (&file == payload_.file.get()) break;
      range = {range.begin / kNear * kNear, (range.end + kNear - 1) / kNear * kNear};
    }
    ask_for(file, std::move(ranges));
  });
}

void RowFiles::ask_for(const File& file, std::vector<Range> ranges) {
  uint64_t size = 0;
  for (size_t k = 0; k < ranges.size(); ++k) {
    size += ranges[k].end - ranges[k].begin + Mapping::page_size();
    if (size <= kMostAhead) continue;
    ranges.resize(k + 1);
    ranges[k].end -= std::min(size - kMostAhead, ranges[k].end - ranges[k].begin);
  }
  merge(&ranges);
  Opened opened(file);
  for (Range range : ranges) opened.ask_for(range.begin, range.end);
}

void RowFiles::read_in(const uint64_t* rows, uint64_t count) const {
  visit(rows, count, [](const File& file, const std::vector<Range>& ranges) { read_in(file, ranges); });
}

void RowFiles::read_in(const File& file, std::vector<Range> ranges) {
  ask_for(file, ranges);
  merge(&ranges);
  Opened opened(file);
  opened.read_no_further();
  for (Range range : ranges) opened.read_through(range.begin, range.end, [] { return true; });
}

void RowFiles::stream(uint64_t first, uint64_t last, const std::atomic<bool>& is_stopped) const {
  const uint64_t bounds[] = {first, last};
  visit(bounds, 2, [&](const File& file, const std::vector<Range>& ranges) {
    if (!ranges.empty())
      Opened(file).read_through(ranges.front().begin, ranges.back().end, [&] { return !is_stopped; });
  });
}

Residency RowFiles::residency(const uint64_t* rows, uint64_t count) const {
  Residency all;
  visit(rows, count, [&](const File& file, const std::vector<Range>& ranges) {
    all += residency(file, ranges);
    if (&file != payload_.file.get()) ask_for(file, ranges);  // it is read next
  });
  return all;
}

Residency RowFiles::residency(const File& file, const std::vector<Range>& ranges) {
  Opened opened(file);
  Residency all;
  for (size_t k = 0; k < ranges.size(); ++k) {
    Range range = ranges[k];
    uint64_t size = range.end - range.begin;
    if (size == 0) continue;
    all.bytes += static_cast<double>(size);
    // Not the same part of each one.
    if (opened.has(range.begin + size * k / ranges.size())) all.cached += static_cast<double>(size);
  }
  return all;
}

Residency RowFiles::residency_between(uint64_t first, uint64_t last) const {
  const uint64_t bounds[] = {first, last};
  Residency all;
  visit(bounds, 2, [&](const File& file, const std::vector<Range>& ranges) {
    if (ranges.empty() || ranges.back().end <= ranges.front().begin) return;
    all += residency(file, Range{ranges.front().begin, ranges.back().end});
  });
  return all;
}

Residency RowFiles::residency(const File& file, Range range) {
  constexpr uint64_t kMost = 1024;  // places
  constexpr uint64_t kPlace = uint64_t{256} << 10;
  uint64_t size = range.end - range.begin, cached;
  Opened opened(file);
  uint64_t places = std::min(kMost, (size - 1) / kPlace + 1);
  Residency all;
  for (uint64_t k = 0; k < places; ++k) {
    uint64_t begin = range.begin + size * k / places;
    uint64_t end = std::min(range.begin + size * (k + 1) / places, begin + kPlace);
    if (!opened.count(begin, end, &cached)) cached = opened.has(begin) ? end - begin : 0;
    all += {static_cast<double>(end - begin), static_cast<double>(cached)};
  }
  return all * (static_cast<double>(size) / all.bytes);
}

}  // namespace mmap_ninja
