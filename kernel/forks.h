#pragma once

#include <cstdint>

namespace mmap_ninja {

// How often the process was forked on its way here: tells it from those that it was forked from, whose ids
// may be used again.
uint64_t forks_so_far();
// For messages.
uint64_t process_id();

// What a forked child must let go of: it would keep its parent's locks alive after the parent. The one
// clean-up after a fork: whatever holds a lock derives from this. The GIL serialises `enroll` and `leave`.
class Inherited {
 public:
  Inherited() = default;
  Inherited(const Inherited&) = delete;
  Inherited& operator=(const Inherited&) = delete;

 protected:
  ~Inherited() { leave(); }
  // From now on, a child lets go of this.
  void enroll();
  void leave();
  // In the child: closes descriptors, and never unlocks, which would free the parent's locks.
  virtual void abandon() = 0;

 private:
  static void abandon_all();
  static const int handled;
};

}  // namespace mmap_ninja
