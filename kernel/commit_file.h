#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "slot.h"
#include "status.h"

namespace mmap_ninja {

// Waits until a file's data is on the medium; Code::uncertain if that fails.
Status sync_or_doubt(int fd);

// The commit file: four slots, each on a page of its own, so that no write of one can tear another. What
// writes or acknowledges commits does it here, under the dataset's lock.
class CommitFile {
 public:
  static constexpr int kSlots = 4;  // 0 and 1 fast, 2 and 3 durable
  static constexpr uint64_t kStride = 4096;
  static constexpr uint64_t kSize = kSlots * kStride;

  // The descriptor stays the caller's. `directory`: which the file's name is in; empty: nobody knows where.
  Status open(int fd, std::string directory);

  int fd() const { return fd_; }
  uint64_t device() const { return device_; }
  uint64_t inode() const { return inode_; }
  // What every commit to this file says of where and when it was made.
  void sign(Slot* slot) const;

  // Whether the slots are others than those seen last. `bytes`: the whole file.
  bool has_changed(const uint8_t* bytes) const;
  // Looks at the slots. Code::short_file if the file is too short.
  Status read();
  void see(const uint8_t* bytes);
  const std::array<SlotBytes, kSlots>& seen() const { return seen_; }
  // The directory is no longer the one at its path.
  void lose_directory() { directory_.clear(); }
  // Nobody knows what a write that failed has left: the next look is at the file.
  void forget() { seen_ = {}; }

  // What waits for the medium returns Code::uncertain if that fails.

  // Makes sure that all durable slots, and the names that lead to them, are on the medium: a writer may have
  // died before it had waited for that. Costs nothing where they are those that were synced last. `files`:
  // all others of the generation, which nobody has synced where a slot was copied from elsewhere.
  Status settle(std::span<const int> files);
  // Puts a commit, whose files are synced, into the older durable slot. The other one is settled before, so
  // that no power loss finds both torn.
  Status put_durable(Slot slot, std::span<const int> files);
  // Puts a commit into the older fast slot; waits for nothing.
  Status put_fast(Slot slot);
  // Puts a commit of another generation into all slots, durably. Where that is uncertain, the commit `before`
  // is marked.
  Status put_everywhere(Slot slot, std::span<const int> files, const Slot& before);
  // The system may have dropped the pages that it failed to write, and reports that only once: neither the
  // caller nor another writer may build on them. Publishes the last commit again, marked, under a number that
  // is greater than `seq`.
  void mark_suspect(Slot before, uint64_t seq);

 private:
  Status write(size_t place, const Slot& slot);
  Status write_everywhere(Slot slot, std::span<const int> files);

  int fd_ = -1;
  std::string directory_;
  uint64_t device_ = 0;
  uint64_t inode_ = 0;
  uint64_t mount_ = 0;
  uint64_t disk_ = 0;
  Id boot_{};
  std::array<SlotBytes, kSlots> seen_{};
  std::array<uint64_t, kSlots> seqs_{};  // 0: no valid slot
  std::array<SlotBytes, 2> synced_{};    // the durable slots that are known to be on the medium
  bool names_synced_ = false;
  bool is_copy_ = false;  // a durable slot was written to another file
};

}  // namespace mmap_ninja
