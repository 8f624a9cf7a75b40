// 3x3 stride-1 convolution by Winograd's minimal filtering, fused from the blocked input to the blocked output.
//
// The picture is cut into tiles of M x M outputs. For a block of T tiles:
//   1. input transform:  V[frequency][channel block][tile][16], the ReLU mask applied while loading;
//   2. per panel of 32 outputs, (M+2)^2 small products V * U -> products[frequency][2][tile][16], which stay in
//      the L2 cache;
//   3. output transform, bias, ReLU or accumulation, store.
// The backward pass is the same with the filters turned around and channels swapped (winograd_filters.cpp).
//
// Two schedules: with many tiles each worker takes whole blocks; with few tiles, or filters that are expanded
// on the fly, the workers share one V and divide the panels.
#include <algorithm>
#include <cstring>

#include "engine.h"
#include "kernels.h"
#include "winograd_filters.h"
#include "winograd_transforms.h"

namespace nst {
namespace {

// Outputs larger than this would only push the inputs out of the cache.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

// The convolution as this file sees it, with the direction resolved.
struct Shape {
  int64_t images, in, out;  // channels
  int64_t in_h, in_w, out_h, out_w, pad_h, pad_w;
  int64_t in_stride, out_stride;
};

Shape shape_of(const nst_conv& c, bool backward) {
  if (backward)
    return {c.images, c.out_channels, c.in_channels, c.out_h,     c.out_w,      c.in_h,
            c.in_w,   2 - c.pad_h,    2 - c.pad_w,   c.out_stride, c.in_stride};
  return {c.images, c.in_channels, c.out_channels, c.in_h,      c.in_w,      c.out_h,
          c.out_w,  c.pad_h,       c.pad_w,        c.in_stride, c.out_stride};
}

struct Tile {
  int64_t image, y, x;  // first output row and column
};

template <int M>
class WinogradConvolution {
 public:
  WinogradConvolution(Engine& engine, const Shape& shape, bool expanded, const BlockedConvolution& args)
      : engine_(engine), s_(shape), expanded_(expanded), args_(args) {
    tiles_h_ = ceil_div(s_.out_h, M), tiles_w_ = ceil_div(s_.out_w, M);
    tiles_ = s_.images * tiles_h_ * tiles_w_;
    blocks_ = padded(s_.in) / kBlock;
    stream_ = !(args_.flags & NST_ACCUMULATE) &&
              s_.images * s_.out_h * s_.out_w * padded(s_.out) * 4 > kStreamBytes;
  }

  void run() {
    const int64_t independent = independent_block();
    if (expanded_ && ceil_div(tiles_, independent) >= 2 * engine_.pool.threads())
      run_independent(independent);
    else
      run_shared();
  }

 private:
  static constexpr int A = M + 2;
  static constexpr int kFrequencies = A * A;

  // Scratch of one block of tiles. The odd cache lines keep frequencies out of each other's cache sets.
  struct Buffers {
    int64_t tiles;
    int64_t block_stride() const { return tiles * kBlock; }
    int64_t product_stride() const { return tiles * kPanel + 48; }
    int64_t products() const { return kFrequencies * product_stride(); }
    int64_t input_stride(int64_t blocks) const { return blocks * block_stride() + 80; }
    int64_t inputs(int64_t blocks) const { return kFrequencies * input_stride(blocks); }
  };

  // Tiles per block so that V stays near a megabyte, in whole register groups and equal blocks.
  int64_t independent_block() const {
    const int64_t bytes_per_tile = kFrequencies * padded(s_.in) * 4;
    const int64_t groups = std::clamp<int64_t>((int64_t{1280} << 10) / bytes_per_tile / kRows, 2, 8);
    return std::min(tiles_, equal_block(groups * kRows));
  }

  int64_t equal_block(int64_t most) const {
    const int64_t count = ceil_div(tiles_, most);
    return std::min(most, round_up(ceil_div(tiles_, count), kRows));
  }

