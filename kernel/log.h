#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "commit_file.h"
#include "edits.h"
#include "forks.h"
#include "io.h"
#include "lengths.h"
#include "mapping.h"
#include "slot.h"
#include "status.h"
#include "sums.h"

namespace mmap_ninja {

// The bytes that one commit appends to one file. Offsets (u64 ends), and the new rows in lines of the edits
// file, count from the start of the batch.
struct FilePart {
  const void* data;
  uint64_t size;
};

// A commit that a handle has seen, as far as it identifies the samples.
struct Base {
  uint64_t rows = 0;
  uint64_t edits = 0;
  uint64_t content = 0;

  bool operator==(const Base&) const = default;
};

struct CommitRequest {
  std::span<const FilePart> parts;  // one per rule, in the rules' order; empty for files that do not grow
  uint64_t rows = 0;                // appended
  uint64_t edits = 0;               // appended
  uint32_t set_flags = 0;
  bool durable = false;
  // The number of rows that must be committed before this: a commit of another writer in between is a
  // conflict.
  uint64_t expected_rows = UINT64_MAX;
  // The same for edits.
  uint64_t expected_edits = UINT64_MAX;
  // The commit that this continues: Code::moved if it is not part of the newest commit, as after a backup was
  // restored in place. Null: any commit.
  const Base* base = nullptr;
  // Whether to commit even if the directory is no longer the one at the path.
  bool anywhere = false;
  double lock_seconds = 0;
};

// The paths of a log's files; if other files are found there, the dataset was replaced. Empty paths are not
// checked.
struct LogPaths {
  std::string directory;
  std::string lock;
  std::string commit;
};

// The commit engine of one generation: appends to its files under LOCK, and publishes them in one slot. Not
// thread-safe: the owner serialises calls, and the opening and closing of all logs of the process.
class Log : private Inherited {
 public:
  // A commit is made durable after so many bytes without a sync.
  static constexpr uint64_t kDurableEvery = uint64_t{64} << 20;

  // `state` is a commit that the caller has accepted while holding the lock, `next_seq` the first unused
  // number. A `lock_fd` of -1 means that the caller excludes other writers for the log's whole life; a
  // `meta_fd` of -1 that there is no meta file. `builds`: whether the caller makes a first build, for which
  // it holds the lock of the commit file. Takes ownership of these descriptors, even if it fails; those of
  // the rules stay open as long as the log.
  Status open(std::vector<FileRule> rules, int commit_fd, int lock_fd, int meta_fd, LogPaths paths,
              const Slot& state, uint64_t next_seq, bool sync_often, bool builds = false);

  Log() = default;
  ~Log() { close(); }

  Status commit(const CommitRequest& request);
  // Closes its descriptors, which releases a lock that only they held; nothing can be committed afterwards.
  void close();
  const Slot& state() const { return state_; }
  // Whether the commit file (or the lock) is the one at a path.
  bool commits_to(const char* path) const;
  bool locks(const char* path) const;
  // Whether the state is durable, as far as this log knows.
  bool is_durable() const;
  size_t files() const { return rules_.size(); }
  // Committed bytes of a file.
  uint64_t extent(size_t file) const {
    return rules_[file].length == LengthRule::sums ? sums_extent() : tails_[file].extent();
  }

 private:
  void abandon() override;
  Status start(const Slot& state);
  Status lock(double seconds);
  Status check_place(bool anywhere) const;
  Status check_builder(const CommitRequest& request) const;
  Status adopt();
  bool is_state(const Slot& slot) const;
  Status check_base(const Base& base);
  Status load(const Slot& slot);
  Status load_content(const Slot& slot, uint64_t partial_sums);
  Status sum_lines(uint64_t from, uint64_t to, uint64_t* total) const;
  Status append(const CommitRequest& request);
  Status publish(Slot next, bool durable);
  Status publish_durable(const Slot& next);
  Status poison(Status status, const Slot& failed);
  std::vector<int> descriptors() const;
  Status committed_extents(uint64_t rows, uint64_t edits, std::vector<uint64_t>* found) const;
  uint64_t last_offset(size_t file) const;
  uint64_t sums_extent() const;
  uint64_t edits_end() const;
  uint64_t undurable_bytes() const;
  void give_back_space();

  std::vector<FileRule> rules_;
  std::vector<Tail> tails_;                // one per rule; that of the sums file stays empty
  std::vector<uint64_t> durable_extents_;  // likewise
  uint64_t full_sums_ = 0;                 // sum over the blocks completed since the durable commit
  uint64_t full_content_ = 0;              // sum over all complete blocks
  std::vector<uint64_t> shifted_;          // scratch: ends of a batch, shifted to where it is appended
  std::vector<Edit> shifted_edits_;        // likewise
  int commit_fd_ = -1;
  int lock_fd_ = -1;
  int meta_fd_ = -1;
  LogPaths paths_;
  CommitFile commit_file_;
  std::shared_ptr<Mapping> commits_;  // of the commit file
  io::Place lock_place_;
  uint64_t process_ = 0;
  bool abandoned_ = false;
  bool sync_often_ = true;
  bool builds_ = false;
  bool poisoned_ = false;
  bool flags_durable_ = false;  // whether the state's flags are in a durable slot
  Slot state_;
  uint64_t next_seq_ = 0;
};

}  // namespace mmap_ninja
