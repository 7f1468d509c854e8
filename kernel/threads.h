#pragma once

#include <cstdint>

namespace mmap_ninja {

// Threads that a batch may use: the processors that this process may run on, but few, since a program that
// wants more runs several readers itself.
uint64_t most_threads();

// Calls work(context, k) for each k < count, each in a thread of its own, the last in the caller's. They end
// before it returns. Where no thread can be had, the caller does the work.
void run_threads(uint64_t count, void (*work)(void*, uint64_t), void* context);

}  // namespace mmap_ninja
