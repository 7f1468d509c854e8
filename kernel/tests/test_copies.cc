// Every byte is copied, and none beside it, at any alignment and around every size at which the way changes.

#include <vector>

#include "../copies.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

void test_copies_are_exact_at_any_alignment() {
  constexpr uint64_t kMost = 5000, kAround = 64;
  std::vector<uint8_t> from(kMost + kAround), to(kMost + 2 * kAround);
  for (size_t k = 0; k < from.size(); ++k) from[k] = static_cast<uint8_t>(k * 7 % 251 + 1);
  for (Into into : {Into::caches, Into::memory})
    for (uint64_t size : {0, 1, 63, 64, 2047, 2048, 2049, 2111, 2112, 4095, 4096, 4097, 5000})
      for (uint64_t source : {0, 1, 8, 33})
        for (uint64_t target = 0; target < kAround; ++target) {
          std::fill(to.begin(), to.end(), 0);
          copy_bytes(to.data() + target, from.data() + source, size, into);
          for (size_t k = 0; k < to.size(); ++k) {
            bool is_copied = k >= target && k < target + size;
            CHECK(to[k] == (is_copied ? from[k - target + source] : 0));
          }
        }
}

}  // namespace

int main() { test_copies_are_exact_at_any_alignment(); }
