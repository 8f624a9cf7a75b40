// The handle behind the C interface: a thread pool and scratch memory. Nothing is global to the process.
#pragma once

#include <unistd.h>

#include <memory>
#include <mutex>
#include <string>

#include "memory.h"
#include "threads.h"

namespace nst {

struct Engine {
  explicit Engine(int threads) : pool(threads) {}

  // One call at a time uses the pool and the arena. A forked child gets a mutex of its own, since the
  // inherited one may be held by a thread that does not exist there.
  std::unique_lock<std::mutex> lock() {
    if (owner_ != getpid()) {
      (void)mutex_.release();
      mutex_ = std::make_unique<std::mutex>();
      owner_ = getpid();
    }
    return std::unique_lock<std::mutex>(*mutex_);
  }

  ThreadPool pool;
  Arena arena;
  Arena weights;  // packed for one call, beside what the kernel takes from the arena
  std::string error;  // text of the last call that failed

 private:
  pid_t owner_ = getpid();
  std::unique_ptr<std::mutex> mutex_ = std::make_unique<std::mutex>();
};

}  // namespace nst