  void run_independent(int64_t tiles) {
    const Buffers buffers{tiles};
    const int64_t scratch = buffers.inputs(blocks_) + buffers.products();
    float* const arena = engine_.arena.take(scratch * engine_.pool.threads());
    engine_.pool.run(ceil_div(tiles_, tiles), [&](int64_t block, int worker) {
      float* const inputs = arena + worker * scratch;
      const int64_t first = block * tiles, count = std::min(tiles, tiles_ - first);
      for (int64_t c = 0; c < blocks_; ++c) transform_inputs(buffers, inputs, c, first, 0, count);
      for (int64_t panel = 0; panel < panel_count(s_.out); ++panel)
        finish_panel(buffers, inputs, inputs + buffers.inputs(blocks_), filters(panel), panel, first, count);
      stream_fence();
    });
  }

  void run_shared() {
    constexpr int64_t kMostTiles = 192, kChunk = 8;
    const Buffers buffers{std::min(tiles_, equal_block(kMostTiles))};
    const int64_t expansion = expanded_ ? 0 : panel_floats(s_.in, kPanel, kFrequencies);
    const int64_t scratch = buffers.products() + expansion;
    float* const inputs =
        engine_.arena.take(buffers.inputs(blocks_) + scratch * engine_.pool.threads());
    for (int64_t first = 0; first < tiles_; first += buffers.tiles) {
      const int64_t count = std::min(buffers.tiles, tiles_ - first), chunks = ceil_div(count, kChunk);
      engine_.pool.run(blocks_ * chunks, [&](int64_t task, int) {
        const int64_t begin = task % chunks * kChunk;
        transform_inputs(buffers, inputs, task / chunks, first, begin, std::min(count, begin + kChunk));
      });
      engine_.pool.run(panel_count(s_.out), [&](int64_t panel, int worker) {
        float* const products = inputs + buffers.inputs(blocks_) + worker * scratch;
        const float* panel_filters = filters(panel);
        if (!expanded_) {
          float* const expansion_of_panel = products + buffers.products();
          expand_filters<M>(panel_filters, expansion_of_panel,
                            frequency_stride(s_.in, panel_width(panel, s_.out)));
          panel_filters = expansion_of_panel;
        }
        finish_panel(buffers, inputs, products, panel_filters, panel, first, count);
        stream_fence();
      });
    }
  }

  const float* filters(int64_t panel) const {
    return args_.packed + filter_offset(panel, s_.in, expanded_ ? kFrequencies : kTaps);
  }

  Tile tile(int64_t index) const {
    const int64_t per_image = tiles_h_ * tiles_w_, inside = index % per_image;
    return {index / per_image, inside / tiles_w_ * M, inside % tiles_w_ * M};
  }

  void transform_inputs(const Buffers& buffers, float* inputs, int64_t block, int64_t first, int64_t begin,
                        int64_t end) const {
    const int64_t plane = block * s_.in_h * s_.in_w * kBlock;
    for (int64_t t = begin; t < end; ++t) {
      const Tile at = tile(first + t);
      const int64_t origin = at.image * s_.in_stride + plane;
      float* const target = inputs + block * buffers.block_stride() + t * kBlock;
      const float* const mask = args_.mask ? args_.mask + origin : nullptr;
      transform_input(args_.source + origin, mask, at.y - s_.pad_h, at.x - s_.pad_w, target,
                      buffers.input_stride(blocks_));
    }
  }

