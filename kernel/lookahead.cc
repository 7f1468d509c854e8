#include "lookahead.h"

#include <algorithm>
#include <utility>

#include "forks.h"
#include "threads.h"

namespace mmap_ninja {

bool Needed::are_cold() const {
  return std::any_of(files.begin(), files.end(),
                     [&](const RowFiles& of) { return of.are_cold(rows.data(), rows.size()); });
}

void Needed::ask_for() const {
  for (const RowFiles& of : files) of.ask_for(rows.data(), rows.size());
}

Lookahead::Lookahead() : process_(forks_so_far()) {}

uint64_t Lookahead::add(Job job) {
  if (process_ != forks_so_far()) return 0;
  std::lock_guard lock(mutex_);
  jobs_.push_back(std::move(job));
  ++added_;
  if (is_running_) return added_;
  if (has_thread_) ::pthread_join(thread_, nullptr);
  is_stopped_ = false;
  is_running_ = has_thread_ = start_thread(&thread_, run, this);
  if (!is_running_) {
    jobs_.clear();
    done_ = added_;
  }
  return added_;
}

void Lookahead::wait_for(uint64_t request) {
  if (process_ != forks_so_far()) return;
  std::unique_lock lock(mutex_);
  is_done_.wait(lock, [&] { return done_ >= request; });
}

bool Lookahead::is_idle() {
  if (process_ != forks_so_far()) return true;
  std::lock_guard lock(mutex_);
  return !is_running_;
}

void Lookahead::stop() {
  if (process_ != forks_so_far()) return;  // the thread that may hold the mutex is not in this process
  std::unique_lock lock(mutex_);
  done_ += jobs_.size();
  jobs_.clear();
  is_stopped_ = true;
  if (!std::exchange(has_thread_, false)) return;  // there is none, or another caller waits for it
  pthread_t thread = thread_;
  lock.unlock();
  ::pthread_join(thread, nullptr);
}

void* Lookahead::run(void* lookahead) {
  auto self = static_cast<Lookahead*>(lookahead);
  for (;;) {
    Job job;
    {
      std::lock_guard lock(self->mutex_);
      self->is_running_ = !self->jobs_.empty();
      if (!self->is_running_) return nullptr;
      job = std::move(self->jobs_.front());
      self->jobs_.pop_front();
    }
    self->work(job);
    std::lock_guard lock(self->mutex_);
    ++self->done_;
    self->is_done_.notify_all();
  }
}

void Lookahead::work(const Job& job) {
  if (job.streams) {
    for (const Needed& needed : job.needed) {
      if (needed.rows.empty()) continue;
      auto [first, last] = std::minmax_element(needed.rows.begin(), needed.rows.end());
      for (const RowFiles& of : needed.files) of.stream(*first, *last, is_stopped_);
    }
    return;
  }
  bool are_cold = std::any_of(job.needed.begin(), job.needed.end(),
                              [](const Needed& needed) { return needed.are_cold(); });
  warm_ = are_cold ? 0 : warm_ + 1;
  for (const Needed& needed : job.needed) {
    if (is_stopped_) return;
    needed.ask_for();
  }
}

}  // namespace mmap_ninja
