// A small thread pool: one team of workers per engine, tasks handed out by an atomic counter.
//
// Results never depend on the number of threads because no kernel lets it decide what a task computes in which
// order. After fork() the child has no worker threads; the pool notices by the process id and builds a new team.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <type_traits>

namespace nst {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(task, worker) once for each task in [0, tasks); worker is in [0, threads()). Returns when all
  // are done. One caller at a time; body must not throw and must not call run again.
  template <class Body>
  void run(int64_t tasks, Body&& body) {
    using Plain = std::remove_reference_t<Body>;
    dispatch(
        tasks,
        [](void* context, int64_t task, int worker) { (*static_cast<Plain*>(context))(task, worker); },
        const_cast<void*>(static_cast<const void*>(&body)));
  }

 private:
  struct Team;
  using Job = void (*)(void* context, int64_t task, int worker);
  void dispatch(int64_t tasks, Job job, void* context);
  Team& team();

  int threads_;
  pid_t owner_ = 0;
  std::unique_ptr<Team> team_;
};

}  // namespace nst
