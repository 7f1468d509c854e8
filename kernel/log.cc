#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "io.h"

namespace mmap_ninja {
namespace {

// The open logs, which a forked child must let go of: it would keep the parent's lock alive after the parent.
std::vector<Log*> open_logs;
const int fork_handled = ::pthread_atfork(nullptr, nullptr, [] {
  for (std::vector<Log*> logs = std::move(open_logs); Log* log : logs) log->abandon();
});

Status status_of(int fd, struct stat* info) {
  if (::fstat(fd, info) != 0) return {.code = Code::system, .error = errno, .what = "fstat"};
  return {};
}

Status file_size(int fd, uint64_t* size) {
  struct stat info;
  if (Status status = status_of(fd, &info); !status.ok()) return status;
  *size = static_cast<uint64_t>(info.st_size);
  return {};
}

// Asks for no times: a file whose times were asked for updates them at its next write, which costs a
// microsecond.
Status links_and_size(int fd, uint64_t* links, uint64_t* size) {
#if defined(__linux__)
  struct statx info;
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_NLINK | STATX_SIZE, &info) != 0)
    return {.code = Code::system, .error = errno, .what = "statx"};
  *links = info.stx_nlink;
  *size = info.stx_size;
#else
  struct stat info;
  if (Status status = status_of(fd, &info); !status.ok()) return status;
  *links = static_cast<uint64_t>(info.st_nlink);
  *size = static_cast<uint64_t>(info.st_size);
#endif
  return {};
}

// The largest extent that a file may have: offsets into it, and off_t, are signed 64-bit elsewhere.
bool grow(uint64_t* extent, uint64_t size) {
  return !__builtin_add_overflow(*extent, size, extent) && *extent <= INT64_MAX;
}

Status too_large() { return {.code = Code::overflow, .what = "dataset"}; }

}  // namespace

void Log::abandon() {
  abandoned_ = true;
  close();
}

