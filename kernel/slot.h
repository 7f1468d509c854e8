#pragma once

#include <array>
#include <cstdint>

namespace mmap_ninja {

using Id = std::array<uint8_t, 16>;

enum SlotFlags : uint32_t {
  kComplete = 1,  // the build of this generation has ended
  kSuspect = 2,   // a sync failed: commits that were not durable may be lost
};

enum SlotCarries : uint32_t {
  kSums = 1,  // older writers left zeros
};

// A commit, laid out as in docs/format.md.
struct Slot {
  static constexpr uint64_t kSize = 256;
  static constexpr uint16_t kVersion = 1;

  bool durable = false;
  uint32_t features = 0;  // a reader refuses a dataset with bits that it does not know
  uint32_t flags = 0;
  uint64_t seq = 0;
  uint64_t generation = 0;
  uint64_t rows = 0;
  uint64_t edits = 0;
  uint64_t durable_rows = 0;
  uint64_t durable_edits = 0;
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t digest = 0;
  uint64_t meta_digest = 0;
  Id uuid{};
  Id boot{};
  uint64_t mount = 0;      // the mount through which the commit file was written; 0: unknown
  uint64_t disk = 0;       // the disk it was on, as the system counts them; 0: unknown
  uint32_t carries = 0;    // kSums: the next two fields are valid
  uint64_t content = 0;    // the sum of the hashes of all blocks
  uint64_t edits_end = 0;  // the hash of the partial last block of the edits file; 0 if there is none

  bool operator==(const Slot&) const = default;
};

enum class SlotState : uint8_t { valid, empty, torn, foreign, newer };

using SlotBytes = std::array<uint8_t, Slot::kSize>;

SlotBytes encode_slot(const Slot& slot);

// `empty`: all zero, never written. `torn`: wrong checksum. `foreign`: not a slot of this format. `newer`:
// intact, but of a later format version, which is returned in `version`.
SlotState decode_slot(const SlotBytes& bytes, Slot* slot, uint16_t* version);

}  // namespace mmap_ninja
