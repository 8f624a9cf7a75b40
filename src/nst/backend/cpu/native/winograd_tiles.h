// The tiles of a Winograd convolution: from the blocked input to frequencies, and from products to outputs.
#pragma once

#include <algorithm>

#include "gate.h"
#include "kernels.h"
#include "simd.h"
#include "winograd_transforms.h"

namespace nst {

// A 3x3 stride-1 convolution with its direction resolved.
struct WinogradShape {
  int64_t images, in, out;  // channels
  int64_t in_h, in_w, out_h, out_w, pad_h, pad_w;
  int64_t in_stride, out_stride;

  WinogradShape(const nst_conv& c, bool backward)
      : images(c.images),
        in(backward ? c.out_channels : c.in_channels),
        out(backward ? c.in_channels : c.out_channels),
        in_h(backward ? c.out_h : c.in_h),
        in_w(backward ? c.out_w : c.in_w),
        out_h(backward ? c.in_h : c.out_h),
        out_w(backward ? c.in_w : c.out_w),
        pad_h(backward ? 2 - c.pad_h : c.pad_h),
        pad_w(backward ? 2 - c.pad_w : c.pad_w),
        in_stride(backward ? c.out_stride : c.in_stride),
        out_stride(backward ? c.in_stride : c.out_stride) {}
};

// Outputs larger than this would only push the inputs out of the cache.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

template <int M, class Operands>
class WinogradTiles {
 public:
  static constexpr int A = M + 2;
  static constexpr int kFrequencies = A * A;

  // `backward` says that the gate is read, not written.
  WinogradTiles(const WinogradShape& shape, bool backward, const BlockedConvolution& args)
      : s_(shape), args_(args), reads_gate_(backward && args.gate.bits),
        writes_gate_(!backward && args.gate.bits), across_(ceil_div(s_.out_w, M)),
        per_image_(ceil_div(s_.out_h, M) * across_) {
    const int64_t pixels = s_.images * s_.out_h * s_.out_w / (writes_pooled() ? 4 : 1);
    stream_ = !(args_.flags & NST_ACCUMULATE) && pixels * padded(s_.out) * 4 > kStreamBytes;
  }

  int64_t count() const { return s_.images * per_image_; }

  // Frequencies of the tiles [first, last) of one block of channels, what the gate holds back left out:
  // target[frequency * stride + tile * words].
  void read(int64_t block, int64_t first, int64_t last, float* target, int64_t stride) const {
    if (reads_gate_ && args_.flags & NST_POOLED)
      read_tiles<Form::kPooled>(block, first, last, target, stride);
    else if (reads_gate_)
      read_tiles<Form::kGated>(block, first, last, target, stride);
    else
      read_tiles<Form::kPlain>(block, first, last, target, stride);
  }

  // A^T m A of the tiles [first, last) of one block of outputs, then bias, ReLU or accumulation, and the store;
  // products[frequency * stride + tile * 16].
  void write(int64_t block, int64_t first, int64_t last, const float* products, int64_t stride) const {
    for (int64_t t = first; t < last; ++t, products += kBlock)
      write_tile(products, stride, block, place(t));
  }

 private:
  struct Place {
    int64_t image, y, x;  // first output row and column
  };

  Place place(int64_t index) const {
    const int64_t inside = index % per_image_;
    return {index / per_image_, inside / across_ * M, inside % across_ * M};
  }

  // How the input is stored: as it is, behind a gate, or as its pooled half behind a gate.
  enum class Form { kPlain, kGated, kPooled };

