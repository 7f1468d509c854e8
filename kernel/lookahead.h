#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "pages.h"

namespace mmap_ninja {

// Some rows, and the files that have them.
struct Needed {
  std::vector<RowFiles> files;
  std::vector<uint64_t> rows;

  bool are_cold() const;
  void ask_for() const;
};

// Asks for rows before they are read, in the order in which it gets them, in a thread of its own, since
// asking takes 10 us per row. The thread is there only as long as there is something to ask for. After a
// fork, the child's copy does nothing.
class Lookahead {
 public:
  Lookahead();
  // Ends the thread.
  ~Lookahead() { stop(); }
  Lookahead(const Lookahead&) = delete;
  Lookahead& operator=(const Lookahead&) = delete;

  // Asks for rows that are needed together, and returns the number of this request.
  uint64_t ask_for(std::vector<Needed> needed) { return add({std::move(needed), false}); }
  // Waits until a request was made: whoever reads before that takes a fault, for which the system may read
  // megabytes around the row.
  void wait_for(uint64_t request);
  // Reads the files of rows from the first to the last one, in order.
  void stream(std::vector<Needed> needed) { add({std::move(needed), true}); }
  // How many times in a row all that was asked for was in memory already, by all signs.
  uint64_t warm() const { return warm_; }
  bool is_idle();
  // Forgets what was not asked for yet, and waits for the thread to end.
  void stop();

 private:
  struct Job {
    std::vector<Needed> needed;
    bool streams;
  };
  uint64_t add(Job job);
  static void* run(void* lookahead);
  void work(const Job& job);

  const uint64_t process_;  // the value of forks_so_far()
  std::mutex mutex_;
  std::condition_variable is_done_;
  std::deque<Job> jobs_;
  uint64_t added_ = 0;
  uint64_t done_ = 0;
  bool is_running_ = false;
  bool has_thread_ = false;  // to be joined
  pthread_t thread_;
  std::atomic<bool> is_stopped_{false};
  std::atomic<uint64_t> warm_{0};
};

}  // namespace mmap_ninja
