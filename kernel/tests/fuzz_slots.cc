// Slots from bytes: a valid one is decoded from its own encoding without loss.

#include <string.h>

#include "check.h"
#include "checksum.h"
#include "fuzz_input.h"
#include "slot.h"

using namespace mmap_ninja;

namespace {

void check_slot(const SlotBytes& bytes) {
  Slot slot, again;
  uint16_t version = 0;
  if (decode_slot(bytes, &slot, &version) != SlotState::valid) return;
  CHECK(version == Slot::kVersion);
  SlotBytes encoded = encode_slot(slot);
  CHECK(decode_slot(encoded, &again, &version) == SlotState::valid && again == slot);
  // All fields are before the reserved bytes at the end, except four reserved bytes among them.
  CHECK(memcmp(encoded.data(), bytes.data(), 20) == 0 &&
        memcmp(encoded.data() + 24, bytes.data() + 24, 112) == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  SlotBytes bytes{};
  Input input(data, size);
  std::vector<uint8_t> given = input.bytes(bytes.size());
  std::copy(given.begin(), given.end(), bytes.begin());
  check_slot(bytes);
  // The same with the right magic and checksum, which a fuzzer cannot guess.
  SlotBytes pattern = encode_slot({});
  memcpy(bytes.data(), pattern.data(), 8);
  uint32_t checksum = crc32c(bytes.data(), Slot::kSize - 4);
  memcpy(bytes.data() + Slot::kSize - 4, &checksum, 4);
  check_slot(bytes);
  return 0;
}
