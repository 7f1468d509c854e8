// Buffers are aligned, nobody else's, and kept only while somebody recycles, and never too many.

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "../buffers.h"
#include "check.h"

using namespace mmap_ninja;

namespace {

constexpr uint64_t kLarge = 3 * kRecycled;

void test_buffers_begin_at_a_cache_line() {
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{4097}, kRecycled, 5 * kRecycled + 1}) {
    uint8_t* buffer = new_buffer(size);
    CHECK(reinterpret_cast<uintptr_t>(buffer) % kCacheLine == 0 && room_of(buffer) >= size);
    memset(buffer, 1, size);
    delete_buffer(buffer);
  }
  CHECK(!new_buffer(INT64_MAX));
  CHECK(!new_buffer(UINT64_MAX));
}

void test_nothing_is_kept_without_a_recycler() {
  delete_buffer(new_buffer(kLarge));
  CHECK(kept_bytes() == 0);
}

void test_the_next_buffer_of_about_the_size_has_the_memory() {
  Recycler recycler;
  uint8_t* first = new_buffer(kLarge);
  delete_buffer(first);
  CHECK(kept_bytes() >= kLarge);
  uint8_t* second = new_buffer(kLarge - 1000);
  CHECK(second == first && kept_bytes() == 0);
  uint8_t* third = new_buffer(kLarge);  // while the second one lives
  CHECK(third != second);
  delete_buffer(third);
  delete_buffer(second);
}

void test_all_goes_back_with_the_last_recycler() {
  uint8_t* live;
  {
    Recycler recycler, other;
    live = new_buffer(kLarge);
    delete_buffer(new_buffer(kLarge));
    CHECK(kept_bytes() > 0);
  }
  CHECK(kept_bytes() == 0);
  memset(live, 1, kLarge);
  delete_buffer(live);
  CHECK(kept_bytes() == 0);
}

void test_small_buffers_are_not_kept() {
  Recycler recycler;
  delete_buffer(new_buffer(kRecycled - 1));
  CHECK(kept_bytes() == 0);
}

void test_buffers_that_no_longer_fit_go() {
  Recycler recycler;
  std::vector<uint8_t*> old;
  for (int k = 0; k < 3; ++k) old.push_back(new_buffer(kLarge));
  for (uint8_t* buffer : old) delete_buffer(buffer);
  for (int k = 0; k < 4; ++k) {
    uint8_t* buffer = new_buffer(20 * kRecycled);
    delete_buffer(buffer);
  }
  CHECK(kept_bytes() >= 20 * kRecycled && kept_bytes() < 20 * kRecycled + 3 * kLarge);
  delete_buffer(new_buffer(kLarge));  // a large one is not for a small batch
  std::vector<uint8_t*> larger;
  for (int k = 0; k < 3; ++k) larger.push_back(new_buffer(20 * kRecycled));
  CHECK(kept_bytes() == 0);
  for (uint8_t* buffer : larger) delete_buffer(buffer);
}

void test_few_bytes_are_kept() {
  Recycler recycler;
  std::vector<uint8_t*> buffers;
  for (int k = 0; k < 10; ++k) buffers.push_back(new_buffer(kMostKept / 4));
  for (uint8_t* buffer : buffers) delete_buffer(buffer);
  CHECK(kept_bytes() == kMostKept);
  delete_buffer(new_buffer(3 * kMostKept));  // one alone may be larger
  CHECK(kept_bytes() == 3 * kMostKept);
}

void test_threads_never_share_a_buffer() {
  constexpr int kThreads = 4, kTurns = 2000;
  std::atomic<bool> is_shared{false};
  auto use = [&](uint8_t mine) {
    for (int turn = 0; turn < kTurns; ++turn) {
      Recycler recycler;  // the last one goes again and again
      uint64_t size = kRecycled * (1 + static_cast<uint64_t>(turn) % 3);
      uint8_t* buffer = new_buffer(size);
      buffer[0] = buffer[size - 1] = mine;
      std::this_thread::yield();
      if (buffer[0] != mine || buffer[size - 1] != mine) is_shared = true;
      delete_buffer(buffer);
    }
  };
  std::vector<std::thread> threads;
  for (uint8_t k = 0; k < kThreads; ++k) threads.emplace_back(use, k);
  for (std::thread& thread : threads) thread.join();
  CHECK(!is_shared && kept_bytes() == 0);
}

void test_a_child_finds_the_pool_free() {
  std::atomic<bool> is_over{false};
  Recycler recycler;
  std::thread other([&] {
    while (!is_over) delete_buffer(new_buffer(kLarge));
  });
  for (int k = 0; k < 50; ++k) {
    pid_t child = ::fork();
    if (child == 0) {
      ::alarm(20);
      delete_buffer(new_buffer(kLarge));
      ::_exit(0);
    }
    int status = 0;
    CHECK(::waitpid(child, &status, 0) == child && status == 0);
  }
  is_over = true;
  other.join();
}

}  // namespace

int main() {
  test_buffers_begin_at_a_cache_line();
  test_nothing_is_kept_without_a_recycler();
  test_the_next_buffer_of_about_the_size_has_the_memory();
  test_all_goes_back_with_the_last_recycler();
  test_small_buffers_are_not_kept();
  test_buffers_that_no_longer_fit_go();
  test_few_bytes_are_kept();
  test_threads_never_share_a_buffer();
  test_a_child_finds_the_pool_free();
}
