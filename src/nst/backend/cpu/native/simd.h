// SIMD vectors of one instruction set, by gcc/clang vector extensions: the only file that knows vector widths.
//
// Every other file is written against `Vec` (kLanes floats) and is compiled once per instruction set, so that
// one source serves AVX-512 (16 lanes), AVX2+FMA (8) and 128-bit SSE or NEON (4).
#pragma once

#include <cstdint>

#if defined(__AVX512F__) || defined(__AVX2__)
#include <immintrin.h>
#endif

namespace nst {

// -DNST_LANES=16 on a processor without AVX-512 makes the compiler split each vector: slow, but the same kernels
// with the same register tiles, so that their logic can be tested anywhere.
#if defined(NST_LANES)
#define NST_ISA "emulated"
#elif defined(__AVX512F__)
#define NST_LANES 16
#define NST_ISA "avx512"
#elif defined(__AVX2__) && defined(__FMA__)
#define NST_LANES 8
#define NST_ISA "avx2"
#elif defined(__aarch64__)
#define NST_LANES 4
#define NST_ISA "neon"
#else
#define NST_LANES 4
#define NST_ISA "baseline"
#endif
constexpr int kLanes = NST_LANES;

// Channels per block of the nChw16c layout [C/16][H][W][16], the same for every instruction set.
constexpr int kBlock = 16;
// Vectors per channel block.
constexpr int kVecs = kBlock / kLanes;

typedef float Vec __attribute__((vector_size(kLanes * 4), aligned(kLanes * 4)));
typedef float UnalignedVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
typedef int32_t IntVec __attribute__((vector_size(kLanes * 4), aligned(kLanes * 4)));
typedef double DoubleVec __attribute__((vector_size(kLanes * 8)));

#define NST_INLINE inline __attribute__((always_inline))

NST_INLINE Vec load(const float* p) { return *reinterpret_cast<const Vec*>(p); }
NST_INLINE void store(float* p, Vec v) { *reinterpret_cast<Vec*>(p) = v; }
NST_INLINE Vec load_unaligned(const float* p) { return *reinterpret_cast<const UnalignedVec*>(p); }
NST_INLINE void store_unaligned(float* p, Vec v) { *reinterpret_cast<UnalignedVec*>(p) = v; }

NST_INLINE Vec zero() { return Vec{}; }
NST_INLINE Vec broadcast(float x) { return x - Vec{}; }
// The larger one; `a` if it is NaN, so that a ReLU does not hide a net that diverged.
NST_INLINE Vec maximum(Vec a, Vec b) { return a < b ? b : a; }
// `value` where `gate` is positive, else 0: the ReLU mask of a backward pass.
NST_INLINE Vec where_positive(Vec gate, Vec value) { return gate > zero() ? value : zero(); }
// One bit per lane, and back: whether `v` is positive, and `value` in the lanes whose bit is set, else 0.
NST_INLINE uint32_t positive_lanes(Vec v) {
#if NST_LANES == 16 && defined(__AVX512F__)
  return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_GT_OQ);
#elif NST_LANES == 8 && defined(__AVX2__)
  return static_cast<uint32_t>(_mm256_movemask_ps((__m256)(v > zero())));
#else
  uint32_t bits = 0;
  for (int lane = 0; lane < kLanes; ++lane) bits |= static_cast<uint32_t>(v[lane] > 0) << lane;
  return bits;
#endif
}
NST_INLINE Vec where_lanes(uint32_t bits, Vec value) {
#if NST_LANES == 16 && defined(__AVX512F__)
  return (Vec)_mm512_maskz_mov_ps(static_cast<__mmask16>(bits), (__m512)value);
#else
  IntVec lane;
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) lane[i] = 1 << i;
  return (static_cast<int32_t>(bits) & lane) != 0 ? value : zero();
#endif
}
NST_INLINE DoubleVec widen(Vec v) { return __builtin_convertvector(v, DoubleVec); }

// Stores that bypass the cache, for outputs that are larger than it; `stream_fence` orders them before the
// work that reads them.
NST_INLINE void stream(float* p, Vec v) {
#if NST_LANES == 16 && defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif NST_LANES == 8 && defined(__AVX2__)
  _mm256_stream_ps(p, (__m256)v);
#else
  store(p, v);
#endif
}
NST_INLINE void stream_fence() {
#if defined(__AVX512F__) || defined(__AVX2__)
  _mm_sfence();
#endif
}

// One spin-wait step that leaves the execution units to the sibling thread.
NST_INLINE void spin_pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
// Channels including the zero padding of the last block.
constexpr int64_t padded(int64_t channels) { return round_up(channels, kBlock); }

}  // namespace nst
