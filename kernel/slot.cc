#include "slot.h"

#include <string.h>

#include <algorithm>

#include "checksum.h"

namespace mmap_ninja {
namespace {

constexpr char kMagic[8] = {'M', 'M', 'N', 'I', 'N', 'J', 'A', '\n'};
constexpr uint16_t kFast = 1;
constexpr uint16_t kDurable = 2;
constexpr size_t kChecksumAt = Slot::kSize - 4;

// Visits the fields in file order; used for writing and reading, so that the two cannot differ.
template <typename Visit>
void visit_fields(Slot& slot, Visit visit) {
  visit(12, &slot.features, 4);
  visit(16, &slot.flags, 4);
  visit(24, &slot.seq, 8);
  visit(32, &slot.generation, 8);
  visit(40, &slot.rows, 8);
  visit(48, &slot.edits, 8);
  visit(56, &slot.durable_rows, 8);
  visit(64, &slot.durable_edits, 8);
  visit(72, slot.uuid.data(), 16);
  visit(88, slot.boot.data(), 16);
  visit(104, &slot.device, 8);
  visit(112, &slot.inode, 8);
  visit(120, &slot.digest, 8);
  visit(128, &slot.meta_digest, 8);
  visit(136, &slot.mount, 8);
  visit(144, &slot.disk, 8);
  visit(152, &slot.content, 8);
  visit(160, &slot.edits_end, 8);
  visit(168, &slot.carries, 4);
}

}  // namespace

SlotBytes encode_slot(const Slot& slot) {
  SlotBytes bytes{};
  Slot fields = slot;
  memcpy(bytes.data(), kMagic, sizeof kMagic);
  memcpy(bytes.data() + 8, &Slot::kVersion, 2);
  memcpy(bytes.data() + 10, slot.durable ? &kDurable : &kFast, 2);
  visit_fields(fields,
               [&](size_t at, const void* field, size_t size) { memcpy(bytes.data() + at, field, size); });
  uint32_t checksum = crc32c(bytes.data(), kChecksumAt);
  memcpy(bytes.data() + kChecksumAt, &checksum, 4);
  return bytes;
}

SlotState decode_slot(const SlotBytes& bytes, Slot* slot, uint16_t* version) {
  if (std::all_of(bytes.begin(), bytes.end(), [](uint8_t byte) { return byte == 0; }))
    return SlotState::empty;
  uint32_t checksum;
  memcpy(&checksum, bytes.data() + kChecksumAt, 4);
  if (checksum != crc32c(bytes.data(), kChecksumAt)) return SlotState::torn;
  if (memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) return SlotState::foreign;
  memcpy(version, bytes.data() + 8, 2);
  if (*version != Slot::kVersion) return SlotState::newer;
  uint16_t kind;
  memcpy(&kind, bytes.data() + 10, 2);
  if (kind != kFast && kind != kDurable) return SlotState::foreign;
  slot->durable = kind == kDurable;
  visit_fields(*slot, [&](size_t at, void* field, size_t size) { memcpy(field, bytes.data() + at, size); });
  return SlotState::valid;
}

}  // namespace mmap_ninja
