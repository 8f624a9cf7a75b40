// bfloat16, the upper half of a float: two values in one 32-bit word, and their products with sums in fp32.
//
// Only for vectors of 16 lanes. The instructions are written in assembler, because a compiler that was told that
// the processor has them might use them anywhere in this library, which also serves processors without them:
// nobody comes here before nst_has_bf16 said so. Elsewhere the same arithmetic is spelled out, for tests.
#pragma once

#include <cstring>

#include "simd.h"

#if NST_LANES == 16
namespace nst {

// The nearest bfloat16, ties to even; NaN stays NaN.
NST_INLINE uint32_t bf16_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The word of the values of two neighbouring channels.
NST_INLINE float bf16_pair(float even, float odd) {
  const uint32_t bits = bf16_bits(even) | bf16_bits(odd) << 16;
  float word;
  std::memcpy(&word, &bits, sizeof word);
  return word;
}

// Operands of the Winograd products, in the place of Fp32 (microkernel.h): a word holds two channels.
struct Bf16 {
  static constexpr int kWords = kBlock / 2;

  static NST_INLINE void store(float* words, Vec values) {
#if defined(__AVX512F__)
    __m256i halves;
    asm("vcvtneps2bf16 %1, %0" : "=v"(halves) : "v"(values));
    _mm256_store_si256(reinterpret_cast<__m256i*>(words), halves);
#else
    for (int i = 0; i < kWords; ++i) words[i] = bf16_pair(values[2 * i], values[2 * i + 1]);
#endif
  }

  // sum[i] += both products of `word` and weights[i].
  static NST_INLINE void multiply_add(Vec& sum, float word, Vec weights) {
#if defined(__AVX512F__)
    asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(weights), "v"(_mm512_set1_ps(word)));
#else
    const auto half = [](float pair, int odd) {
      uint32_t bits;
      std::memcpy(&bits, &pair, sizeof bits);
      bits = odd ? bits & 0xffff0000u : bits << 16;
      std::memcpy(&pair, &bits, sizeof pair);
      return pair;
    };
    for (int i = 0; i < kLanes; ++i)
      sum[i] += half(word, 1) * half(weights[i], 1) + half(word, 0) * half(weights[i], 0);
#endif
  }
};

}  // namespace nst
#endif
