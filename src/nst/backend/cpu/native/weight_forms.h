// The two forms of a weight gradient's operands (see weight_products.h): tap by tap, and Winograd tiles.
#pragma once

#include <cstring>

#include "weight_products.h"
#include "winograd_transforms.h"

namespace nst {

// Any geometry: a position is an output pixel, a frequency one tap of the kernel.
class TapForm {
 public:
  static constexpr int kMostTaps = 16;

  TapForm(const nst_conv& conv, const float* source, const float* gradient)
      : c_(conv), source_(source), gradient_(gradient) {}

  int64_t positions() const { return c_.images * c_.out_h * c_.out_w; }
  int64_t frequencies() const { return c_.kernel_h * c_.kernel_w; }
  int64_t gradient_frequencies() const { return 1; }

  void fill_source(const Operand& to, int64_t block, int64_t first, int64_t begin, int64_t end) const {
    for_each_run(first, begin, end, [&](int64_t image, int64_t y, int64_t x, int64_t at, int64_t count) {
      const float* const plane = source_ + image * c_.in_stride + block * c_.in_h * c_.in_w * kBlock;
      for (int64_t f = 0; f < frequencies(); ++f)
        copy_tap(plane, f, y, x, count, to.at(f, block) + at * kBlock);
    });
  }

  void fill_gradient(const Operand& to, int64_t block, int64_t first, int64_t begin, int64_t end) const {
    for_each_run(first, begin, end, [&](int64_t image, int64_t y, int64_t x, int64_t at, int64_t count) {
      const float* const from =
          gradient_ + image * c_.out_stride + ((block * c_.out_h + y) * c_.out_w + x) * kBlock;
      std::memcpy(to.at(0, block) + at * kBlock, from, sizeof(float) * count * kBlock);
    });
  }

  void taps(const float* row, int64_t first, int64_t count, float (*to)[kBlock]) const {
    for (int64_t tap = 0; tap < count; ++tap)
      std::memcpy(to[tap], row + (first + tap) * kUnitFloats, sizeof(float) * kBlock);
  }

 private:
  // Calls body(image, y, x, place in the block, count) for the pixels of each output row.
  template <class Body>
  void for_each_run(int64_t first, int64_t begin, int64_t end, Body body) const {
    while (begin < end) {
      const int64_t pixel = first + begin, x = pixel % c_.out_w, line = pixel / c_.out_w;
      const int64_t count = std::min(end - begin, c_.out_w - x);
      body(line / c_.out_h, line % c_.out_h, x, begin, count);
      begin += count;
    }
  }

  void copy_tap(const float* plane, int64_t f, int64_t y, int64_t x, int64_t count, float* to) const {
    const int64_t in_y = y * c_.stride_h - c_.pad_h + f / c_.kernel_w * c_.dilation_h;
    const int64_t in_x = x * c_.stride_w - c_.pad_w + f % c_.kernel_w * c_.dilation_w;
    const bool there = in_y >= 0 && in_y < c_.in_h;
    for (int64_t i = 0; i < count; ++i, to += kBlock) {
      const int64_t column = in_x + i * c_.stride_w;
      if (there && column >= 0 && column < c_.in_w)
        std::memcpy(to, plane + (in_y * c_.in_w + column) * kBlock, sizeof(float) * kBlock);
      else
        std::memset(to, 0, sizeof(float) * kBlock);
    }
  }

  const nst_conv& c_;
  const float *const source_, *const gradient_;
};

// 3x3, stride 1: a position is a tile of 4x4 outputs, a frequency one of its 36 products. It is the transpose
// of F(4x4, 3x3): weights = G^T [ sum of (A dy A^T) * (B^T d B) ] G, a quarter of the products.
class WinogradForm {
 public:
  static constexpr int kMostTaps = 9;
  static constexpr int M = 4, A = M + 2;

  WinogradForm(const nst_conv& conv, const float* source, const float* gradient)
      : c_(conv), source_(source), gradient_(gradient) {
    rows_ = ceil_div(c_.out_h, M), columns_ = ceil_div(c_.out_w, M);
  }

  static bool takes(const nst_conv& c) {
    const bool plain = c.kernel_h == 3 && c.kernel_w == 3 && c.stride_h == 1 && c.stride_w == 1 &&
                       c.dilation_h == 1 && c.dilation_w == 1;
    return plain && ceil_div(c.out_h, M) * ceil_div(c.out_w, M) * A * A * 3 / 2 < 9 * c.out_h * c.out_w;
  }

  int64_t positions() const { return c_.images * rows_ * columns_; }
  int64_t frequencies() const { return A * A; }
  int64_t gradient_frequencies() const { return A * A; }