void Log::close() {
  std::erase(open_logs, this);
  for (const FileRule& rule : rules_) ::close(rule.fd);
  rules_.clear();
  commits_.reset();  // a map keeps its file open, and with it the file's lock
  // Closed, never unlocked: after a fork the lock is shared with the parent, who may hold it.
  for (int* fd : {&commit_fd_, &lock_fd_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

Status Log::open(std::vector<FileRule> rules, int commit_fd, int lock_fd, const Slot& state,
                 uint64_t next_seq, bool sync_often) {
  rules_ = std::move(rules);
  commit_fd_ = commit_fd;
  lock_fd_ = lock_fd;
  owner_ = ::getpid();
  open_logs.push_back(this);
  sync_often_ = sync_often;
  next_seq_ = next_seq;
  Status status = start(state);
  if (!status.ok()) close();
  return status;
}

Status Log::start(const Slot& state) {
  io::boot_id(boot_.data());
  struct stat info;
  if (Status status = status_of(commit_fd_, &info); !status.ok()) return status;
  if (static_cast<uint64_t>(info.st_size) < CommitFile::kSize)
    return {.code = Code::short_file,
            .what = "COMMIT",
            .found = static_cast<uint64_t>(info.st_size),
            .expected = CommitFile::kSize};
  if (Status status = Mapping::open(commit_fd_, CommitFile::kSize, Access::map, "COMMIT", &commits_);
      !status.ok())
    return status;
  device_ = static_cast<uint64_t>(info.st_dev);
  inode_ = static_cast<uint64_t>(info.st_ino);
  return load(state);
}

Status Log::commit(const CommitRequest& request) {
  if (abandoned_) return {.code = Code::forked, .expected = static_cast<uint64_t>(owner_)};
  if (poisoned_) return {.code = Code::suspect};
  if (commit_fd_ < 0) return {.code = Code::closed};
  if (Status status = lock(request.lock_seconds); !status.ok()) return status;
  Status status = adopt();
  if (status.ok()) status = append(request);
  // Its error is no news of the commit, which the caller would make again.
  if (lock_fd_ >= 0) (void)io::unlock(lock_fd_);
  return status;
}

Status Log::lock(double seconds) {
  if (lock_fd_ < 0) return {};
  double waited = 0, pause = 50e-6;
  for (;;) {
    bool taken = false;
    if (Status status = io::try_lock(lock_fd_, &taken); !status.ok()) return status;
    if (taken) return {};
    if (waited >= seconds) return {.code = Code::timed_out};
    timespec nap{0, static_cast<long>(pause * 1e9)};
    ::nanosleep(&nap, nullptr);
    waited += pause;
    pause = std::min(pause * 1.5, 5e-3);
  }
}

// Under the lock: make the newest commit, whoever made it, the state that this log appends to.
Status Log::adopt() {
  // A LOCK or COMMIT that lost its name, as when the directory was deleted or rsync put a copy in its place:
  // nobody would see the commit.
  for (int fd : {lock_fd_, commit_fd_}) {
    if (fd < 0) continue;
    uint64_t links, size;
    if (Status status = links_and_size(fd, &links, &size); !status.ok()) return status;
    if (links == 0) return {.code = Code::deleted};
    if (fd == commit_fd_ && size < CommitFile::kSize)
      return {.code = Code::short_file, .what = "COMMIT", .found = size, .expected = CommitFile::kSize};
  }
  // Under the lock nobody writes the slots, so the map cannot show one torn; it saves a pread of all four.
  const uint8_t* bytes = commits_->data();
  bool changed = false;
  for (size_t k = 0; k < seen_.size(); ++k)
    changed |= memcmp(seen_[k].data(), bytes + k * CommitFile::kStride, Slot::kSize) != 0;
  if (!changed) return {};

  Slot newest{};
  bool found = false;
  std::array<SlotBytes, CommitFile::kSlots> seen;
  std::array<uint64_t, CommitFile::kSlots> seqs{};
  for (size_t k = 0; k < seen.size(); ++k) {
    memcpy(seen[k].data(), bytes + k * CommitFile::kStride, Slot::kSize);
    Slot slot;
    uint16_t version;
    SlotState decoded = decode_slot(seen[k], &slot, &version);
    if (decoded == SlotState::newer) return {.code = Code::moved};
    if (decoded != SlotState::valid) continue;
    if (slot.flags & kSuspect) return {.code = Code::suspect};
    if (slot.seq > INT64_MAX) return {.code = Code::moved};  // it is refused when it is read again
    seqs[k] = slot.seq;
    if (!found || slot.seq > newest.seq || (slot.seq == newest.seq && slot.durable)) newest = slot;
    found = true;
  }
  if (!found || newest.seq < state_.seq) return {.code = Code::moved};
  if (newest.generation != state_.generation || newest.uuid != state_.uuid ||
      newest.features != state_.features)
    return {.code = Code::moved};
  bool same_machine =
      newest.boot == boot_ && newest.boot != Id{} && newest.device == device_ && newest.inode == inode_;
  bool known = newest.seq == state_.seq;
  if (!newest.durable && !same_machine && !known) return {.code = Code::moved};
  if (!known) {
    if (Status status = load(newest); !status.ok()) return status;
  }
  seen_ = seen;
  seqs_ = seqs;
  next_seq_ = std::max(next_seq_, newest.seq + 1);
  return {};
}

Status Log::committed_extent(size_t file, uint64_t rows, uint64_t edits, uint64_t* extent) const {
  const FileRule& rule = rules_[file];
  uint64_t units = rows;
  if (rule.extent == Extent::edits) units = edits;
  if (rule.extent == Extent::offsets && __builtin_add_overflow(units, 1, &units)) return too_large();
  if (rule.extent == Extent::payload) {
    int fd = rules_[rule.offsets].fd;
    if (rows > INT64_MAX / 8) return too_large();
    if (Status status = io::read_at(fd, &units, sizeof units, rows * 8); !status.ok()) {
      if (status.code == Code::short_file) status.what = "offsets";
      return status;
    }
  }
  if (__builtin_mul_overflow(units, rule.unit, extent) || *extent > INT64_MAX) return too_large();
  uint64_t size;
  if (Status status = file_size(rule.fd, &size); !status.ok()) return status;
  if (size < *extent)
    return {.code = Code::short_file, .what = extent_name(rule.extent), .found = size, .expected = *extent};
  return {};
}

Status Log::load(const Slot& slot) {
  // More durable than committed: the commits on top of it would come to be taken for durable ones.
  if (slot.durable_rows > slot.rows || slot.durable_edits > slot.edits) return {.code = Code::bad_digest};
  std::vector<Tail> tails;
  std::vector<uint64_t> durable_extents;
  uint64_t partial_sums = 0, durable_blocks = 0;
  for (size_t k = 0; k < rules_.size(); ++k) {
    uint64_t extent = 0, durable = 0;
    if (rules_[k].extent != Extent::sums) {
      Status status = committed_extent(k, slot.rows, slot.edits, &extent);
      if (status.ok()) status = committed_extent(k, slot.durable_rows, slot.durable_edits, &durable);
      if (!status.ok()) return status;
      if (durable > extent) return {.code = Code::bad_digest};
    }
    tails.emplace_back(rules_[k].id, extent);
    durable_extents.push_back(durable);
    if (rules_[k].sealed) durable_blocks += durable / kBlock;
    if (rules_[k].extent == Extent::sums) durable_extents.back() = durable_blocks * sizeof(BlockSum);
    Status status = Tail::read(rules_[k].id, rules_[k].fd, extent, rules_[k].sealed, &tails[k]);
    if (!status.ok()) return status;
    partial_sums += tails[k].digest();
  }
  tails_ = std::move(tails);
  durable_extents_ = std::move(durable_extents);
  full_sums_ = slot.digest - partial_sums;
  bool all_durable = slot.durable_rows == slot.rows && slot.durable_edits == slot.edits;
  // Damage at the end of a file must not get into the sum of the block that the next append completes.
  if (all_durable && full_sums_ != 0) return {.code = Code::bad_digest};
  state_ = slot;
  flags_durable_ = slot.durable;
  commit_synced_ = false;
  return {};
}

Status Log::append(const CommitRequest& request) {
  if (request.expected_rows != UINT64_MAX && request.expected_rows != state_.rows)
    return {.code = Code::conflict, .found = state_.rows, .expected = request.expected_rows};
  if (request.expected_edits != UINT64_MAX && request.expected_edits != state_.edits)
    return {.code = Code::edited, .found = state_.edits, .expected = request.expected_edits};
  Slot next = state_;
  next.flags |= request.set_flags;
  bool unchanged = request.rows == 0 && request.edits == 0 && next.flags == state_.flags;
  bool all_durable =
      state_.durable_rows == state_.rows && state_.durable_edits == state_.edits && flags_durable_;
  if (unchanged && (!request.durable || all_durable)) return {};
  if (!grow(&next.rows, request.rows) || !grow(&next.edits, request.edits)) return too_large();

  std::vector<Tail> tails = tails_;
  std::vector<BlockSum> sums;

  Status status;
  for (size_t k = 0; k < rules_.size(); ++k) {
    Part part = k < request.parts.size() ? request.parts[k] : Part{nullptr, 0};
    if (rules_[k].extent == Extent::sums) part = {sums.data(), sums.size() * sizeof(BlockSum)};
    if (rules_[k].extent == Extent::offsets && part.size != request.rows * sizeof(uint64_t))
      return {.code = Code::bad_batch, .what = "offsets"};
    uint64_t fixed = 0;
    if (rules_[k].extent == Extent::rows &&
        (__builtin_mul_overflow(request.rows, rules_[k].unit, &fixed) || part.size != fixed))
      return {.code = Code::bad_batch, .what = "rows"};
    if (rules_[k].extent == Extent::edits &&
        (__builtin_mul_overflow(request.edits, sizeof(Edit), &fixed) || part.size != fixed))
      return {.code = Code::bad_batch, .what = "edits"};
    if (part.size == 0) continue;
    if (rules_[k].extent == Extent::edits) {
      shifted_edits_.resize(request.edits);
      memcpy(shifted_edits_.data(), part.data, part.size);
      for (Edit& edit : shifted_edits_)
        if (edit.op == kReplace) edit.new_row += state_.rows;
      part.data = shifted_edits_.data();
    }
    if (rules_[k].extent == Extent::offsets) {
      shifted_.resize(part.size / sizeof(uint64_t));
      memcpy(shifted_.data(), part.data, shifted_.size() * sizeof(uint64_t));
      uint64_t base = last_offset(k);
      for (uint64_t& end : shifted_) end += base;
      part.data = shifted_.data();
    }
    uint64_t at = extent(k);
    if (uint64_t end = at; !grow(&end, part.size)) status = too_large();
    if (status.ok()) status = io::write_at(rules_[k].fd, part.data, part.size, at);
    if (!status.ok()) break;
    if (sync_often_ && part.size >= kBlock) io::start_writeback(rules_[k].fd, at, part.size);
    if (rules_[k].extent != Extent::sums) tails[k].append(part.data, part.size, &sums);
  }
  if (!status.ok()) {
    give_back_space();
    return status;
  }

  std::swap(tails, tails_);
  uint64_t full_sums = full_sums_;
  for (const BlockSum& sum : sums) full_sums_ += sum.sum;
  bool durable = request.durable || (sync_often_ && undurable_bytes() >= kDurableEvery);
  status = publish(next, durable);
  if (!status.ok()) {
    std::swap(tails, tails_);
    full_sums_ = full_sums;
    // A durable slot may have been written all the same: the next commit must look at the file.
    for (SlotBytes& bytes : seen_) bytes.fill(0);
  }
  return status;
}

// Makes the appended bytes a commit. Data before slots: a slot never speaks of bytes that are not there.
Status Log::publish(Slot next, bool durable) {
  next.seq = next_seq_;
  next.boot = boot_;
  next.device = device_;
  next.inode = inode_;
  uint64_t partial_sums = 0;
  for (const Tail& tail : tails_) partial_sums += tail.digest();
  if (durable) {
    next.durable_rows = next.rows;
    next.durable_edits = next.edits;
    next.digest = partial_sums;
    next.durable = true;
    for (size_t k = 0; k < rules_.size(); ++k) {
      if (extent(k) == durable_extents_[k]) continue;
      if (Status status = io::sync_data(rules_[k].fd); !status.ok()) return poison(status, next);
    }
    // The other durable slot may be a dead writer's, not yet on the medium: then this one is not overwritten.
    if (!commit_synced_) {
      if (Status status = io::sync_data(commit_fd_); !status.ok()) return poison(status, next);
    }
    if (Status status = write_slot(seqs_[2] <= seqs_[3] ? 2 : 3, next); !status.ok()) return status;
    if (Status status = io::sync_data(commit_fd_); !status.ok()) return poison(status, next);
    commit_synced_ = true;
    full_sums_ = 0;
    for (size_t k = 0; k < tails_.size(); ++k) durable_extents_[k] = extent(k);
  }
  next.durable = false;
  next.digest = full_sums_ + partial_sums;
  Status status = write_slot(seqs_[0] <= seqs_[1] ? 0 : 1, next);
  // A durable slot has published the commit already: an error now would make the caller append it twice.
  if (!status.ok() && !durable) return status;
  flags_durable_ = durable || (flags_durable_ && next.flags == state_.flags);
  state_ = next;
  ++next_seq_;
  return {};
}

// The system may have dropped the pages that it failed to write, and reports that only once: neither this log
// nor another may build on them. Publishes the last commit again, marked, and returns what the caller is
// told.
Status Log::poison(Status status, const Slot& failed) {
  poisoned_ = true;
  Slot suspect = failed;
  suspect.seq = failed.seq + 1;
  suspect.flags = state_.flags | kSuspect;
  suspect.rows = state_.rows;
  suspect.edits = state_.edits;
  suspect.durable_rows = state_.durable_rows;
  suspect.durable_edits = state_.durable_edits;
  suspect.digest = state_.digest;
  suspect.durable = false;
  (void)write_slot(seqs_[0] <= seqs_[1] ? 0 : 1, suspect);
  status.code = Code::uncertain;
  return status;
}

Status Log::write_slot(int index, const Slot& slot) {
  auto at = static_cast<size_t>(index);
  SlotBytes bytes = encode_slot(slot);
  Status status = io::write_at(commit_fd_, bytes.data(), bytes.size(), at * CommitFile::kStride);
  if (!status.ok()) return status;
  seen_[at] = bytes;
  seqs_[at] = slot.seq;
  return {};
}

uint64_t Log::last_offset(size_t file) const {
  for (size_t k = 0; k < rules_.size(); ++k)
    if (rules_[k].extent == Extent::payload && rules_[k].offsets == file)
      return tails_[k].extent() / rules_[k].unit;
  return 0;
}

// After a failed append: bytes past the committed end are nobody's, and a full disk needs them back.
void Log::give_back_space() {
  for (size_t k = 0; k < rules_.size(); ++k) {
    uint64_t size;
    if (file_size(rules_[k].fd, &size).ok() && size > extent(k)) (void)io::truncate(rules_[k].fd, extent(k));
  }
}

uint64_t Log::sums_extent() const {
  uint64_t blocks = 0;
  for (const Tail& tail : tails_) blocks += tail.blocks();
  return blocks * sizeof(BlockSum);
}

uint64_t Log::undurable_bytes() const {
  uint64_t bytes = 0;
  for (size_t k = 0; k < tails_.size(); ++k) bytes += extent(k) - durable_extents_[k];
  return bytes;
}

const char* extent_name(Extent extent) {
  switch (extent) {
    case Extent::rows:
      return "rows";
    case Extent::offsets:
      return "offsets";
    case Extent::payload:
      return "data";
    case Extent::edits:
      return "edits";
    case Extent::sums:
      return "sums";
  }
  return "";
}

}  // namespace mmap_ninja
