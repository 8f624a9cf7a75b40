// The two inner loops of the engine. Everything that multiplies matrices ends here.
//
//   rows_times_panel   out[r][k] (+)= sum_c x[r][c] * u[c][k]     rows of the blocked layout times a weight panel
//   accumulate_outer   acc[r][v]  += sum_p row_r(p) * column(p)[v]   Gram matrices and weight gradients
//
// A panel is kPanel output channels wide (16 for the last one of an odd number of blocks). It is cut into strips
// of at most kStrip channels, the width of one register tile; rows come in groups of at most kRows, balanced so
// that no group is nearly empty. Each output is one running sum over c in ascending order, whatever the group it
// falls into, which makes results independent of how rows are divided among threads.
#pragma once

#include <algorithm>

#include "simd.h"

namespace nst {

constexpr int kPanel = 32;

// Register tile: kRows x kStrip accumulators, kStrip / kLanes weight vectors and one broadcast must fit.
#if NST_LANES == 16  // 32 registers: 14 * 2 + 2 + 1
constexpr int kStrip = 32, kRows = 14;
#elif NST_LANES == 8  // 16 registers: 6 * 2 + 2 + 1
constexpr int kStrip = 16, kRows = 6;
#elif defined(__aarch64__)  // 32 registers: 5 * 4 + 4 + 1
constexpr int kStrip = 16, kRows = 5;
#else  // 16 registers, and a product needs one of its own: 5 * 2 + 2 + 1 + 1
constexpr int kStrip = 8, kRows = 5;
#endif

// Where the weights of panel `panel` begin, for `depth` rows of weights per panel (all earlier ones are full).
constexpr int64_t panel_offset(int64_t panel, int64_t depth) { return panel * depth * kPanel; }
constexpr int64_t panel_count(int64_t channels) { return ceil_div(padded(channels), kPanel); }
constexpr int panel_width(int64_t panel, int64_t channels) {
  return static_cast<int>(std::min<int64_t>(kPanel, padded(channels) - panel * kPanel));
}
// Weights of one panel are stored strip by strip, [strip][depth][strip width]; the address of (row, column).
constexpr int64_t panel_index(int64_t row, int column, int width, int64_t depth) {
  const int strip = std::min(kStrip, width);
  return (column / strip * depth + row) * strip + column % strip;
}

// What rows and weights consist of: words of 32 bits, here a float each. Bf16 (bf16.h) has two channels in one.
struct Fp32 {
  static constexpr int kWords = kBlock;  // of one block of channels
  static NST_INLINE void store(float* words, Vec values) { nst::store(words, values); }
  static NST_INLINE void multiply_add(Vec& sum, float word, Vec weights) { sum += word * weights; }
};

// One register tile. x: R rows of words, those of the next 16 channels `block_stride` words on; u: strip of
// weights; out: R rows of kBlock floats, the next 16 outputs `out_stride` floats on.
template <class Operands, int R, int V>
void tile_kernel(const float* x, int64_t block_stride, int64_t blocks, const float* u, float* out,
                 int64_t out_stride, bool accumulate) {
  Vec acc[R][V];
  const auto at = [&](int r, int v) {
    return out + v * kLanes / kBlock * out_stride + r * kBlock + v * kLanes % kBlock;
  };
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = accumulate ? load(at(r, v)) : zero();
  for (int64_t block = 0; block < blocks; ++block, x += block_stride) {
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) __builtin_prefetch(x + block_stride + r * Operands::kWords);
#pragma GCC unroll 2
    for (int c = 0; c < Operands::kWords; ++c, u += V * kLanes) {
      Vec weight[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) weight[v] = load(u + v * kLanes);
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const float word = x[r * Operands::kWords + c];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) Operands::multiply_add(acc[r][v], word, weight[v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store(at(r, v), acc[r][v]);
}

using TileKernel = void (*)(const float*, int64_t, int64_t, const float*, float*, int64_t, bool);

template <class Operands, int V, int... R>
constexpr TileKernel pick_tile_kernel(int rows, std::integer_sequence<int, R...>) {
  constexpr TileKernel kernels[] = {tile_kernel<Operands, R + 1, V>...};
  return kernels[rows - 1];
}

template <class Operands>
TileKernel tile_kernel_for(int rows, int strip) {
  constexpr auto all = std::make_integer_sequence<int, kRows>{};
  if constexpr (kStrip > kBlock) {
    if (strip < kStrip) return pick_tile_kernel<Operands, kBlock / kLanes>(rows, all);
  }
  return pick_tile_kernel<Operands, kStrip / kLanes>(rows, all);
}

// Input blocks per pass where there are many rows: a piece of a strip (8 KiB of AVX2 weights) then stays in the
// L1 cache while all rows go by. Sums continue from the stored value, so a pass more changes no bit.
constexpr int64_t kDepthBlocks = 8, kManyGroups = 8;

// The balanced division of `rows` rows into groups of at most kRows.
struct Groups {
  explicit Groups(int64_t rows) : count(ceil_div(rows, kRows)), base_(rows / count), longer_(rows % count) {}
  int size(int64_t group) const { return static_cast<int>(base_ + (group < longer_)); }
  const int64_t count;

 private:
  const int64_t base_, longer_;
};

// Where the operand rows lie. Strided: [block][row][16], as in a feature map.
struct StridedRows {
  using Operands = Fp32;
  const float* x;
  int64_t block_stride;
  const float* at(int64_t row, int, int64_t block) const { return x + block * block_stride + row * kBlock; }
  int64_t step(int) const { return block_stride; }
};
// Grouped: [group][block][row of the group][words], so that a register tile reads from one end to the other.
template <class Words>
struct GroupedRows {
  using Operands = Words;
  const float* x;
  int64_t blocks;
  const float* at(int64_t row, int size, int64_t block) const {
    return x + (row * blocks + block * size) * Words::kWords;
  }
  int64_t step(int size) const { return size * Words::kWords; }
};

// All `rows` rows of x, from channel block `start` on, against one panel of `width` outputs over `blocks` blocks
// of 16 inputs; `accumulate` continues the sums that are in `out`.
template <class Rows>
void rows_times_panel(const Rows& x, int64_t start, int64_t blocks, const float* panel, int width, float* out,
                      int64_t out_stride, int64_t rows, bool accumulate) {
  using Operands = typename Rows::Operands;
  const int strip = std::min(kStrip, width);
  const Groups groups(rows);
  const int64_t most = groups.count < kManyGroups ? std::max<int64_t>(blocks, 1) : kDepthBlocks;
  int64_t first = 0;
  do {
    const int64_t depth = std::min(most, blocks - first);
    for (int k = 0; k < width; k += strip) {
      const float* const weights = panel + (k * blocks + first * strip) * Operands::kWords;
      float* const column = out + k / kBlock * out_stride + k % kBlock;
      for (int64_t group = 0, row = 0; group < groups.count; row += groups.size(group++)) {
        const int size = groups.size(group);
        tile_kernel_for<Operands>(size, strip)(x.at(row, size, start + first), x.step(size), depth, weights,
                                     column + row * kBlock, out_stride, accumulate || first > 0);
      }
    }
    first += most;
  } while (first < blocks);
}
inline void rows_times_panel(const float* x, int64_t block_stride, int64_t blocks, const float* panel, int width,
                             float* out, int64_t out_stride, int64_t rows, bool accumulate = false) {
  rows_times_panel(StridedRows{x, block_stride}, 0, blocks, panel, width, out, out_stride, rows, accumulate);
}

// Rows of one outer-product register tile: R * kVecs accumulators beside kVecs columns and one broadcast.
#if NST_LANES == 16
constexpr int kOuterRows = 16;
#elif NST_LANES == 8 || defined(__aarch64__)
constexpr int kOuterRows = 4;
#else
constexpr int kOuterRows = 2;
#endif

// acc[r] += row(p, r) * (16 floats at column + p * step), for p in [0, n).
template <int R, class Row>
NST_INLINE void accumulate_outer(Vec (&acc)[R][kVecs], int64_t n, Row row, const float* column,
                                 int64_t step) {
  for (int64_t p = 0; p < n; ++p, column += step) {
    Vec value[kVecs];
#pragma GCC unroll 4
    for (int v = 0; v < kVecs; ++v) value[v] = load(column + v * kLanes);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const float factor = row(p, r);
#pragma GCC unroll 4
      for (int v = 0; v < kVecs; ++v) acc[r][v] += factor * value[v];
    }
  }
}

}  // namespace nst
