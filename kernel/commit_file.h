#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>

#include "slot.h"
#include "status.h"

namespace mmap_ninja {

// Waits until a file's data is on the disk; Code::uncertain if that fails.
Status sync_or_doubt(int fd);

// The commit file: four slots, each on its own page, so that writing one cannot tear another. All writing and
// acknowledging of commits happens here, under the dataset's lock.
class CommitFile {
 public:
  static constexpr int kSlots = 4;  // 0 and 1 fast, 2 and 3 durable
  static constexpr uint64_t kStride = 4096;
  static constexpr uint64_t kSize = kSlots * kStride;

  // The caller keeps the descriptor. `directory`: the one that contains the file; empty: unknown.
  Status open(int fd, std::string directory);

  int fd() const { return fd_; }
  uint64_t device() const { return device_; }
  uint64_t inode() const { return inode_; }
  // Fills in where and when a commit to this file is made.
  void sign(Slot* slot) const;

  // Whether the slots differ from those seen last. `bytes`: the whole file.
  bool has_changed(const uint8_t* bytes) const;
  // Reads the slots. Code::short_file if the file is too short.
  Status read();
  void see(const uint8_t* bytes);
  const std::array<SlotBytes, kSlots>& seen() const { return seen_; }
  // The directory is no longer the one at its path.
  void lose_directory() { directory_.clear(); }
  // After a failed write the slots are unknown: the next look reads the file.
  void forget() { seen_ = {}; }

  // Functions that wait for the disk return Code::uncertain if that fails.

  // Makes sure that all durable slots, and the names that lead to them, are on the disk: a writer may have
  // died before that. Costs nothing if they are the slots that were synced last. `files`: all other files of
  // the generation, which may not be synced if a slot was copied from elsewhere.
  Status settle(std::span<const int> files);
  // Writes a commit, whose files are synced, to the older durable slot. The other one is settled before, so
  // that a power loss cannot leave both torn.
  Status put_durable(Slot slot, std::span<const int> files);
  // Writes a commit to the older fast slot; does not wait.
  Status put_fast(Slot slot);
  // Writes a commit of another generation to all slots, durably. If that is uncertain, the commit `before` is
  // marked.
  Status put_everywhere(Slot slot, std::span<const int> files, const Slot& before);
  // The system may have dropped pages that it failed to write, and reports that only once, so neither the
  // caller nor another writer may rely on them. Publishes the last commit again, marked, with a number
  // greater than `seq`.
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
  std::array<SlotBytes, 2> synced_{};    // the durable slots that are known to be on the disk
  bool names_synced_ = false;
  bool is_copy_ = false;  // a durable slot was written to another file
};

}  // namespace mmap_ninja
