// Gradients of a convolution with respect to its weights and bias, added to Caffe's layout (K, C, kh, kw).
//
// For one pair of channel blocks and one tap the gradient is a 16 x 16 sum of outer products over all pixels.
// Sums run over a chunk of rows in registers and are then added to the total, which keeps float32 sums of
// millions of pixels accurate.
#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "microkernel.h"
#include "picture.h"

namespace nst {
namespace {

// Output columns whose tap j lies inside the picture, [begin, end).
struct Columns {
  int64_t begin, end;
};
Columns inside(const nst_conv& c, int64_t j) {
  const int64_t x0 = j * c.dilation_w - c.pad_w;
  const int64_t begin = std::min(c.out_w, ceil_div(std::max<int64_t>(-x0, 0), c.stride_w));
  const int64_t end = std::min(c.out_w, ceil_div(std::max<int64_t>(c.in_w - x0, 0), c.stride_w));
  return {begin, std::max(begin, end)};
}

// Rows of a chunk: about 256 pixels, so that 16 channels of both operands stay in the L1 cache.
int64_t chunk_rows(const nst_conv& c) { return std::max<int64_t>(1, 256 / c.out_w); }

template <int R>
void add_to(float* total, const Vec (&acc)[R][kVecs]) {
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < kVecs; ++v) {
      float* const place = total + r * kBlock + v * kLanes;
      store(place, load(place) + acc[r][v]);
    }
}

// One 16 x 16 block, tap row i: totals[tap column][k][c] over all images.
void block_gradient(const nst_conv& c, const float* source, const float* gradient, int64_t i,
                    float* totals) {
  const int64_t rows = chunk_rows(c);
  for (int64_t n = 0; n < c.images; ++n)
    for (int64_t y0 = 0; y0 < c.out_h; y0 += rows)
      for (int64_t j = 0; j < c.kernel_w; ++j)
        for (int k = 0; k < kBlock; k += kOuterRows) {
          Vec acc[kOuterRows][kVecs] = {};
          const Columns columns = inside(c, j);
          for (int64_t y = y0; y < std::min(c.out_h, y0 + rows); ++y) {
            const int64_t in_y = y * c.stride_h - c.pad_h + i * c.dilation_h;
            if (in_y < 0 || in_y >= c.in_h) continue;
            const int64_t in_x = columns.begin * c.stride_w - c.pad_w + j * c.dilation_w;
            const float* const grad =
                gradient + n * c.out_stride + (y * c.out_w + columns.begin) * kBlock + k;
            accumulate_outer<kOuterRows>(
                acc, columns.end - columns.begin, [&](int64_t p, int r) { return grad[p * kBlock + r]; },
                source + n * c.in_stride + (in_y * c.in_w + in_x) * kBlock, c.stride_w * kBlock);
          }
          add_to(totals + (j * kBlock + k) * kBlock, acc);
        }
}

}  // namespace

void weight_gradient(Engine& engine, const nst_conv& c, const float* source, const float* gradient,
                     float* weights) {
  const int64_t out_blocks = padded(c.out_channels) / kBlock, in_blocks = padded(c.in_channels) / kBlock;
  const int64_t scratch = c.kernel_w * kBlock * kBlock;
  float* const arena = engine.arena.take(scratch * engine.pool.threads());
  engine.pool.run(out_blocks * in_blocks * c.kernel_h, [&](int64_t task, int worker) {
    const int64_t i = task % c.kernel_h, pair = task / c.kernel_h;
    const int64_t out_block = pair / in_blocks, in_block = pair % in_blocks;
    float* const totals = arena + worker * scratch;
    std::memset(totals, 0, sizeof(float) * scratch);
    block_gradient(c, source + in_block * c.in_h * c.in_w * kBlock,
                   gradient + out_block * c.out_h * c.out_w * kBlock, i, totals);
    for (int64_t k = out_block * kBlock; k < std::min(c.out_channels, (out_block + 1) * kBlock); ++k)
      for (int64_t in = in_block * kBlock; in < std::min(c.in_channels, (in_block + 1) * kBlock); ++in)
        for (int64_t j = 0; j < c.kernel_w; ++j)
          weights[((k * c.in_channels + in) * c.kernel_h + i) * c.kernel_w + j] +=
              totals[(j * kBlock + k % kBlock) * kBlock + in % kBlock];
  });
}

void first_layer_weight_gradient(Engine& engine, const nst_conv& c, const float* planar,
                                 const float* gradient, float* weights) {
  const PaddedPicture picture(c);
  const std::vector<int64_t> offsets = picture.offsets(c);
  float* const copy = engine.arena.take(picture.floats());
  const int64_t groups = ceil_div(pairs(c), kOuterRows), rows = chunk_rows(c);
  for (int64_t n = 0; n < c.images; ++n) {
    engine.pool.run(picture.channels * picture.height, [&](int64_t row, int) {
      picture.copy_row(c, planar + n * c.in_channels * c.in_h * c.in_w, row, copy);
    });
    engine.pool.run(padded(c.out_channels) / kBlock * groups, [&](int64_t task, int) {
      const int64_t block = task / groups, first = task % groups * kOuterRows;
      alignas(64) float totals[kOuterRows * kBlock] = {};
      int64_t offset[kOuterRows];
      for (int r = 0; r < kOuterRows; ++r) offset[r] = offsets[std::min(first + r, pairs(c) - 1)];
      for (int64_t y0 = 0; y0 < c.out_h; y0 += rows) {
        Vec acc[kOuterRows][kVecs] = {};
        for (int64_t y = y0; y < std::min(c.out_h, y0 + rows); ++y) {
          const float* const line = copy + y * c.stride_h * picture.width;
          accumulate_outer<kOuterRows>(
              acc, c.out_w, [&](int64_t p, int r) { return line[offset[r] + p * c.stride_w]; },
              gradient + n * c.out_stride + (block * c.out_h + y) * c.out_w * kBlock, kBlock);
        }
        add_to(totals, acc);
      }
      for (int64_t k = block * kBlock; k < std::min(c.out_channels, (block + 1) * kBlock); ++k)
        for (int64_t q = first; q < std::min(pairs(c), first + kOuterRows); ++q)
          weights[k * pairs(c) + q] += totals[(q - first) * kBlock + k % kBlock];
    });
  }
}

void bias_gradient(Engine& engine, const nst_conv& c, const float* gradient, float* bias) {
  engine.pool.run(padded(c.out_channels) / kBlock, [&](int64_t block, int) {
    double totals[kBlock] = {};
    for (int64_t n = 0; n < c.images; ++n)
      for (int64_t y = 0; y < c.out_h; ++y) {
        const float* const row = gradient + n * c.out_stride + (block * c.out_h + y) * c.out_w * kBlock;
        Vec sums[kVecs] = {};
        for (int64_t x = 0; x < c.out_w; ++x)
          for (int v = 0; v < kVecs; ++v) sums[v] += load(row + x * kBlock + v * kLanes);
        for (int v = 0; v < kBlock; ++v) totals[v] += sums[v / kLanes][v % kLanes];
      }
    const int64_t count = std::min<int64_t>(kBlock, c.out_channels - block * kBlock);
    for (int64_t k = 0; k < count; ++k) bias[block * kBlock + k] += static_cast<float>(totals[k]);
  });
}

}  // namespace nst
