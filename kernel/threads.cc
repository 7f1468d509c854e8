#include "threads.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>
#ifdef __linux__
#include <sched.h>
#endif

#include <algorithm>
#include <vector>

namespace mmap_ninja {
namespace {

struct Share {
  void (*work)(void*, uint64_t);
  void* context;
  uint64_t number;
  pthread_t thread;
};

void* run_share(void* argument) {
  auto share = static_cast<Share*>(argument);
  share->work(share->context, share->number);
  return nullptr;
}

}  // namespace

uint64_t most_threads() {
  constexpr long kMost = 4;
  long processors = ::sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
  cpu_set_t allowed;
  if (::sched_getaffinity(0, sizeof allowed, &allowed) == 0) processors = CPU_COUNT(&allowed);
#endif
  return static_cast<uint64_t>(std::clamp(processors, 1L, kMost));
}

void run_threads(uint64_t count, void (*work)(void*, uint64_t), void* context) {
  std::vector<Share> started;
  started.reserve(count);  // threads hold pointers into it
  uint64_t number = 0;
  for (; number + 1 < count; ++number) {
    started.push_back({work, context, number, {}});
    if (start_thread(&started.back().thread, run_share, &started.back())) continue;
    started.pop_back();
    break;
  }
  for (; number < count; ++number) work(context, number);
  for (Share& share : started) ::pthread_join(share.thread, nullptr);
}

bool start_thread(pthread_t* thread, void* (*work)(void*), void* context) {
  sigset_t all, before;
  ::sigfillset(&all);
  if (::pthread_sigmask(SIG_SETMASK, &all, &before) != 0) return false;
  bool is_started = ::pthread_create(thread, nullptr, work, context) == 0;
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return is_started;
}

}  // namespace mmap_ninja
