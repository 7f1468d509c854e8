#pragma once

#include <pthread.h>

#include <cstdint>

namespace mmap_ninja {

// The number of threads for a batch: the CPUs that this process may use, up to a low limit, since a program
// that wants more runs several readers itself.
uint64_t most_threads();

// Calls work(context, k) for each k < count, each in its own thread, the last in the caller's, and waits for
// all. If a thread cannot be started, the caller does its work.
void run_threads(uint64_t count, void (*work)(void*, uint64_t), void* context);

// Starts a thread that gets no signals: those must go to the program's own threads.
bool start_thread(pthread_t* thread, void* (*work)(void*), void* context);

}  // namespace mmap_ninja
