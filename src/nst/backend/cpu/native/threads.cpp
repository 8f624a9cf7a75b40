#include "threads.h"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "simd.h"

namespace nst {
namespace {
// Idle workers first spin, for about 30 microseconds, then offer their processor to anyone else in between
// looks, for about 200 more: that covers the pause between two layers, and costs an overloaded machine little.
constexpr int kSpins = 1000, kYields = 400;
}  // namespace

struct ThreadPool::Team {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable wake;
  std::atomic<uint64_t> generation{0};
  std::atomic<int64_t> next{0};
  std::atomic<int> busy{0};
  bool stopping = false;
  int64_t tasks = 0;
  Job job = nullptr;
  void* context = nullptr;

  explicit Team(int threads) {
    for (int worker = 1; worker < threads; ++worker)
      workers.emplace_back([this, worker] { serve(worker); });
  }

  ~Team() {
    {
      std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
      generation.fetch_add(1);
    }
    wake.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  void run(int64_t count, Job what, void* with) {
    tasks = count, job = what, context = with;
    next.store(0, std::memory_order_relaxed);
    busy.store(static_cast<int>(workers.size()), std::memory_order_relaxed);
    {
      std::lock_guard<std::mutex> lock(mutex);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    work(0);
    for (int spin = 0; busy.load(std::memory_order_acquire) != 0; ++spin)
      spin < kSpins ? spin_pause() : std::this_thread::yield();
  }

  void work(int worker) {
    for (int64_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < tasks;)
      job(context, task, worker);
  }

  void serve(int worker) {
    for (uint64_t seen = 0;;) {
      seen = await(seen);
      if (stopping) return;
      work(worker);
      busy.fetch_sub(1, std::memory_order_acq_rel);
    }
  }

  // Spins for a moment, then yields, then sleeps, until the generation is no longer `seen`.
  uint64_t await(uint64_t seen) {
    for (int look = 0; look < kSpins + kYields; ++look) {
      if (generation.load(std::memory_order_acquire) != seen) break;
      look < kSpins ? spin_pause() : std::this_thread::yield();
    }
    std::unique_lock<std::mutex> lock(mutex);
    wake.wait(lock, [&] { return generation.load(std::memory_order_relaxed) != seen; });
    return generation.load(std::memory_order_acquire);
  }
};

ThreadPool::ThreadPool(int threads) : threads_(threads < 1 ? 1 : threads) {}

ThreadPool::~ThreadPool() {
  if (owner_ != getpid()) (void)team_.release();  // a forked child: those threads live in the parent
}

ThreadPool::Team& ThreadPool::team() {
  if (owner_ != getpid()) {
    (void)team_.release();  // leaked on purpose, see above
    team_ = std::make_unique<Team>(threads_);
    owner_ = getpid();
  }
  return *team_;
}

void ThreadPool::dispatch(int64_t tasks, Job job, void* context) {
  if (threads_ == 1 || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) job(context, task, 0);
  } else {
    team().run(tasks, job, context);
  }
}

}  // namespace nst
