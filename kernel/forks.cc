#include "forks.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

namespace mmap_ninja {
namespace {

std::vector<Inherited*> enrolled;
uint64_t forks = 0;

}  // namespace

uint64_t forks_so_far() { return forks; }

uint64_t process_id() { return static_cast<uint64_t>(::getpid()); }

const int Inherited::handled = ::pthread_atfork(nullptr, nullptr, &Inherited::abandon_all);

void Inherited::enroll() {
  if (!is_enrolled_) enrolled.push_back(this);
  is_enrolled_ = true;
}

void Inherited::leave() {
  if (is_enrolled_) std::erase(enrolled, this);
  is_enrolled_ = false;
}

bool Inherited::is_held(uint64_t device, uint64_t inode) {
  return std::any_of(enrolled.begin(), enrolled.end(),
                     [&](const Inherited* held) { return held->holds(device, inode); });
}

void Inherited::abandon_all() {
  ++forks;
  for (Inherited* held : std::vector<Inherited*>(std::move(enrolled))) {
    held->is_enrolled_ = false;
    held->abandon();
  }
  enrolled.clear();
}

}  // namespace mmap_ninja
