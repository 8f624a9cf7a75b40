// The one-dimensional Winograd transforms F(M, 3), M = 2, 4, 6, on vectors of channels.
//
// Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), points 0, +-1, (+-2, (+-1/2)), inf.
// M outputs of a 3-tap filter cost M + 2 products instead of 3 M:  y = A^T [ (G g) * (B^T d) ].
// `input` and `output` write with a stride, so that they serve the columns and then the rows of a tile. Filters
// are made by pairs of frequencies, the pair of +-a at a time: pair 0 is (0, M + 1), pair p is (2p - 1, 2p).
#pragma once

#include <utility>

#include "simd.h"

namespace nst {

template <int M>
struct Winograd;

template <>
struct Winograd<2> {
  template <int kPair>
  static NST_INLINE void filter_pair(const Vec* g, Vec& first, Vec& second) {
    if constexpr (kPair == 0) {
      first = g[0], second = g[2];
    } else {
      const Vec even = 0.5f * (g[0] + g[2]), odd = 0.5f * g[1];
      first = even + odd, second = even - odd;
    }
  }
  static NST_INLINE void input(const Vec* d, Vec* v, int stride) {
    v[0] = d[0] - d[2];
    v[stride] = d[1] + d[2];
    v[2 * stride] = d[2] - d[1];
    v[3 * stride] = d[1] - d[3];
  }
  static NST_INLINE void output(const Vec* m, Vec* y, int stride) {
    y[0] = m[0] + (m[1] + m[2]);
    y[stride] = (m[1] - m[2]) - m[3];
  }
};

template <>
struct Winograd<4> {
  template <int kPair>
  static NST_INLINE void filter_pair(const Vec* g, Vec& first, Vec& second) {
    if constexpr (kPair == 0) {
      first = 0.25f * g[0], second = g[2];
    } else {
      const Vec even = kPair == 1 ? (-1.f / 6) * (g[0] + g[2]) : (1.f / 24) * g[0] + (1.f / 6) * g[2];
      const Vec odd = (kPair == 1 ? -1.f / 6 : 1.f / 12) * g[1];
      first = even + odd, second = even - odd;
    }
  }
  static NST_INLINE void input(const Vec* d, Vec* v, int stride) {
    const Vec even1 = d[4] - 4.f * d[2], odd1 = d[3] - 4.f * d[1];
    const Vec even2 = d[4] - d[2], odd2 = 2.f * (d[3] - d[1]);
    v[0] = 4.f * d[0] - 5.f * d[2] + d[4];
    v[stride] = even1 + odd1;
    v[2 * stride] = even1 - odd1;
    v[3 * stride] = even2 + odd2;
    v[4 * stride] = even2 - odd2;
    v[5 * stride] = 4.f * d[1] - 5.f * d[3] + d[5];
  }
  static NST_INLINE void output(const Vec* m, Vec* y, int stride) {
    const Vec sum1 = m[1] + m[2], diff1 = m[1] - m[2], sum2 = m[3] + m[4], diff2 = m[3] - m[4];
    y[0] = m[0] + sum1 + sum2;
    y[stride] = diff1 + 2.f * diff2;
    y[2 * stride] = sum1 + 4.f * sum2;
    y[3 * stride] = diff1 + 8.f * diff2 + m[5];
  }
};

template <>
struct Winograd<6> {
  template <int kPair>
  static NST_INLINE void filter_pair(const Vec* g, Vec& first, Vec& second) {
    if constexpr (kPair == 0) {
      first = g[0], second = g[2];
    } else {
      const Vec even = kPair == 1   ? (-2.f / 9) * (g[0] + g[2])
                       : kPair == 2 ? (1.f / 90) * g[0] + (2.f / 45) * g[2]
                                    : (32.f / 45) * g[0] + (8.f / 45) * g[2];
      const Vec odd = (kPair == 1 ? -2.f / 9 : kPair == 2 ? 1.f / 45 : 16.f / 45) * g[1];
      first = even + odd, second = even - odd;
    }
  }
  static NST_INLINE void input(const Vec* d, Vec* v, int stride) {
    const Vec even1 = d[2] + d[6] - 4.25f * d[4], odd1 = d[1] + d[5] - 4.25f * d[3];
    const Vec even2 = d[6] + 0.25f * d[2] - 1.25f * d[4], odd2 = 0.5f * d[1] - 2.5f * d[3] + 2.f * d[5];
    const Vec even3 = d[6] + 4.f * d[2] - 5.f * d[4], odd3 = 2.f * d[1] - 2.5f * d[3] + 0.5f * d[5];
    v[0] = (d[0] - d[6]) + 5.25f * (d[4] - d[2]);
    v[stride] = even1 + odd1;
    v[2 * stride] = even1 - odd1;
    v[3 * stride] = even2 + odd2;
    v[4 * stride] = even2 - odd2;
    v[5 * stride] = even3 + odd3;
    v[6 * stride] = even3 - odd3;
    v[7 * stride] = (d[7] - d[1]) + 5.25f * (d[3] - d[5]);
  }
  static NST_INLINE void output(const Vec* m, Vec* y, int stride) {
    const Vec sum1 = m[1] + m[2], diff1 = m[1] - m[2], sum2 = m[3] + m[4], diff2 = m[3] - m[4];
    const Vec sum3 = m[5] + m[6], diff3 = m[5] - m[6];
    y[0] = m[0] + sum1 + sum2 + sum3;
    y[stride] = diff1 + 2.f * diff2 + 0.5f * diff3;
    y[2 * stride] = sum1 + 4.f * sum2 + 0.25f * sum3;
    y[3 * stride] = diff1 + 8.f * diff2 + 0.125f * diff3;
    y[4 * stride] = sum1 + 16.f * sum2 + 0.0625f * sum3;
    y[5 * stride] = diff1 + 32.f * diff2 + 0.03125f * diff3 + m[7];
  }
};

// The two frequencies of pair `p`.
template <int M>
constexpr int pair_frequency(int p, int which) {
  return p == 0 ? which * (M + 1) : 2 * p - 1 + which;
}

// All M + 2 frequencies of a filter.
template <int M, int... P>
NST_INLINE void filter_all(const Vec* g, Vec* u, std::integer_sequence<int, P...>) {
  (Winograd<M>::template filter_pair<P>(g, u[pair_frequency<M>(P, 0)], u[pair_frequency<M>(P, 1)]), ...);
}
template <int M>
NST_INLINE void filter_all(const Vec* g, Vec* u) {
  filter_all<M>(g, u, std::make_integer_sequence<int, M / 2 + 1>{});
}

}  // namespace nst
