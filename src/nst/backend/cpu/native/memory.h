// Memory: aligned allocation with huge pages, and the scratch arena that an engine owns.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nst {

// 64-byte aligned memory, on huge pages from 4 MiB up where the system has them; throws std::bad_alloc.
void* allocate(size_t bytes);
void release(void* memory);

// One growing buffer; `take` hands it out whole and forgets what was there.
class Arena {
 public:
  Arena() = default;
  ~Arena() { release(memory_); }
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  float* take(size_t floats);
  void clear();

 private:
  void* memory_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace nst
