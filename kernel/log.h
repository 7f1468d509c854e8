#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "edits.h"
#include "mapping.h"
#include "slot.h"
#include "status.h"
#include "sums.h"

namespace mmap_ninja {

// How long a file is, as a function of a commit's rows and edits.
enum class Extent : uint8_t {
  rows,     // rows * unit
  offsets,  // (rows + 1) * 8: u64 ends with a leading zero
  payload,  // offsets[rows] * unit, offsets being the file at index `offsets`
  edits,    // edits * unit
  sums,     // one BlockSum per complete block of the files above
};

const char* extent_name(Extent extent);

struct FileRule {
  uint64_t id;  // names the file in sums and digest
  Extent extent;
  uint64_t unit;
  uint32_t offsets;
  bool sealed;  // its blocks have sums, and its end is in the digest
  int fd;       // owned by the log from `Log::open` on
};

// What one commit appends to one file. For an offsets file: u64 ends that count from the batch's own start;
// for the edits file: lines whose new rows do.
struct Part {
  const void* data;
  uint64_t size;
};

struct CommitRequest {
  std::span<const Part> parts;  // one per rule, in the rules' order; empty for files that do not grow
  uint64_t rows = 0;            // appended
  uint64_t edits = 0;           // appended
  uint32_t set_flags = 0;
  bool durable = false;
  // The rows that must be committed before this: another writer's commit in between is a conflict.
  uint64_t expected_rows = UINT64_MAX;
  // Likewise the edits.
  uint64_t expected_edits = UINT64_MAX;
  double lock_seconds = 0;
};

// The commit engine of one generation: appends to its files under LOCK and publishes them in one slot.
// Not thread-safe: its owner serialises calls, and the opening and closing of all logs of the process.
class Log {
 public:
  // Un-synced bytes after which a commit is made durable.
  static constexpr uint64_t kDurableEvery = uint64_t{64} << 20;

  // `state` is a commit that the caller has accepted while it held the lock, `next_seq` the first unused
  // number. A `lock_fd` of -1 means that the caller excludes other writers for the log's whole life. Takes
  // ownership of all the descriptors, also when it fails.
  Status open(std::vector<FileRule> rules, int commit_fd, int lock_fd, const Slot& state, uint64_t next_seq,
              bool sync_often);

  Log() = default;
  ~Log() { close(); }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  Status commit(const CommitRequest& request);
  // Lets go of the descriptors, and of a lock that only they held; nothing can be committed afterwards.
  void close();
  // What a forked child does with its parent's logs: closes them, and never unlocks.
  void abandon();
  const Slot& state() const { return state_; }
  size_t files() const { return rules_.size(); }
  // Committed bytes of a file.
  uint64_t extent(size_t file) const {
    return rules_[file].extent == Extent::sums ? sums_extent() : tails_[file].extent();
  }

 private:
  Status start(const Slot& state);
  Status lock(double seconds);
  Status adopt();
  Status load(const Slot& slot);
  Status append(const CommitRequest& request);
  Status publish(Slot next, bool durable);
  Status poison(Status status, const Slot& failed);
  Status write_slot(int index, const Slot& slot);
  Status committed_extent(size_t file, uint64_t rows, uint64_t edits, uint64_t* extent) const;
  uint64_t last_offset(size_t file) const;
  uint64_t sums_extent() const;
  uint64_t undurable_bytes() const;
  void give_back_space();

  std::vector<FileRule> rules_;
  std::vector<Tail> tails_;                // one per rule; that of sums stays empty
  std::vector<uint64_t> durable_extents_;  // likewise
  uint64_t full_sums_ = 0;                 // of the blocks completed since the durable commit
  std::vector<uint64_t> shifted_;          // scratch: a batch's ends, moved to where it is appended
  std::vector<Edit> shifted_edits_;        // likewise
  int commit_fd_ = -1;
  int lock_fd_ = -1;
  std::shared_ptr<Mapping> commits_;  // of the commit file
  pid_t owner_ = 0;
  bool abandoned_ = false;
  bool sync_often_ = true;
  bool poisoned_ = false;
  bool flags_durable_ = false;  // whether the state's flags stand in a durable slot
  bool commit_synced_ = false;  // whether all durable slots are known to be on the medium
  Slot state_;
  uint64_t next_seq_ = 0;
  std::array<SlotBytes, CommitFile::kSlots> seen_{};
  std::array<uint64_t, CommitFile::kSlots> seqs_{};  // 0: no valid slot
  Id boot_{};
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
};

}  // namespace mmap_ninja
