// What the CUDA kernels' sources need to compile for a processor: threads of a grid run one after the other.
//
// Cooperation of threads (sums over a block or over lanes) has a serial form in the sources, under NST_HOST.
#include <cmath>
#include <cstdint>
#include <cstring>

#define NST_HOST
#define __global__
#define __device__
#define __shared__ static
#define __restrict__ __restrict
#define __forceinline__ inline
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __syncthreads() ((void)0)

struct Coordinate {
  unsigned x = 0;
};
static Coordinate blockIdx, threadIdx, blockDim, gridDim;

using std::pow;
template <class T>
static T min(T a, T b) { return b < a ? b : a; }
template <class T>
static T max(T a, T b) { return a < b ? b : a; }
inline void atomicMax(unsigned* place, unsigned value) { *place = max(*place, value); }
inline void atomicAdd(unsigned* place, unsigned value) { *place += value; }

namespace nst_host {

template <class To, class From>
To reinterpreted(From value) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To result;
  std::memcpy(&result, &value, sizeof(result));
  return result;
}
inline unsigned bits_of(float value) { return reinterpreted<unsigned>(value); }
inline float float_of(unsigned bits) { return reinterpreted<float>(bits); }

// IEEE binary16, without the processor's help. Subnormals are multiples of 2^-24.
inline float half_to_float(unsigned short half) {
  const unsigned sign = (half & 0x8000u) << 16, exponent = (half >> 10) & 31u, fraction = half & 0x3ffu;
  if (exponent == 31) return float_of(sign | 0x7f800000u | (fraction << 13));
  if (exponent == 0) return float_of(sign | bits_of(std::ldexp(static_cast<float>(fraction), -24)));
  return float_of(sign | ((exponent + 112) << 23) | (fraction << 13));
}

// To nearest, ties to even; beyond 65520 infinity. NaN stays NaN.
inline unsigned short float_to_half(float value) {
  const unsigned bits = bits_of(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<unsigned short>(sign | 0x7fffu);
  if (magnitude >= 0x477ff000u) return static_cast<unsigned short>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 2^-1 rounds to a multiple of 2^-24
    const float sum = float_of(magnitude) + 0.5f;
    return static_cast<unsigned short>(sign | (bits_of(sum) - bits_of(0.5f)));
  }
  const unsigned rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<unsigned short>(sign | ((rounded - 0x38000000u) >> 13));
}

struct Pointer {  // to whatever the kernel takes
  void* address;
  template <class T>
  operator T*() const { return static_cast<T*>(address); }
};

template <class Thread>
void run(long long blocks, Thread thread) {
  gridDim.x = static_cast<unsigned>(blocks);
  blockDim.x = 256;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; ++blockIdx.x)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; ++threadIdx.x) thread();
}

}  // namespace nst_host