  void transform_input(const float* source, const float* mask, int64_t y0, int64_t x0, float* target,
                       int64_t stride) const {
    const bool inside = y0 >= 0 && x0 >= 0 && y0 + A <= s_.in_h && x0 + A <= s_.in_w;
    for (int v = 0; v < kBlock; v += kLanes) {
      const auto masked = [&](int64_t offset) {
        return where_positive(load(mask + offset), load(source + offset));
      };
      const auto offset = [&](int64_t i, int64_t j) {
        return ((y0 + i) * s_.in_w + x0 + j) * kBlock + v;
      };
      if (inside && !mask)
        transform_tile([&](int i, int j) { return load(source + offset(i, j)); }, target + v, stride);
      else if (inside)
        transform_tile([&](int i, int j) { return masked(offset(i, j)); }, target + v, stride);
      else
        transform_tile(
            [&](int i, int j) {
              const int64_t y = y0 + i, x = x0 + j;
              const bool there = y >= 0 && x >= 0 && y < s_.in_h && x < s_.in_w;
              if (!there) return zero();
              return mask ? masked(offset(i, j)) : load(source + offset(i, j));
            },
            target + v, stride);
    }
  }

  // B^T d B of one tile of one vector of channels.
  template <class Element>
  static NST_INLINE void transform_tile(Element element, float* target, int64_t stride) {
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
      for (int j = 0; j < A; ++j) store(target + (i * A + j) * stride, row[j]);
    }
  }

  // Steps 2 and 3 for one panel of outputs.
  void finish_panel(const Buffers& buffers, const float* inputs, float* products,
                    const float* panel_filters, int64_t panel, int64_t first, int64_t count) const {
    const int width = panel_width(panel, s_.out);
    for (int f = 0; f < kFrequencies; ++f)
      rows_times_panel(inputs + f * buffers.input_stride(blocks_), buffers.block_stride(), blocks_,
                       panel_filters + f * frequency_stride(s_.in, width), width,
                       products + f * buffers.product_stride(), buffers.block_stride(), count);
    for (int q = 0; q < width / kBlock; ++q)
      for (int64_t t = 0; t < count; ++t)
        transform_output(products + q * buffers.block_stride() + t * kBlock, buffers.product_stride(),
                         panel * (kPanel / kBlock) + q, tile(first + t));
  }

  // A^T m A of one tile of one block of outputs, then bias, ReLU, accumulation and store.
  void transform_output(const float* products, int64_t stride, int64_t block, const Tile& at) const {
    const int rows = static_cast<int>(std::min<int64_t>(M, s_.out_h - at.y));
    const int columns = static_cast<int>(std::min<int64_t>(M, s_.out_w - at.x));
    float* const corner = args_.target + at.image * s_.out_stride +
                          ((block * s_.out_h + at.y) * s_.out_w + at.x) * kBlock;
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
#pragma GCC unroll 8
      for (int i = 0; i < M; ++i) {
        Vec row[M];
        Winograd<M>::output(halfway + i * A, row, 1);
        if (i >= rows) continue;
        float* const line = corner + i * s_.out_w * kBlock + v;
        if (columns == M)
          store_row<M>(line, row, bias);
        else
          for (int j = 0; j < columns; ++j) store_row<1>(line + j * kBlock, row + j, bias);
      }
    }
  }

  template <int N>
  NST_INLINE void store_row(float* line, const Vec* row, Vec bias) const {
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      Vec value = row[j] + bias;
      if (args_.flags & NST_RELU) value = maximum(value, zero());
      if (args_.flags & NST_ACCUMULATE) value += load(line + j * kBlock);
      stream_ ? stream(line + j * kBlock, value) : store(line + j * kBlock, value);
    }
  }

  Engine& engine_;
  const Shape s_;
  const bool expanded_;
  const BlockedConvolution args_;
  int64_t tiles_h_, tiles_w_, tiles_, blocks_;
  bool stream_;
};

}  // namespace

void winograd(Engine& engine, const nst_conv& conv, int tile, bool backward, bool expanded,
              const BlockedConvolution& args) {
  const Shape shape = shape_of(conv, backward);
  if (tile == 2)
    WinogradConvolution<2>(engine, shape, expanded, args).run();
  else if (tile == 4)
    WinogradConvolution<4>(engine, shape, expanded, args).run();
  else
    WinogradConvolution<6>(engine, shape, expanded, args).run();
}

}  // namespace nst