  template <Form F>
  void read_tiles(int64_t block, int64_t first, int64_t last, float* target, int64_t stride) const {
    const int64_t source_h = F == Form::kPooled ? ceil_div(s_.in_h, 2) : s_.in_h;
    const int64_t source_w = F == Form::kPooled ? ceil_div(s_.in_w, 2) : s_.in_w;
    for (int64_t t = first; t < last; ++t, target += Operands::kWords) {
      const Place at = place(t);
      const float* const source = args_.source + at.image * s_.in_stride + block * source_h * source_w * kBlock;
      const uint16_t* const gate = gate_at(args_.gate, at.image, block * s_.in_h * s_.in_w);
      read_tile<F>(source, source_w, gate, at.y - s_.pad_h, at.x - s_.pad_w, target, stride);
    }
  }

  template <Form F>
  void read_tile(const float* source, int64_t source_w, const uint16_t* gate, int64_t y0, int64_t x0,
                 float* target, int64_t stride) const {
    constexpr int kHalved = F == Form::kPooled ? 1 : 0;
    const bool inside = y0 >= 0 && x0 >= 0 && y0 + A <= s_.in_h && x0 + A <= s_.in_w;
    for (int v = 0; v < kBlock; v += kLanes) {
      const auto pixel = [&](int i, int j) {
        const int64_t y = y0 + i, x = x0 + j;
        const Vec value = load(source + ((y >> kHalved) * source_w + (x >> kHalved)) * kBlock + v);
        return F == Form::kPlain ? value : where_lanes(gate_lanes(gate + y * s_.in_w + x, v), value);
      };
      if (inside) {
        transform(pixel, target + v, stride);
        continue;
      }
      const auto pixel_or_zero = [&](int i, int j) {
        const int64_t y = y0 + i, x = x0 + j;
        return y >= 0 && x >= 0 && y < s_.in_h && x < s_.in_w ? pixel(i, j) : zero();
      };
      transform(pixel_or_zero, target + v, stride);
    }
  }

  // B^T d B of one tile of one vector of channels.
  template <class Element>
  static NST_INLINE void transform(Element element, float* target, int64_t stride) {
    Vec columns[A * A];
#pragma GCC unroll 8
    for (int j = 0; j < A; ++j) {
      Vec d[A];
#pragma GCC unroll 8
      for (int i = 0; i < A; ++i) d[i] = element(i, j);
      Winograd<M>::input(d, columns + j, A);
    }
#pragma GCC unroll 8
    for (int i = 0; i < A; ++i) {
      Vec row[A];
      Winograd<M>::input(columns + i * A, row, 1);
#pragma GCC unroll 8
      for (int j = 0; j < A; ++j) Operands::store(target + (i * A + j) * stride, row[j]);
    }
  }

  bool writes_pooled() const { return !reads_gate_ && args_.flags & NST_POOLED; }

  void write_tile(const float* products, int64_t stride, int64_t block, const Place& at) const {
    for (int v = 0; v < kBlock; v += kLanes) {
      const Vec bias = args_.bias ? load(args_.bias + block * kBlock + v) : zero();
      Vec halfway[M * A];
#pragma GCC unroll 8
      for (int j = 0; j < A; ++j) {
        Vec m[A];
#pragma GCC unroll 8
        for (int i = 0; i < A; ++i) m[i] = load(products + (i * A + j) * stride + v);
        Winograd<M>::output(m, halfway + j, A);
      }
      writes_pooled() ? store_pooled(halfway, block, at, v, bias) : store_tile(halfway, block, at, v, bias);
    }
  }

  // The second half of the output transform, row by row.
  NST_INLINE void store_tile(const Vec* halfway, int64_t block, const Place& at, int v, Vec bias) const {
    const int rows = rows_left(at), columns = columns_left(at);
    const int64_t corner = (block * s_.out_h + at.y) * s_.out_w + at.x;
    float* const target = args_.target + at.image * s_.out_stride + corner * kBlock + v;
    uint16_t* const gate = writes_gate_ ? gate_at(args_.gate, at.image, corner) : nullptr;
#pragma GCC unroll 8
    for (int i = 0; i < M; ++i) {
      Vec row[M];
      Winograd<M>::output(halfway + i * A, row, 1);
      if (i >= rows) continue;
      float* const line = target + i * s_.out_w * kBlock;
      uint16_t* const bits = gate ? gate + i * s_.out_w : nullptr;
      if (columns == M)
        store_row<M>(line, row, bias, bits, v);
      else
        for (int j = 0; j < columns; ++j) store_row<1>(line + j * kBlock, row + j, bias, bits ? bits + j : bits, v);
    }
  }

