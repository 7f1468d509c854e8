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
  if (std::find(enrolled.begin(), enrolled.end(), this) == enrolled.end()) enrolled.push_back(this);
}

void Inherited::leave() { std::erase(enrolled, this); }

bool Inherited::is_held(uint64_t device, uint64_t inode) {
  return std::any_of(enrolled.begin(), enrolled.end(),
                     [&](const Inherited* held) { return held->holds(device, inode); });
}

void Inherited::abandon_all() {
  ++forks;
  for (Inherited* held : std::vector<Inherited*>(std::move(enrolled))) held->abandon();
  enrolled.clear();
}

}  // namespace mmap_ninja
