#include "copies.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace mmap_ninja {

#if defined(__x86_64__)
namespace {

constexpr uint64_t kLine = 64;

// Stores whole cache lines; at both ends, which may share theirs with others, some bytes twice. For at least
// two lines.
template <Into into>
[[gnu::target("avx2")]] void copy_lines(uint8_t* to, const uint8_t* from, uint64_t size) {
  memcpy(to, from, kLine);
  memcpy(to + size - kLine, from + size - kLine, kLine);
  for (uint64_t k = -reinterpret_cast<uintptr_t>(to) % kLine; k + kLine <= size; k += kLine) {
    __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + k));
    __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + k + sizeof low));
    auto line = reinterpret_cast<__m256i*>(to + k);
    if constexpr (into == Into::memory) {
      _mm256_stream_si256(line, low);
      _mm256_stream_si256(line + 1, high);
    } else {
      _mm256_store_si256(line, low);
      _mm256_store_si256(line + 1, high);
    }
  }
  if constexpr (into == Into::memory) _mm_sfence();  // other threads must not see what comes later before it
}

// Of the CPU, not of the compiler: the kernel runs on older ones, too.
const bool has_avx2 = __builtin_cpu_supports("avx2");

}  // namespace

void copy_long(uint8_t* to, const uint8_t* from, uint64_t size, Into into) {
  if (!has_avx2)
    memcpy(to, from, size);
  else if (into == Into::memory)
    copy_lines<Into::memory>(to, from, size);
  else
    copy_lines<Into::caches>(to, from, size);
}
#else
void copy_long(uint8_t* to, const uint8_t* from, uint64_t size, Into) { memcpy(to, from, size); }
#endif

}  // namespace mmap_ninja
