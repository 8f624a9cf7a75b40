// Storage types, groups of eight channels, and indices: what every kernel file begins with.
//
// NST_STORAGE says what maps are stored as: 0 float, 1 half, 2 bfloat16 (3: double, for planar kernels only).
// Arithmetic is in float. The conversions are our own, so that NVRTC needs no CUDA headers; with NST_HOST the same
// source compiles for a processor (tests/backend/cuda).
//
// A map is (N, H, W, CP): channels filled up by zeros to whole groups of eight, which every kernel keeps zero.

typedef long long Index;  // of elements: a map may hold more than 2^31

#define NST_KERNEL(name) extern "C" __global__ void nst_##name
#define NST_INLINE [[maybe_unused]] static __device__ __forceinline__
#define NST_MEMBER __device__ __forceinline__

// What a maximum over no numbers is: the lowest number of the storage type (Caffe: -FLT_MAX).
#if NST_STORAGE == 1
#define NST_LOWEST -65504.f
#elif NST_STORAGE == 2
#define NST_LOWEST -3.3895313892515355e38f
#else
#define NST_LOWEST -3.4028234663852886e38f
#endif

#ifdef NST_HOST
NST_INLINE unsigned float_bits(float value) { return nst_host::bits_of(value); }
NST_INLINE float bits_float(unsigned bits) { return nst_host::float_of(bits); }
#else
NST_INLINE unsigned float_bits(float value) { return __float_as_uint(value); }
NST_INLINE float bits_float(unsigned bits) { return __uint_as_float(bits); }
#endif

#if NST_STORAGE == 3
typedef double Real;  // of planar arrays
#else
typedef float Real;
#endif

#if NST_STORAGE == 1
struct Element {
  unsigned short bits;
};
NST_INLINE float widen(Element value) {
#ifdef NST_HOST
  return nst_host::half_to_float(value.bits);
#else
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
#endif
}
NST_INLINE Element narrow(float value) {
  Element result;
#ifdef NST_HOST
  result.bits = nst_host::float_to_half(value);
#else
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
#endif
  return result;
}
#elif NST_STORAGE == 2
struct Element {
  unsigned short bits;
};
NST_INLINE float widen(Element value) { return bits_float((unsigned)value.bits << 16); }
NST_INLINE Element narrow(float value) {  // to nearest, ties to even
  const unsigned bits = float_bits(value);
  const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
  Element result;
  result.bits = is_nan ? 0x7fff : (unsigned short)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
  return result;
}
#else
typedef float Element;
NST_INLINE float widen(Element value) { return value; }
NST_INLINE Element narrow(float value) { return value; }
#endif

struct __align__(16) Quad {  // one 128-bit access
  unsigned word[4];
};

struct Eight {  // one group in registers
  float at[8];
};

#define NST_EACH_CHANNEL _Pragma("unroll") for (int k = 0; k < 8; ++k)

// Group number `group` of a map.
NST_INLINE Eight load(const Element* map, Index group) {
  Eight result;
  const Quad* const quads = reinterpret_cast<const Quad*>(map + group * 8);
#if NST_STORAGE == 1 || NST_STORAGE == 2
  const Quad packed = quads[0];
  NST_EACH_CHANNEL {
    Element value;
    value.bits = (unsigned short)(packed.word[k >> 1] >> (16 * (k & 1)));
    result.at[k] = widen(value);
  }
#else
  const Quad low = quads[0], high = quads[1];
  NST_EACH_CHANNEL result.at[k] = bits_float(k < 4 ? low.word[k & 3] : high.word[k & 3]);
#endif
  return result;
}

NST_INLINE void store(Element* map, Index group, const Eight& values) {
  Quad* const quads = reinterpret_cast<Quad*>(map + group * 8);
#if NST_STORAGE == 1 || NST_STORAGE == 2
  Quad packed;
  _Pragma("unroll") for (int k = 0; k < 4; ++k)
    packed.word[k] = narrow(values.at[2 * k]).bits | ((unsigned)narrow(values.at[2 * k + 1]).bits << 16);
  quads[0] = packed;
#else
  Quad low, high;
  _Pragma("unroll") for (int k = 0; k < 4; ++k) {
    low.word[k] = float_bits(values.at[k]);
    high.word[k] = float_bits(values.at[k + 4]);
  }
  quads[0] = low;
  quads[1] = high;
#endif
}

NST_INLINE Eight zeros() {
  Eight result;
  NST_EACH_CHANNEL result.at[k] = 0.f;
  return result;
}

// Bit k says that channel k is positive.
NST_INLINE unsigned positive_bits(const Eight& values) {
  unsigned bits = 0;
  NST_EACH_CHANNEL bits |= (values.at[k] > 0.f ? 1u : 0u) << k;
  return bits;
}

NST_INLINE Eight masked(const Eight& values, unsigned bits) {
  Eight result;
  NST_EACH_CHANNEL result.at[k] = (bits >> k) & 1u ? values.at[k] : 0.f;
  return result;
}

// This thread's place among all; kernels compare it with the number of their outputs.
NST_INLINE Index thread_number() { return (Index)blockIdx.x * blockDim.x + threadIdx.x; }

// A loop over what is this thread's, in a grid that strides over `count` items.
#define NST_STRIDE(i, count) \
  for (Index i = thread_number(); i < (count); i += (Index)gridDim.x * blockDim.x)

// Takes the fastest axis off a flat index: returns index % size and leaves index / size. Short divisions where the
// numbers allow: 64-bit ones take as long as everything else in these kernels.
NST_INLINE int take(Index& index, int size) {
  int rest;
  if (((unsigned long long)index >> 32) == 0) {
    const unsigned whole = (unsigned)index;
    rest = (int)(whole % (unsigned)size);
    index = whole / (unsigned)size;
  } else {
    rest = (int)(index % size);
    index /= size;
  }
  return rest;
}