  void fill_source(const Operand& to, int64_t block, int64_t first, int64_t begin, int64_t end) const {
    for (int64_t t = begin; t < end; ++t) {
      const Tile tile = tile_at(first + t);
      const float* const plane = source_ + tile.image * c_.in_stride + block * c_.in_h * c_.in_w * kBlock;
      for (int v = 0; v < kBlock; v += kLanes)
        with_tile<A>(plane + v, tile.y - c_.pad_h, tile.x - c_.pad_w, c_.in_h, c_.in_w, [&](auto pixel) {
          Vec columns[A * A];
#pragma GCC unroll 8
          for (int j = 0; j < A; ++j) {
            Vec d[A];
#pragma GCC unroll 8
            for (int i = 0; i < A; ++i) d[i] = pixel(i, j);
            Winograd<M>::input(d, columns + j, A);
          }
#pragma GCC unroll 8
          for (int i = 0; i < A; ++i) {
            Vec row[A];
            Winograd<M>::input(columns + i * A, row, 1);
            store_row(row, to, i, block, t * kBlock + v);
          }
        });
    }
  }

  void fill_gradient(const Operand& to, int64_t block, int64_t first, int64_t begin, int64_t end) const {
    for (int64_t t = begin; t < end; ++t) {
      const Tile tile = tile_at(first + t);
      const float* const plane = gradient_ + tile.image * c_.out_stride + block * c_.out_h * c_.out_w * kBlock;
      for (int v = 0; v < kBlock; v += kLanes)
        with_tile<M>(plane + v, tile.y, tile.x, c_.out_h, c_.out_w, [&](auto pixel) {
          Vec columns[A * M];
#pragma GCC unroll 8
          for (int j = 0; j < M; ++j) {
            Vec d[M];
#pragma GCC unroll 8
            for (int i = 0; i < M; ++i) d[i] = pixel(i, j);
            output_transposed(d, columns + j, M);
          }
#pragma GCC unroll 8
          for (int i = 0; i < A; ++i) {
            Vec row[A];
            output_transposed(columns + i * M, row, 1);
            store_row(row, to, i, block, t * kBlock + v);
          }
        });
    }
  }

  void taps(const float* row, int64_t, int64_t, float (*to)[kBlock]) const {
    for (int v = 0; v < kBlock; v += kLanes) {
      Vec columns[3 * A];
      for (int j = 0; j < A; ++j) {
        Vec s[A];
        for (int i = 0; i < A; ++i) s[i] = load(row + (i * A + j) * kUnitFloats + v);
        filter_transposed(s, columns + j, A);
      }
      Vec result[9];
      for (int i = 0; i < 3; ++i) filter_transposed(columns + i * A, result + i * 3, 1);
      for (int tap = 0; tap < 9; ++tap) store(to[tap] + v, result[tap]);
    }
  }

 private:
  struct Tile {
    int64_t image, y, x;
  };
  Tile tile_at(int64_t index) const {
    const int64_t per_image = rows_ * columns_, inside = index % per_image;
    return {index / per_image, inside / columns_ * M, inside % columns_ * M};
  }

  // Calls body(pixel) with pixel(i, j) one vector of channels of an S x S tile, zero outside the plane.
  template <int S, class Body>
  static NST_INLINE void with_tile(const float* plane, int64_t y0, int64_t x0, int64_t height, int64_t width,
                                   Body body) {
    if (y0 >= 0 && x0 >= 0 && y0 + S <= height && x0 + S <= width)
      body([&](int i, int j) { return load(plane + ((y0 + i) * width + x0 + j) * kBlock); });
    else
      body([&](int i, int j) {
        const int64_t y = y0 + i, x = x0 + j;
        const bool there = y >= 0 && x >= 0 && y < height && x < width;
        return there ? load(plane + (y * width + x) * kBlock) : zero();
      });
  }

  static NST_INLINE void store_row(const Vec* row, const Operand& to, int i, int64_t block, int64_t offset) {
#pragma GCC unroll 8
    for (int j = 0; j < A; ++j) store(to.at(i * A + j, block) + offset, row[j]);
  }

  // The transposes of Winograd<4>::output and Winograd<4>::filter.
  static NST_INLINE void output_transposed(const Vec* y, Vec* p, int stride) {
    const Vec a = y[0], b = y[1], c = y[2], d = y[3];
    const Vec even1 = a + c, odd1 = b + d, even2 = a + 4.f * c, odd2 = 2.f * b + 8.f * d;
    p[0] = a;
    p[stride] = even1 + odd1;
    p[2 * stride] = even1 - odd1;
    p[3 * stride] = even2 + odd2;
    p[4 * stride] = even2 - odd2;
    p[5 * stride] = d;
  }
  static NST_INLINE void filter_transposed(const Vec* s, Vec* g, int stride) {
    const Vec sum1 = (-1.f / 6) * (s[1] + s[2]), sum2 = s[3] + s[4];
    g[0] = 0.25f * s[0] + sum1 + (1.f / 24) * sum2;
    g[stride] = (-1.f / 6) * (s[1] - s[2]) + (1.f / 12) * (s[3] - s[4]);
    g[2 * stride] = sum1 + (1.f / 6) * sum2 + s[5];
  }

  const nst_conv& c_;
  const float *const source_, *const gradient_;
  int64_t rows_, columns_;
};

}  // namespace nst
