#include "memory.h"

#include <cstdlib>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace nst {
namespace {
constexpr size_t kCacheLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;
}  // namespace

void* allocate(size_t bytes) {
  const size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kCacheLine;
  const size_t size = (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
  void* memory = nullptr;
  if (posix_memalign(&memory, alignment, size ? size : kCacheLine) != 0) throw std::bad_alloc();
#if defined(__linux__)
  if (alignment == kHugePage) madvise(memory, size / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return memory;
}

void release(void* memory) { std::free(memory); }

float* Arena::take(size_t floats) {
  if (floats * sizeof(float) > bytes_) {
    clear();
    memory_ = allocate(floats * sizeof(float));
    bytes_ = floats * sizeof(float);
  }
  return static_cast<float*>(memory_);
}

void Arena::clear() {
  release(memory_);
  memory_ = nullptr;
  bytes_ = 0;
}

}  // namespace nst
