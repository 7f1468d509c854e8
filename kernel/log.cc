#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "file.h"
#include "io.h"

namespace mmap_ninja {
namespace {

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

// Files may have up to INT64_MAX bytes: offsets (off_t, NumPy) are signed 64-bit numbers.
bool grow(uint64_t* extent, uint64_t size) {
  return !__builtin_add_overflow(*extent, size, extent) && *extent <= INT64_MAX;
}

bool is_at(const char* path, uint64_t device, uint64_t inode) {
  io::Place place;
  uint64_t size;
  return io::look_at(path, &place, &size).ok() && place.device == device && place.inode == inode;
}

Status too_large() { return {.code = Code::overflow, .what = "dataset"}; }

}  // namespace

void Log::abandon() {
  abandoned_ = true;
  close();
}

void Log::close() {
  leave();
  rules_.clear();
  commits_.reset();  // a map keeps its file open, and thus its lock
  // Closed, but not unlocked: after a fork the lock is shared with the parent, which may hold it.
  for (int* fd : {&commit_fd_, &lock_fd_, &meta_fd_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

Status Log::open(std::vector<FileRule> rules, int commit_fd, int lock_fd, int meta_fd, LogPaths paths,
                 const Slot& state, uint64_t next_seq, bool sync_often, bool builds) {
  rules_ = std::move(rules);
  commit_fd_ = commit_fd;
  lock_fd_ = lock_fd;
  meta_fd_ = meta_fd;
  paths_ = std::move(paths);
  process_ = process_id();
  enroll();
  sync_often_ = sync_often;
  builds_ = builds;
  next_seq_ = next_seq;
  Status status = start(state);
  if (!status.ok()) close();
  return status;
}

Status Log::start(const Slot& state) {
  struct stat info;
  if (Status status = status_of(commit_fd_, &info); !status.ok()) return status;
  if (static_cast<uint64_t>(info.st_size) < CommitFile::kSize)
    return {.code = Code::short_file,
            .what = "COMMIT",
            .found = static_cast<uint64_t>(info.st_size),
            .expected = CommitFile::kSize};
  auto file = std::make_shared<File>(commit_fd_);
  Status mapped = Mapping::open(file, CommitFile::kSize, Access::map, "COMMIT", &commits_);
  (void)file->release();  // the map needs no descriptor of its own
  if (!mapped.ok()) return mapped;
  if (Status status = commit_file_.open(commit_fd_, paths_.directory); !status.ok()) return status;
  if (lock_fd_ >= 0) {
    if (Status status = status_of(lock_fd_, &info); !status.ok()) return status;
    lock_place_ = {static_cast<uint64_t>(info.st_dev), static_cast<uint64_t>(info.st_ino), 0, 0};
  }
  return load(state);
}

Status Log::commit(const CommitRequest& request) {
  if (abandoned_) return {.code = Code::forked, .expected = process_};
  if (commit_fd_ < 0) return {.code = Code::closed};
  if (Status status = lock(request.lock_seconds); !status.ok()) return status;
  Status status = check_place(request.anywhere);
  if (request.anywhere) commit_file_.lose_directory();
  if (status.ok()) status = adopt();
  // Last: that the dataset was replaced is reported before this.
  if (status.ok() && poisoned_) status = {.code = Code::suspect};
  if (status.ok()) status = check_builder(request);
  if (status.ok() && request.base) status = check_base(*request.base);
  if (status.ok()) status = append(request);
  // Its error is ignored: the commit is made, and the caller would repeat it.
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

// Called under the lock: whether the locked and written files are those at the path. They are not if the
// directory was deleted or renamed, or rsync replaced files: nobody would see the commit.
Status Log::check_place(bool anywhere) const {
  struct Known {
    int fd;
    const std::string& path;
    uint64_t device, inode;
  };
  const Known all[] = {{lock_fd_, paths_.lock, lock_place_.device, lock_place_.inode},
                       {commit_fd_, paths_.commit, commit_file_.device(), commit_file_.inode()}};
  for (const Known& known : all) {
    if (known.fd < 0) continue;
    io::Place place;
    uint64_t size = 0, links = 0;
    bool asked = !anywhere && !known.path.empty();
    Status found = asked ? io::look_at(known.path.c_str(), &place, &size) : Status{};
    bool missing = !found.ok() && (found.error == ENOENT || found.error == ENOTDIR);
    if (missing || (asked && found.ok() && (place.device != known.device || place.inode != known.inode)))
      return {.code = Code::deleted};
    if (!asked || !found.ok()) {  // this process may no longer look there
      if (Status status = io::look_at(known.fd, &links, &size); !status.ok()) return status;
      if (links == 0) return {.code = Code::deleted};
    }
    if (known.fd == commit_fd_ && size < CommitFile::kSize)
      return {.code = Code::short_file, .what = "COMMIT", .found = size, .expected = CommitFile::kSize};
  }
  return {};
}

// Called under the lock: nobody else may change what a first build has made so far. The builder holds the
// lock of the commit file from the start until the flag `complete` is set, or until it ends otherwise.
Status Log::check_builder(const CommitRequest& request) const {
  bool changes = request.rows != 0 || request.edits != 0 || request.set_flags != 0;
  if (!changes || (state_.flags & kComplete) || builds_ || lock_fd_ < 0) return {};
  bool taken = false;
  if (Status status = io::try_lock(commit_fd_, &taken); !status.ok()) return status;
  return taken ? io::unlock(commit_fd_) : Status{.code = Code::building};
}

// Called under the lock: makes the newest commit, also of another writer, the state that this log appends to.
Status Log::adopt() {
  // Nobody writes slots while the lock is held, so the map cannot show a torn one; it saves a pread of all
  // four.
  const uint8_t* bytes = commits_->data();
  if (!commit_file_.has_changed(bytes)) return {};
  Slot newest{};
  bool found = false;
  for (uint64_t k = 0; k < CommitFile::kSlots; ++k) {
    SlotBytes raw;
    memcpy(raw.data(), bytes + k * CommitFile::kStride, Slot::kSize);
    Slot slot;
    uint16_t version;
    SlotState decoded = decode_slot(raw, &slot, &version);
    if (decoded == SlotState::newer) return {.code = Code::moved};
    if (decoded != SlotState::valid) continue;
    if (slot.flags & kSuspect) return {.code = Code::suspect};
    if (slot.seq > INT64_MAX) return {.code = Code::moved};  // reading it again reports the error
    if (!found || slot.seq > newest.seq || (slot.seq == newest.seq && slot.durable)) newest = slot;
    found = true;
  }
  if (!found || newest.seq < state_.seq) return {.code = Code::moved};
  if (newest.generation != state_.generation || newest.uuid != state_.uuid ||
      newest.features != state_.features)
    return {.code = Code::moved};
  // Mounts may differ: the open commit file keeps its filesystem mounted somewhere, and thus its cache.
  Slot here{};
  commit_file_.sign(&here);
  bool same_machine = newest.boot == here.boot && newest.boot != Id{} && newest.device == here.device &&
                      newest.inode == here.inode;
  bool known = newest.seq == state_.seq;
  if (known && !is_state(newest)) return {.code = Code::moved};  // a backup was restored in place
  if (!newest.durable && !same_machine && !known) return {.code = Code::moved};
  if (!known) {
    if (Status status = load(newest); !status.ok()) return status;
  }
  commit_file_.see(bytes);
  next_seq_ = std::max(next_seq_, newest.seq + 1);
  return {};
}

// Whether a slot with the state's number is the state.
bool Log::is_state(const Slot& slot) const {
  return slot.rows == state_.rows && slot.edits == state_.edits && slot.flags == state_.flags &&
         slot.digest == state_.digest && (!(slot.carries & kSums) || slot.content == state_.content);
}

// Checks that the state continues a commit that a handle has seen.
Status Log::check_base(const Base& base) {
  if (base == Base{state_.rows, state_.edits, state_.content}) return {};
  if (base.rows > state_.rows || base.edits > state_.edits) return {.code = Code::moved};
  for (const SlotBytes& bytes : commit_file_.seen()) {
    Slot slot;
    uint16_t version;
    if (decode_slot(bytes, &slot, &version) == SlotState::valid && slot.generation == state_.generation &&
        slot.uuid == state_.uuid && (slot.carries & kSums) &&
        base == Base{slot.rows, slot.edits, slot.content})
      return {};
  }
  std::vector<uint64_t> extents;
  if (Status status = committed_extents(base.rows, base.edits, &extents); !status.ok()) return status;
  uint64_t partial_sums = 0, lines = 0, lines_since = 0;
  for (size_t k = 0; k < rules_.size(); ++k) {
    if (!rules_[k].sealed) continue;
    Tail tail(rules_[k].id, extents[k]);
    if (Status status = Tail::read(rules_[k].id, rules_[k].file->fd(), extents[k], true, &tail); !status.ok())
      return status;
    partial_sums += tail.digest();
    lines += tail.blocks();
  }
  if (Status status = sum_lines(lines, sums_extent() / sizeof(BlockSum), &lines_since); !status.ok())
    return status;
  if (full_content_ - lines_since + partial_sums != base.content) return {.code = Code::moved};
  return {};
}

// The total of a range of entries of the sums file.
Status Log::sum_lines(uint64_t from, uint64_t to, uint64_t* total) const {
  constexpr uint64_t kAtOnce = 4096;
  *total = 0;
  if (from > to) return {.code = Code::moved};
  int fd = -1;
  for (const FileRule& rule : rules_)
    if (rule.length == LengthRule::sums) fd = rule.file->fd();
  std::vector<BlockSum> lines(std::min(kAtOnce, to - from));
  while (from < to) {
    uint64_t count = std::min<uint64_t>(lines.size(), to - from);
    Status status = io::read_at(fd, lines.data(), count * sizeof(BlockSum), from * sizeof(BlockSum));
    if (status.code == Code::short_file) status.what = "sums";
    if (!status.ok()) return status;
    for (uint64_t k = 0; k < count; ++k) *total += lines[k].sum;
    from += count;
  }
  return {};
}

// The bytes of each file that belong to a commit; checks that they exist, except for the sums, which are read
// on demand.
Status Log::committed_extents(uint64_t rows, uint64_t edits, std::vector<uint64_t>* found) const {
  std::vector<uint64_t> ends(rules_.size());
  for (size_t k = 0; k < rules_.size(); ++k) {
    if (rules_[k].length != LengthRule::payload) continue;
    if (rows > INT64_MAX / sizeof ends[k]) return too_large();
    int fd = rules_[rules_[k].offsets].file->fd();
    if (Status status = io::read_at(fd, &ends[k], sizeof ends[k], rows * sizeof ends[k]); !status.ok()) {
      if (status.code == Code::short_file) status.what = "offsets";
      return status;
    }
  }
  if (Status status = extents(rules_, rows, edits, ends, found); !status.ok()) return status;
  for (size_t k = 0; k < rules_.size(); ++k) {
    if (rules_[k].length == LengthRule::sums) continue;
    uint64_t size;
    if (Status status = file_size(rules_[k].file->fd(), &size); !status.ok()) return status;
    if (size < (*found)[k])
      return {.code = Code::short_file,
              .what = name_of(rules_[k].length),
              .found = size,
              .expected = (*found)[k]};
  }
  return {};
}

Status Log::load(const Slot& slot) {
  // More durable than committed rows: later commits would be mistaken for durable ones.
  if (slot.durable_rows > slot.rows || slot.durable_edits > slot.edits) return {.code = Code::bad_digest};
  std::vector<uint64_t> extents, durable_extents;
  Status status = committed_extents(slot.rows, slot.edits, &extents);
  if (status.ok()) status = committed_extents(slot.durable_rows, slot.durable_edits, &durable_extents);
  if (!status.ok()) return status;
  std::vector<Tail> tails;
  uint64_t partial_sums = 0;
  for (size_t k = 0; k < rules_.size(); ++k) {
    if (durable_extents[k] > extents[k]) return {.code = Code::bad_digest};
    uint64_t extent = rules_[k].length == LengthRule::sums ? 0 : extents[k];  // its tail stays empty
    tails.emplace_back(rules_[k].id, extent);
    status = Tail::read(rules_[k].id, rules_[k].file->fd(), extent, rules_[k].sealed, &tails[k]);
    if (!status.ok()) return status;
    partial_sums += tails[k].digest();
  }
  tails_ = std::move(tails);
  durable_extents_ = std::move(durable_extents);
  full_sums_ = slot.digest - partial_sums;
  bool all_durable = slot.durable_rows == slot.rows && slot.durable_edits == slot.edits;
  // Damage at the end of a file must not become part of the sum of the block that the next append completes.
  if (all_durable && full_sums_ != 0) return {.code = Code::bad_digest};
  if (Status status = load_content(slot, partial_sums); !status.ok()) return status;
  state_ = slot;
  if (!(slot.carries & kSums)) state_.edits_end = edits_end();
  state_.content = full_content_ + partial_sums;
  state_.carries |= kSums;
  flags_durable_ = slot.durable;
  return {};
}

Status Log::load_content(const Slot& slot, uint64_t partial_sums) {
  if (!(slot.carries & kSums)) return sum_lines(0, sums_extent() / sizeof(BlockSum), &full_content_);
  full_content_ = slot.content - partial_sums;
  return {};
}

bool Log::commits_to(const char* path) const {
  return is_at(path, commit_file_.device(), commit_file_.inode());
}

bool Log::locks(const char* path) const {
  return lock_fd_ >= 0 && is_at(path, lock_place_.device, lock_place_.inode);
}

bool Log::is_durable() const {
  return state_.durable_rows == state_.rows && state_.durable_edits == state_.edits && flags_durable_;
}

Status Log::append(const CommitRequest& request) {
  if (request.expected_rows != UINT64_MAX && request.expected_rows != state_.rows)
    return {.code = Code::conflict, .found = state_.rows, .expected = request.expected_rows};
  if (request.expected_edits != UINT64_MAX && request.expected_edits != state_.edits)
    return {.code = Code::edited, .found = state_.edits, .expected = request.expected_edits};
  Slot next = state_;
  next.flags |= request.set_flags;
  bool unchanged = request.rows == 0 && request.edits == 0 && next.flags == state_.flags;
  if (unchanged && !request.durable) return {};
  if (unchanged && is_durable()) {
    // It may be from a process that died before it was on the disk: wait before acknowledging it.
    Status status = commit_file_.settle(descriptors());
    return status.code == Code::uncertain ? poison(status, next) : status;
  }
  if (!grow(&next.rows, request.rows) || !grow(&next.edits, request.edits)) return too_large();

  std::vector<Tail> tails = tails_;
  std::vector<BlockSum> sums;

  Status status;
  for (size_t k = 0; k < rules_.size(); ++k) {
    FilePart part = k < request.parts.size() ? request.parts[k] : FilePart{nullptr, 0};
    if (rules_[k].length == LengthRule::sums) part = {sums.data(), sums.size() * sizeof(BlockSum)};
    if (rules_[k].length == LengthRule::offsets && part.size != request.rows * sizeof(uint64_t))
      return {.code = Code::bad_batch, .what = "offsets"};
    uint64_t fixed = 0;
    if (rules_[k].length == LengthRule::rows &&
        (__builtin_mul_overflow(request.rows, rules_[k].unit, &fixed) || part.size != fixed))
      return {.code = Code::bad_batch, .what = "rows"};
    if (rules_[k].length == LengthRule::edits &&
        (__builtin_mul_overflow(request.edits, sizeof(Edit), &fixed) || part.size != fixed))
      return {.code = Code::bad_batch, .what = "edits"};
    if (part.size == 0) continue;
    if (rules_[k].length == LengthRule::edits) {
      shifted_edits_.resize(request.edits);
      memcpy(shifted_edits_.data(), part.data, part.size);
      for (Edit& edit : shifted_edits_)
        if (edit.op == kReplace) edit.new_row += state_.rows;
      part.data = shifted_edits_.data();
    }
    if (rules_[k].length == LengthRule::offsets) {
      shifted_.resize(part.size / sizeof(uint64_t));
      memcpy(shifted_.data(), part.data, shifted_.size() * sizeof(uint64_t));
      uint64_t base = last_offset(k);
      for (uint64_t& end : shifted_) end += base;
      part.data = shifted_.data();
    }
    uint64_t at = extent(k);
    if (uint64_t end = at; !grow(&end, part.size)) status = too_large();
    if (status.ok()) status = io::write_at(rules_[k].file->fd(), part.data, part.size, at);
    if (!status.ok()) break;
    if (sync_often_ && part.size >= kBlock) io::start_writeback(rules_[k].file->fd(), at, part.size);
    if (rules_[k].length != LengthRule::sums) tails[k].append(part.data, part.size, &sums);
  }
  if (!status.ok()) {
    give_back_space();
    return status;
  }

  std::swap(tails, tails_);
  uint64_t full_sums = full_sums_, full_content = full_content_;
  for (const BlockSum& sum : sums) {
    full_sums_ += sum.sum;
    full_content_ += sum.sum;
  }
  bool durable = request.durable || (sync_often_ && undurable_bytes() >= kDurableEvery);
  status = publish(next, durable);
  if (!status.ok()) {
    std::swap(tails, tails_);
    full_sums_ = full_sums;
    full_content_ = full_content;
    commit_file_.forget();  // a durable slot may have been written nevertheless
    if (status.code != Code::uncertain) give_back_space();
  }
  return status;
}

// Makes the appended bytes a commit. Data before slots: a slot never refers to missing bytes.
Status Log::publish(Slot next, bool durable) {
  next.seq = next_seq_;
  commit_file_.sign(&next);
  uint64_t partial_sums = 0;
  for (const Tail& tail : tails_) partial_sums += tail.digest();
  next.carries |= kSums;
  next.content = full_content_ + partial_sums;
  next.edits_end = edits_end();
  next.digest = full_sums_ + partial_sums;
  if (durable) {
    next.durable_rows = next.rows;
    next.durable_edits = next.edits;
    next.digest = partial_sums;
    Status status = publish_durable(next);
    if (status.code == Code::uncertain) return poison(status, next);
    if (!status.ok()) return status;
    full_sums_ = 0;
    for (size_t k = 0; k < tails_.size(); ++k) durable_extents_[k] = extent(k);
  }
  Status status = commit_file_.put_fast(next);
  // A durable slot has already published the commit: an error now would make the caller append it twice.
  if (!status.ok() && !durable) return status;
  flags_durable_ = durable || (flags_durable_ && next.flags == state_.flags);
  state_ = next;
  state_.durable = false;
  ++next_seq_;
  return {};
}

Status Log::publish_durable(const Slot& next) {
  for (size_t k = 0; k < rules_.size(); ++k) {
    if (extent(k) == durable_extents_[k]) continue;
    if (Status status = sync_or_doubt(rules_[k].file->fd()); !status.ok()) return status;
  }
  return commit_file_.put_durable(next, descriptors());
}

Status Log::poison(Status status, const Slot& failed) {
  poisoned_ = true;
  commit_file_.mark_suspect(state_, std::max(failed.seq, next_seq_));
  return status;
}

// The descriptors of all files except the commit file.
std::vector<int> Log::descriptors() const {
  std::vector<int> fds;
  for (const FileRule& rule : rules_) fds.push_back(rule.file->fd());
  if (meta_fd_ >= 0) fds.push_back(meta_fd_);
  return fds;
}

uint64_t Log::last_offset(size_t file) const {
  for (size_t k = 0; k < rules_.size(); ++k)
    if (rules_[k].length == LengthRule::payload && rules_[k].offsets == file)
      return tails_[k].extent() / rules_[k].unit;
  return 0;
}

// After a failed append: frees the bytes past the committed end, which a full disk needs.
void Log::give_back_space() {
  for (size_t k = 0; k < rules_.size(); ++k) {
    uint64_t size;
    if (file_size(rules_[k].file->fd(), &size).ok() && size > extent(k))
      (void)io::truncate(rules_[k].file->fd(), extent(k));
  }
}

uint64_t Log::sums_extent() const {
  uint64_t blocks = 0;
  for (const Tail& tail : tails_) blocks += tail.blocks();
  return blocks * sizeof(BlockSum);
}

uint64_t Log::edits_end() const {
  for (size_t k = 0; k < rules_.size(); ++k)
    if (rules_[k].length == LengthRule::edits) return tails_[k].digest();
  return 0;
}

uint64_t Log::undurable_bytes() const {
  uint64_t bytes = 0;
  for (size_t k = 0; k < tails_.size(); ++k) bytes += extent(k) - durable_extents_[k];
  return bytes;
}

}  // namespace mmap_ninja
