#pragma once

#include <cstdint>

namespace mmap_ninja {

// The number of forks that led to this process: distinguishes it from its ancestors, whose process ids may be
// reused.
uint64_t forks_so_far();
// The process id, for messages.
uint64_t process_id();

// Base of everything that holds a lock: a forked child must close it, or it would keep its parent's locks
// alive after the parent. This is the only clean-up after a fork. The GIL serialises `enroll` and `leave`.
class Inherited {
 public:
  Inherited() = default;
  Inherited(const Inherited&) = delete;
  Inherited& operator=(const Inherited&) = delete;

  // Whether this process itself, not only its parent, holds the lock of a file.
  static bool is_held(uint64_t device, uint64_t inode);

 protected:
  ~Inherited() { leave(); }
  // From now on, a forked child abandons this object.
  void enroll();
  void leave();
  // Called in the child: closes descriptors without unlocking, which would release the parent's locks.
  virtual void abandon() = 0;
  // Whether this object holds the lock of a file for longer than a call.
  virtual bool holds(uint64_t /*device*/, uint64_t /*inode*/) const { return false; }

 private:
  static void abandon_all();
  static const int handled;
  bool is_enrolled_ = false;  // others need no GIL
};

}  // namespace mmap_ninja