  template <int N>
  NST_INLINE void store_row(float* line, const Vec* row, Vec bias, uint16_t* bits, int v) const {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      Vec value = row[j] + bias;
      if (bits) set_gate_lanes(bits + j, v, positive_lanes(value));
      if (args_.flags & NST_RELU) value = maximum(value, zero());
      if (args_.flags & NST_ACCUMULATE) value += load(line + j * kBlock);
      stream_ ? stream(line + j * kBlock, value) : store(line + j * kBlock, value);
    }
  }

  // The same two rows at a time: the maxima of the rectified windows, and their winners.
  NST_INLINE void store_pooled(const Vec* halfway, int64_t block, const Place& at, int v, Vec bias) const {
    const int rows = rows_left(at), columns = columns_left(at);
    const int64_t pooled_h = ceil_div(s_.out_h, 2), pooled_w = ceil_div(s_.out_w, 2);
    float* const target = args_.target + at.image * s_.out_stride +
                          ((block * pooled_h + at.y / 2) * pooled_w + at.x / 2) * kBlock + v;
    uint16_t* const gate = gate_at(args_.gate, at.image, (block * s_.out_h + at.y) * s_.out_w + at.x);
#pragma GCC unroll 4
    for (int i = 0; i < M; i += 2) {
      Vec pair[2 * M];
      Winograd<M>::output(halfway + i * A, pair, 1);
      Winograd<M>::output(halfway + (i + 1) * A, pair + M, 1);
      if (i >= rows) continue;
#pragma GCC unroll 4
      for (int j = 0; j < M; j += 2) {
        if (j >= columns) continue;
        Vec window[4] = {pair[j] + bias, pair[j + 1] + bias, pair[M + j] + bias, pair[M + j + 1] + bias};
        if (j + 1 == columns) window[1] = window[3] = zero();  // beyond the edge: zero never wins
        if (i + 1 == rows) window[2] = window[3] = zero();
        const Vec best = store_winners(window, gate + i * s_.out_w + j, i + 1 < rows, j + 1 < columns, v);
        float* const place = target + (i / 2 * pooled_w + j / 2) * kBlock;
        stream_ ? stream(place, best) : store(place, best);
      }
    }
  }

  // The first positive maximum of a window, or zero; opens the gate there and nowhere else.
  NST_INLINE Vec store_winners(const Vec (&window)[4], uint16_t* gate, bool below, bool beside, int v) const {
    Vec best = zero();
    uint32_t wins[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
      wins[k] = positive_lanes(window[k] - best);
      best = window[k] > best ? window[k] : best;
    }
    const uint32_t lower = wins[2] | wins[3];
    set_gate_lanes(gate, v, wins[0] & ~(wins[1] | lower));
    if (beside) set_gate_lanes(gate + 1, v, wins[1] & ~lower);
    if (below) set_gate_lanes(gate + s_.out_w, v, wins[2] & ~wins[3]);
    if (below && beside) set_gate_lanes(gate + s_.out_w + 1, v, wins[3]);
    return best;
  }

  int rows_left(const Place& at) const { return static_cast<int>(std::min<int64_t>(M, s_.out_h - at.y)); }
  int columns_left(const Place& at) const { return static_cast<int>(std::min<int64_t>(M, s_.out_w - at.x)); }

  const WinogradShape s_;
  const BlockedConvolution args_;
  const bool reads_gate_, writes_gate_;
  const int64_t across_, per_image_;
  bool stream_;
};

}  // namespace nst
